"""Feature pyramid (Lin et al. 2017, arXiv:1612.03144) with RetinaNet's extra coarse levels.

Shapes: B images, C channels; C3..C5 are backbone maps, P3.. pyramid levels, each half the size of
the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Pyramid:
    """`levels` counts from P3: 5 is P3-P7 as in the paper. P6 is made from C5 (paper) or P5
    (torchvision's V1).
    """

    width: int = 256
    levels: int = 5
    p6_from: Literal["c5", "p5"] = "c5"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width: must be >= 1, found {self.width}")
        if not 3 <= self.levels <= 6:
            raise ValueError(f"levels: must be 3 (P3-P5) to 6 (P3-P8), found {self.levels}")

    def build(self, channels: Sequence[int]) -> "FeaturePyramid":
        """A pyramid over maps with these channels, fine to coarse."""
        return FeaturePyramid(self, channels)


class FeaturePyramid(nn.Module):
    """Lateral 1x1, top-down sum, smoothing 3x3; extra levels by strided 3x3."""

    def __init__(self, settings: Pyramid, channels: Sequence[int]):
        super().__init__()
        width, extra = settings.width, settings.levels - len(channels)
        self.p6_from = settings.p6_from
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)
        first = channels[-1] if settings.p6_from == "c5" else width
        inputs = [first] + [width] * (extra - 1)
        self.extra = nn.ModuleList(
            nn.Conv2d(c, width, 3, stride=2, padding=1) for c in inputs[:extra]
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps, fine to coarse, to all levels, fine to coarse."""
        merged = self.lateral[-1](maps[-1])
        levels = [self.smooth[-1](merged)]
        for index in range(len(maps) - 2, -1, -1):
            side = self.lateral[index](maps[index])
            merged = side + F.interpolate(merged, size=side.shape[-2:], mode="nearest")
            levels.insert(0, self.smooth[index](merged))
        x = maps[-1] if self.p6_from == "c5" else levels[-1]
        for index, convolution in enumerate(self.extra):
            x = convolution(F.relu(x) if index else x)
            levels.append(x)
        return tuple(levels)
