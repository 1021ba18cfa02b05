"""Anchor grids. Shapes: S anchors per cell, L levels, A anchors of one image over all levels.

Boxes are xyxy in pixels of the network input: x right, y down, x2 and y2 exclusive. Order of the A
anchors: level by level fine to coarse, row by row, cell by cell, and in a cell all sizes of the
first ratio, then of the next.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Anchors:
    """Sizes base * stride * 2**(i / octave_scales) and ratios (height / width) at each cell (paper,
    section 4).

    `sizes: truncated` cuts sizes to whole pixels and rounds corners as torchvision does (32, 40,
    50, 64, 80, 101, ..). `centre` is where in its cell an anchor lies: 0 for the cell's top left
    corner (Detectron, torchvision), 0.5 its middle.
    """

    base: float = 4.0
    octave_scales: int = 3
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    sizes: Literal["exact", "truncated"] = "exact"
    centre: float = 0.0

    def __post_init__(self) -> None:
        if self.base <= 0:
            raise ValueError(f"base: must be > 0, found {self.base}")
        if self.octave_scales < 1:
            raise ValueError(f"octave_scales: must be >= 1, found {self.octave_scales}")
        if not self.ratios or min(self.ratios) <= 0:
            raise ValueError(f"ratios: must be positive and at least one, found {self.ratios}")

    @property
    def per_cell(self) -> int:
        """S, the number of anchors at each cell of each level."""
        return self.octave_scales * len(self.ratios)

    def cell(self, stride: int) -> Tensor:
        """The S anchors of a level around the origin, [S, 4]."""
        sizes = [
            self.base * stride * 2 ** (i / self.octave_scales) for i in range(self.octave_scales)
        ]
        if self.sizes == "truncated":
            sizes = [math.floor(size) for size in sizes]
        sizes_S = torch.tensor(sizes, dtype=torch.float32)
        root_R = torch.tensor(self.ratios, dtype=torch.float32).sqrt()
        widths_S = ((1 / root_R)[:, None] * sizes_S).flatten()
        heights_S = (root_R[:, None] * sizes_S).flatten()
        corners_S4 = torch.stack([-widths_S, -heights_S, widths_S, heights_S], dim=1) / 2
        return corners_S4.round() if self.sizes == "truncated" else corners_S4


@dataclass(frozen=True, slots=True)
class AnchorLevel:
    """One level in separated form: anchor s at row y and column x spans x1_SX[s, x] .. x2, y1_SY[s,
    y] .. y2.
    """

    x_SX2: Tensor
    y_SY2: Tensor

    @property
    def boxes_A4(self) -> Tensor:
        """The anchors of this level, [Y * X * S, 4]."""
        x_YXS2 = self.x_SX2.transpose(0, 1)[None].expand(self.y_SY2.shape[1], -1, -1, -1)
        y_YXS2 = self.y_SY2.transpose(0, 1)[:, None].expand(-1, self.x_SX2.shape[1], -1, -1)
        return torch.stack([x_YXS2, y_YXS2], dim=-1).flatten(-2).reshape(-1, 4)


@dataclass(frozen=True, slots=True)
class AnchorGrid:
    """All anchors for one input size."""

    levels: tuple[AnchorLevel, ...]
    boxes_A4: Tensor
    areas_A: Tensor  # square pixels


def anchor_grid(
    settings: Anchors,
    strides: Sequence[int],
    shapes: Sequence[tuple[int, int]],
    image_hw: tuple[int, int],
    device: torch.device,
) -> AnchorGrid:
    """Anchors for levels of these nominal strides and (rows, columns), over an input of `image_hw`.

    Cells lie image // rows pixels apart as in torchvision, which differs from the stride only where
    it does not divide.
    """
    levels = []
    for stride, (rows, columns) in zip(strides, shapes, strict=True):
        cell_S4 = settings.cell(stride).to(device)
        step_y, step_x = image_hw[0] // rows, image_hw[1] // columns
        x_X = (torch.arange(columns, device=device) + settings.centre) * step_x
        y_Y = (torch.arange(rows, device=device) + settings.centre) * step_y
        x_SX2 = x_X[None, :, None] + cell_S4[:, None, 0::2]
        y_SY2 = y_Y[None, :, None] + cell_S4[:, None, 1::2]
        levels.append(AnchorLevel(x_SX2, y_SY2))
    boxes_A4 = torch.cat([level.boxes_A4 for level in levels])
    areas_A = (boxes_A4[:, 2] - boxes_A4[:, 0]) * (boxes_A4[:, 3] - boxes_A4[:, 1])
    return AnchorGrid(tuple(levels), boxes_A4, areas_A)
