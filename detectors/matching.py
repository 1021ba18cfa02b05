"""Which anchor answers for which truth box. Shapes: B images, M most boxes of a batch, N boxes of
one image, A anchors.

Every anchor ends in one of three states: foreground (it has a box), background, or set aside (it
takes no part in the classification loss). Truth marked ignore never makes foreground, and sets
aside what it covers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.anchors import AnchorGrid
from detectors.base import Truth
from detectors.boxes import grid_intersection, grid_iou


@dataclass(frozen=True, slots=True)
class Assignment:
    """The answer for a batch. `match_BA` (int64) is a row of the padded truth, meaningful where
    foreground.
    """

    match_BA: Tensor
    foreground_BA: Tensor  # bool
    counted_BA: Tensor  # bool: foreground or background, not set aside


@dataclass(frozen=True, slots=True)
class MaxIoU:
    """Assignment by overlap (paper, section 4; Faster R-CNN, Ren et al. 2015, section 3.1.2).

    IoU >= `foreground` makes foreground, < `background` background, between sets aside. With
    `low_quality` each box also takes the anchors that overlap it most, however little (torchvision,
    Detectron2, mmdet; not said in the paper). An anchor with at least `ignore_coverage` of its own
    area inside ignored truth, or as close to it as foreground and the band between are to real
    truth, is set aside; `ignore_coverage: null` leaves only the second rule.
    """

    foreground: float = 0.5
    background: float = 0.4
    low_quality: bool = True
    ignore_coverage: float | None = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.background <= self.foreground <= 1:
            raise ValueError(
                "background: thresholds must satisfy 0 < background <= foreground <= 1, "
                f"found background {self.background}, foreground {self.foreground}"
            )
        if self.ignore_coverage is not None and not 0 < self.ignore_coverage <= 1:
            raise ValueError(f"ignore_coverage: must lie in (0, 1], found {self.ignore_coverage}")

    def match(self, grid: AnchorGrid, boxes_N4: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Row of the nearest box, whether foreground, whether background, for each anchor; N >=
        1.
        """
        iou_NA = grid_iou(boxes_N4, grid)
        best_A, match_A = iou_NA.max(dim=0)
        foreground_A = best_A >= self.foreground
        if self.low_quality:
            foreground_A[_best_anchors(iou_NA)] = True
        return match_A, foreground_A, (best_A < self.background) & ~foreground_A


def assign(settings: MaxIoU, grid: AnchorGrid, truth: Truth) -> Assignment:
    """Assign every anchor of every image of a batch."""
    shape = (len(truth.boxes_BM4), len(grid.boxes_A4))
    device = grid.boxes_A4.device
    match_BA = torch.zeros(shape, dtype=torch.int64, device=device)
    foreground_BA = torch.zeros(shape, dtype=torch.bool, device=device)
    counted_BA = torch.ones(shape, dtype=torch.bool, device=device)
    for image, boxes_M4 in enumerate(truth.boxes_BM4.float()):
        valid_M, ignore_M = truth.valid_BM[image], truth.ignore_BM[image]
        rows_N = (valid_M & ~ignore_M).nonzero().flatten()
        if len(rows_N):
            match_A, foreground_A, background_A = settings.match(grid, boxes_M4[rows_N])
            match_BA[image] = rows_N[match_A]
            foreground_BA[image] = foreground_A
            counted_BA[image] = foreground_A | background_A
        ignored_N4 = boxes_M4[valid_M & ignore_M]
        if len(ignored_N4):
            counted_BA[image] &= ~_covered(settings, grid, ignored_N4) | foreground_BA[image]
    return Assignment(match_BA, foreground_BA, counted_BA)


def _best_anchors(iou_NA: Tensor) -> Tensor:
    """Indices of the anchors that no other anchor beats for some box, ties included; a box that
    none touches has none.
    """
    most_N = iou_NA.amax(dim=1, keepdim=True)
    most_N = torch.where(most_N > 0, most_N, 2.0)
    return (iou_NA == most_N).nonzero()[:, 1]


def _covered(settings: MaxIoU, grid: AnchorGrid, ignored_N4: Tensor) -> Tensor:
    """Anchors [A] that ignored truth covers, or that it would have taken from background had it
    been real.
    """
    _, _, background_A = settings.match(grid, ignored_N4)
    if settings.ignore_coverage is None:
        return ~background_A
    coverage_A = grid_intersection(ignored_N4, grid).amax(dim=0) / grid.areas_A
    return ~background_A | (coverage_A >= settings.ignore_coverage)
