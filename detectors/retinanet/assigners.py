"""How truth boxes claim anchors: by overlap (RetinaNet) or by statistics of overlap (ATSS).

Shapes: B images, T all boxes of these images, A anchors of one image, C candidates of one box,
F claimed anchors of all images.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from detectors.retinanet.anchors import AnchorGrid
from detectors.retinanet.boxes import grid_iou


@dataclass(frozen=True, slots=True)
class BoxList:
    """Boxes of consecutive images, one after the other: their image (from 0) and row in the
    truth.
    """

    boxes_T4: Tensor
    image_T: Tensor
    row_T: Tensor
    counts: list[int]  # boxes of each image, of those without boxes too


@dataclass(frozen=True, slots=True)
class Claims:
    """Foreground anchors with their box (an index into T), and which anchors are background."""

    image_F: Tensor
    anchor_F: Tensor
    box_F: Tensor
    background_BA: Tensor


@dataclass(frozen=True, slots=True)
class MaxIoU:
    """Assignment by overlap (paper, section 4; Faster R-CNN, Ren et al. 2015, section 3.1.2).

    IoU >= `foreground` makes foreground, < `background` background, between sets aside. With
    `low_quality` each box also takes the anchors that overlap it most, however little (torchvision,
    Detectron2, mmdet; not said in the paper).
    For `ignored` and `ignore_coverage` see `detectors.retinanet.targets.assign`.
    """

    foreground: float = 0.5
    background: float = 0.4
    low_quality: bool = True
    ignored: Literal["aside", "background"] = "aside"
    ignore_coverage: float | None = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.background <= self.foreground <= 1:
            raise ValueError(
                "background: thresholds must satisfy 0 < background <= foreground <= 1, "
                f"found background {self.background}, foreground {self.foreground}"
            )
        _check_coverage(self.ignore_coverage)

    def claim(self, grid: AnchorGrid, boxes: BoxList) -> Claims:
        """Which anchors the boxes of some images make foreground, and which background."""
        iou_TA = grid_iou(boxes.boxes_T4, grid)
        best_BA = _most_of_each_image(iou_TA, boxes)
        foreground_BA = best_BA >= self.foreground
        if self.low_quality:
            box_P, anchor_P = _best_anchors(iou_TA)
            foreground_BA[boxes.image_T[box_P], anchor_P] = True
        return _claims(iou_TA, boxes, foreground_BA, best_BA < self.background)


@dataclass(frozen=True, slots=True)
class ATSS:
    """Adaptive training sample selection (Zhang et al. 2020, arXiv:1912.02424, algorithm 1).

    Of every level the `nearest` cells to a box's centre offer their anchors; those whose IoU
    reaches the offers' mean plus standard deviation, and whose centre lies in the box, are
    foreground. All others are background: no threshold, no band between, and small boxes get their
    share.
    """

    nearest: int = 9
    ignored: Literal["aside", "background"] = "aside"
    ignore_coverage: float | None = 0.5

    def __post_init__(self) -> None:
        if self.nearest < 1:
            raise ValueError(f"nearest: must be >= 1, found {self.nearest}")
        _check_coverage(self.ignore_coverage)

    def claim(self, grid: AnchorGrid, boxes: BoxList) -> Claims:
        """Which anchors the boxes of some images make foreground, and which background."""
        iou_TA = grid_iou(boxes.boxes_T4, grid)
        anchor_TC = self._candidates(grid, boxes.boxes_T4)
        iou_TC = iou_TA.gather(1, anchor_TC)
        limit_T1 = iou_TC.mean(dim=1, keepdim=True) + iou_TC.std(dim=1, keepdim=True)
        centre_TC2 = _centres(grid.boxes_A4)[anchor_TC]
        inside_TC = (centre_TC2 > boxes.boxes_T4[:, None, :2]).all(-1)
        inside_TC &= (centre_TC2 < boxes.boxes_T4[:, None, 2:]).all(-1)
        chosen_TC = (iou_TC >= limit_T1) & inside_TC & (iou_TC > 0)
        claimed_TA = torch.zeros_like(iou_TA)
        claimed_TA.scatter_(1, anchor_TC, torch.where(chosen_TC, iou_TC, 0.0))
        foreground_BA = _most_of_each_image(claimed_TA, boxes) > 0
        return _claims(claimed_TA, boxes, foreground_BA, ~foreground_BA)

    def _candidates(self, grid: AnchorGrid, boxes_T4: Tensor) -> Tensor:
        """All anchors of the nearest cells of each level, [T, C]."""
        found, start = [], 0
        for level in grid.levels:
            per_cell, rows = level.y_SY2.shape[:2]
            columns = level.x_SX2.shape[1]
            cells = rows * columns
            anchors_A4 = grid.boxes_A4[start : start + cells * per_cell : per_cell]
            offset_TN2 = _centres(boxes_T4)[:, None] - _centres(anchors_A4)
            distance_TN = offset_TN2.square().sum(dim=-1)
            cell_TN = distance_TN.topk(min(self.nearest, cells), largest=False).indices
            shape_S = torch.arange(per_cell, device=boxes_T4.device)
            found.append(start + (cell_TN[..., None] * per_cell + shape_S).flatten(1))
            start += cells * per_cell
        return torch.cat(found, dim=1)


Assigner = MaxIoU | ATSS

ASSIGNERS: dict[str, type[Assigner]] = {"max_iou": MaxIoU, "atss": ATSS}


def _check_coverage(coverage: float | None) -> None:
    if coverage is not None and not 0 < coverage <= 1:
        raise ValueError(f"ignore_coverage: must lie in (0, 1], found {coverage}")


def _centres(boxes_4: Tensor) -> Tensor:
    return (boxes_4[..., :2] + boxes_4[..., 2:]) / 2


def _most_of_each_image(values_TA: Tensor, boxes: BoxList) -> Tensor:
    """The greatest value that any box of an image gives to each anchor, 0 without boxes: [B, A]."""
    most_BA = values_TA.new_zeros(len(boxes.counts), values_TA.shape[1])
    for image, part_NA in enumerate(torch.split(values_TA, boxes.counts)):
        if len(part_NA):
            torch.amax(part_NA, dim=0, out=most_BA[image])
    return most_BA


def _claims(
    values_TA: Tensor, boxes: BoxList, foreground_BA: Tensor, background_BA: Tensor
) -> Claims:
    """Foreground anchors go to the box of their own image with the greatest value, the first of
    equal ones. The search over boxes is done for them alone, a few in a hundred anchors.
    """
    image_F, anchor_F = foreground_BA.nonzero(as_tuple=True)
    values_TF = values_TA[:, anchor_F]
    values_TF[boxes.image_T[:, None] != image_F] = -1
    return Claims(image_F, anchor_F, values_TF.argmax(dim=0), background_BA & ~foreground_BA)


def _best_anchors(iou_TA: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of a box and an anchor that no other anchor beats for it, ties included; a box that no
    anchor touches has none.
    """
    most_T1 = iou_TA.amax(dim=1, keepdim=True)
    most_T1 = torch.where(most_T1 > 0, most_T1, 2.0)
    box_P, anchor_P = (iou_TA == most_T1).nonzero(as_tuple=True)
    return box_P, anchor_P
