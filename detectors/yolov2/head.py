"""YOLOv2's head: the coarse map, the finer map passed through, the predictions of every cell.

Shapes: B images, C channels, H x W cells, A anchors, F fields (x, y, w, h, objectness, K classes).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detectors.yolov2.convolution import ConvBlock, initialise, reorg


def _deep(coarse: int, width: int, depth: int) -> nn.Sequential:
    inputs = [coarse] + [width] * (depth - 1)
    return nn.Sequential(*(ConvBlock(channels, width, 3) for channels in inputs[:depth]))


def _output(inputs: int, outputs: int) -> nn.Conv2d:
    output = nn.Conv2d(inputs, outputs, 1)
    initialise(output)
    return output


class PlainHead(nn.Module):
    """Tiny-YOLOv2's head: `depth` 3x3 blocks on the coarse map, then the linear 1x1 convolution."""

    def __init__(self, coarse: int, *, width: int, depth: int, outputs: int) -> None:
        super().__init__()
        self.deep = _deep(coarse, width, depth)
        self.output = _output(width if depth else coarse, outputs)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The map of stride 32, alone, to [B, A * F, H, W]."""
        prediction: Tensor = self.output(self.deep(maps[-1]))
        return prediction


class PassthroughHead(nn.Module):
    """Layers 23-30 of yolov2-voc.cfg at stride 32, or the same idea on the stride-16 grid.

    Stride 32: `depth` 3x3 blocks on the coarse map; a 1x1 block on the fine map, reorganised,
    stands first in the concatenation; a 3x3 block and the linear 1x1 convolution follow. Stride 16:
    the coarse branch is narrowed to half the width and doubled in size instead, and the last block
    is half as wide, so that four times the cells cost about as much.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        *,
        width: int,
        depth: int,
        passthrough: int,
        outputs: int,
        stride: int,
    ) -> None:
        super().__init__()
        fine, coarse = channels
        self.deep = _deep(coarse, width, depth)
        coarse = width if depth else coarse
        self.skip = ConvBlock(fine, passthrough, 1)
        self.doubles = stride == 16
        last = width // 2 if self.doubles else width
        self.narrow = ConvBlock(coarse, last, 1) if self.doubles else nn.Identity()
        joined = passthrough + last if self.doubles else 4 * passthrough + coarse
        self.last = ConvBlock(joined, last, 3)
        self.output = _output(last, outputs)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of strides 16 and 32 to [B, A * F, H, W] at the head's stride."""
        fine_BCHW, coarse_BCHW = maps
        deep = self.narrow(self.deep(coarse_BCHW))
        skip = self.skip(fine_BCHW)
        if self.doubles:
            deep = F.interpolate(deep, scale_factor=2.0, mode="nearest")
        else:
            skip = reorg(skip)
        prediction: Tensor = self.output(self.last(torch.cat((skip, deep), dim=1)))
        return prediction
