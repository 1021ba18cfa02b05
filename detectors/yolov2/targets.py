"""Which predictions answer for which truths. Shapes: B images, M truths, A anchors, O cells offered
to a truth, P positives, N = H * W * A predictions of an image in the order row, column, anchor.

Boxes are (centre x, centre y, width, height) in cells. Nothing here carries a gradient.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.yolov2.boxes import area, intersection, iou, shape_iou
from detectors.yolov2.settings import Darknet


@dataclass(frozen=True, slots=True)
class Positives:
    """One row per responsible prediction; `rows_P` indexes the B * N predictions of the batch."""

    images_P: Tensor
    rows_P: Tensor
    anchors_P: Tensor
    boxes_P4: Tensor
    labels_P: Tensor


def limit(
    boxes_BM4: Tensor, valid_BM: Tensor, settings: Darknet, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Truths in input pixels (xyxy) with corners and number limited as `settings` ask; `size` is
    (height, width).
    """
    if settings.truth_limit is not None:
        height, width = (settings.truth_limit * side for side in size)
        limits = boxes_BM4.new_tensor([width, height, width, height])
        boxes_BM4 = torch.minimum(boxes_BM4.clamp(min=0), limits)
    if settings.max_truths is not None:
        valid_BM = valid_BM & (valid_BM.cumsum(1) <= settings.max_truths)
    degenerate_BM = (boxes_BM4[..., 2:] <= boxes_BM4[..., :2]).any(-1)
    return boxes_BM4, valid_BM & ~degenerate_BM


def assign(
    boxes_BM4: Tensor,
    labels_BM: Tensor,
    wanted_BM: Tensor,
    anchors_A2: Tensor,
    grid: tuple[int, int],
    settings: Darknet,
) -> Positives:
    """Responsible predictions of the truths in `wanted_BM`; `grid` is (rows, columns).

    A truth belongs to the cell of its centre and the anchor of the most similar shape. Where
    several truths claim one prediction the last of the image wins, as in Darknet; claims that only
    exist through `extra_anchor_iou` or `positive_cells` yield to a truth's own cell and best
    anchor.
    """
    overlap_BMA = shape_iou(boxes_BM4[..., 2:], anchors_A2)
    best_BM1 = overlap_BMA.argmax(-1, keepdim=True)
    anchor_ids = torch.arange(len(anchors_A2), device=boxes_BM4.device)
    best_BMA = anchor_ids == best_BM1
    offered_BMA = best_BMA
    if settings.extra_anchor_iou is not None:
        offered_BMA = best_BMA | (overlap_BMA > settings.extra_anchor_iou)
    cells_BMO, inside_BMO = _cells(boxes_BM4[..., :2], grid, settings.positive_cells)
    offered_BMAO = offered_BMA[..., None] & inside_BMO[:, :, None] & wanted_BM[..., None, None]
    image, truth, anchor, offer = offered_BMAO.nonzero(as_tuple=True)
    per_image = grid[0] * grid[1] * len(anchors_A2)
    rows = image * per_image + cells_BMO[image, truth, offer] * len(anchors_A2) + anchor

    most = boxes_BM4.shape[1]
    rank = truth + most * (offer == 0) + 2 * most * best_BMA[image, truth, anchor]
    winner = torch.full((len(boxes_BM4) * per_image,), -1, device=rank.device, dtype=rank.dtype)
    winner = winner.scatter_reduce(0, rows, rank, "amax")
    won = winner[rows] == rank
    image, truth = image[won], truth[won]
    return Positives(
        image, rows[won], anchor[won], boxes_BM4[image, truth], labels_BM[image, truth]
    )


def _cells(centres_BM2: Tensor, grid: tuple[int, int], offers: int) -> tuple[Tensor, Tensor]:
    """Cell numbers [B, M, O] offered to each truth, its own first, and whether they lie on the
    grid.
    """
    rows, columns = grid
    column = centres_BM2[..., 0].floor().clamp(0, columns - 1).long()
    row = centres_BM2[..., 1].floor().clamp(0, rows - 1).long()
    if offers == 1:
        cell = (row * columns + column).unsqueeze(-1)
        return cell, torch.ones_like(cell, dtype=torch.bool)
    right = torch.where(centres_BM2[..., 0] - column < 0.5, -1, 1)
    down = torch.where(centres_BM2[..., 1] - row < 0.5, -1, 1)
    columns_O = torch.stack((column, column + right, column), dim=-1)
    rows_O = torch.stack((row, row, row + down), dim=-1)
    inside = (columns_O >= 0) & (columns_O < columns) & (rows_O >= 0) & (rows_O < rows)
    return rows_O * columns + columns_O, inside


def excused(
    predicted_BN4: Tensor, boxes_BM4: Tensor, valid_BM: Tensor, ignore_BM: Tensor, settings: Darknet
) -> Tensor:
    """Predictions [B, N] that are not taught "nothing here": too close to a truth, or on an ignored
    one.

    Close: IoU above `ignore_iou`. On: more than that share of the prediction's own area inside an
    ignored truth, for a crowd's box is larger than any object in it.
    """
    predicted, truths = predicted_BN4[:, :, None], boxes_BM4[:, None]
    common_BNM = intersection(predicted, truths)
    own_BN1 = area(predicted)
    union_BNM = own_BN1 + area(truths) - common_BNM
    wanted_B1M = (valid_BM & ~ignore_BM)[:, None]
    close_BNM = (common_BNM > settings.ignore_iou * union_BNM) & wanted_B1M
    if settings.ignored == "absorb":
        ignored_B1M = (valid_BM & ignore_BM)[:, None]
        close_BNM |= (common_BNM > settings.ignore_iou * own_BN1) & ignored_B1M
    return close_BNM.any(-1)


def rescored(predicted_P4: Tensor, positives: Positives) -> Tensor:
    """IoU [P] of the responsible predictions with their truths."""
    return iou(predicted_P4, positives.boxes_P4)
