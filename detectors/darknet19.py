"""Darknet-19 without its classifier, the backbone of YOLOv2. Shapes: B images, C channels, H x W
pixels.

Source: Redmon & Farhadi 2016 (arXiv:1612.08242), table 6; layers 0-22 of yolov2-voc.cfg.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from detectors.base import Backbone
from detectors.convolution import ConvBlock, scaled
from detectors.errors import DetectorError
from detectors.weights import load_darknet

# (channels, kernel) of each convolution; a 2x2 max pooling stands before every stage but the first.
STAGES: tuple[tuple[tuple[int, int], ...], ...] = (
    ((32, 3),),
    ((64, 3),),
    ((128, 3), (64, 1), (128, 3)),
    ((256, 3), (128, 1), (256, 3)),
    ((512, 3), (256, 1), (512, 3), (256, 1), (512, 3)),
    ((1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3)),
)
CLASSIFIER_CLASSES = 1000  # of the ImageNet files, whose last convolution is left out


@dataclass(frozen=True, slots=True)
class Darknet19:
    """Settings: `width` scales every channel count; `weights` names a Darknet .weights file or
    None.

    The file may hold the 18 convolutions of the backbone (darknet19_448.conv.23) or the ImageNet
    classifier that ends in 1,000 channels (darknet19.weights). Pretrained files need width 1.
    """

    width: float = 1.0
    weights: str | None = None

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise ValueError(f"width: must be > 0, found {self.width}")

    def build(self, strides: Sequence[int]) -> "Darknet19Network":
        """The network with one map per stride out of 1, 2, 4 .. 32; raises DetectorError."""
        network = Darknet19Network(self.width, strides)
        if self.weights is not None:
            rest = 4 * CLASSIFIER_CLASSES * (1 + scaled(STAGES[-1][-1][0], self.width))
            load_darknet(network, self.weights, rest_allowed=rest)
        return network


class Darknet19Network(Backbone):
    """Returns the last map of each wanted stride: 512 channels at 16, 1,024 at 32, times the
    width.
    """

    pixel_mean = (0.0, 0.0, 0.0)
    pixel_std = (1.0, 1.0, 1.0)

    def __init__(self, width: float = 1.0, strides: Sequence[int] = (16, 32)) -> None:
        super().__init__()
        known = [2**number for number in range(len(STAGES))]
        if not strides or list(strides) != sorted(set(strides)) or not set(strides) <= set(known):
            raise DetectorError(f"strides: darknet19 has {known}, asked for {list(strides)}")
        inputs = 3
        self.stages = nn.ModuleList()
        for number, stage in enumerate(STAGES[: known.index(strides[-1]) + 1]):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if number else []
            for channels, kernel in stage:
                outputs = scaled(channels, width)
                layers.append(ConvBlock(inputs, outputs, kernel))
                inputs = outputs
            self.stages.append(nn.Sequential(*layers))
        self.strides = tuple(strides)
        self.channels = tuple(scaled(STAGES[known.index(s)][-1][0], width) for s in strides)

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """RGB in [0, 1] to the maps of `strides`."""
        maps = []
        for number, stage in enumerate(self.stages):
            images_BCHW = stage(images_BCHW)
            if 2**number in self.strides:
                maps.append(images_BCHW)
        return tuple(maps)
