"""Darknet-19 and its tiny relative without classifiers, the backbones of YOLOv2.

Shapes: B images, C channels, H x W pixels. Source: Redmon & Farhadi 2016 (arXiv:1612.08242), table
6; layers 0-22 of yolov2-voc.cfg and 0-12 of yolov2-tiny-voc.cfg.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from detectors.base import Backbone
from detectors.errors import DetectorError
from detectors.yolov2.convolution import ConvBlock, scaled
from detectors.yolov2.darknet_weights import load_darknet

# Of each convolution (channels, kernel); STEADY is a 2x2 max pooling that keeps the size. A 2x2 max
# pooling that halves it stands before every stage but the first.
STEADY = (0, 2)
Stages = tuple[tuple[tuple[int, int], ...], ...]
DARKNET19: Stages = (
    ((32, 3),),
    ((64, 3),),
    ((128, 3), (64, 1), (128, 3)),
    ((256, 3), (128, 1), (256, 3)),
    ((512, 3), (256, 1), (512, 3), (256, 1), (512, 3)),
    ((1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3)),
)
TINY: Stages = (
    ((16, 3),),
    ((32, 3),),
    ((64, 3),),
    ((128, 3),),
    ((256, 3),),
    ((512, 3), STEADY, (1024, 3)),
)
CLASSIFIER_CLASSES = 1000  # of the ImageNet files, whose last convolution is left out


@dataclass(frozen=True, slots=True)
class Darknet19:
    """Settings: `width` scales every channel count; `weights` names a .weights file, null none.

    The file may hold the 18 convolutions of the backbone (darknet19_448.conv.23) or the ImageNet
    classifier that ends in 1,000 channels (darknet19.weights). Pretrained files need width 1.
    """

    width: float = 1.0
    weights: str | None = None

    def __post_init__(self) -> None:
        _check_width(self.width)

    def build(self, strides: Sequence[int]) -> "DarknetNetwork":
        """The network with one map per stride out of 1, 2, 4 .. 32; raises DetectorError."""
        return _build(DARKNET19, self.width, strides, self.weights)


@dataclass(frozen=True, slots=True)
class TinyDarknet:
    """Settings of tiny-YOLOv2's backbone, as for `Darknet19`; 7 convolutions, 2x2 pooling kept."""

    width: float = 1.0
    weights: str | None = None

    def __post_init__(self) -> None:
        _check_width(self.width)

    def build(self, strides: Sequence[int]) -> "DarknetNetwork":
        """The network with one map per stride out of 1, 2, 4 .. 32; raises DetectorError."""
        return _build(TINY, self.width, strides, self.weights)


def _check_width(width: float) -> None:
    if not width > 0:
        raise ValueError(f"width: must be > 0, found {width}")


def _build(
    stages: Stages, width: float, strides: Sequence[int], weights: str | None
) -> "DarknetNetwork":
    network = DarknetNetwork(stages, width, strides)
    if weights is not None:
        last = scaled(stages[-1][-1][0], width)
        load_darknet(network, weights, rest_allowed=4 * CLASSIFIER_CLASSES * (1 + last))
    return network


class SteadyPool(nn.Module):
    """2x2 max pooling with stride 1 that pads right and below, so that the size stays."""

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        return F.max_pool2d(F.pad(maps_BCHW, (0, 1, 0, 1), value=float("-inf")), 2, 1)


class DarknetNetwork(Backbone):
    """Stages of blocks; returns the last map of each wanted stride, RGB in [0, 1] going in."""

    pixel_mean = (0.0, 0.0, 0.0)
    pixel_std = (1.0, 1.0, 1.0)

    def __init__(self, stages: Stages, width: float, strides: Sequence[int]) -> None:
        super().__init__()
        known = [2**number for number in range(len(stages))]
        if not strides or list(strides) != sorted(set(strides)) or not set(strides) <= set(known):
            raise DetectorError(f"strides: Darknet has {known}, asked for {list(strides)}")
        inputs = 3
        self.stages = nn.ModuleList()
        for number, stage in enumerate(stages[: known.index(strides[-1]) + 1]):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if number else []
            for channels, kernel in stage:
                if (channels, kernel) == STEADY:
                    layers.append(SteadyPool())
                    continue
                outputs = scaled(channels, width)
                layers.append(ConvBlock(inputs, outputs, kernel))
                inputs = outputs
            self.stages.append(nn.Sequential(*layers))
        self.strides = tuple(strides)
        self.channels = tuple(scaled(stages[known.index(s)][-1][0], width) for s in strides)

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """RGB in [0, 1] to the maps of `strides`."""
        maps = []
        for number, stage in enumerate(self.stages):
            images_BCHW = stage(images_BCHW)
            if 2**number in self.strides:
                maps.append(images_BCHW)
        return tuple(maps)
