"""The region loss of YOLOv2, with a choice of where the configured classification loss acts.

Shapes: B images, H x W cells, A anchors, F = 5 + K fields (x, y, w, h, objectness, K classes), N =
H * W * A, M truths, P positives. Boxes here are (centre x, centre y, width, height) in cells.

Source: Darknet's region_layer.c. Its deltas are minus the gradient of
1/2 sum cw (coordinate - t)^2 + 1/2 sum ow (objectness - t)^2 + class_scale sum cross-entropy.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from detectors.yolov2.boxes import decode_cells, to_corners
from detectors.yolov2.objectness import focal_objectness, quality_objectness
from detectors.yolov2.settings import Darknet
from detectors.yolov2.targets import Positives, assign, excused, rescored
from losses.base import ClassificationLoss
from losses.boxes import giou

Site = Literal["class_softmax", "class_sigmoid", "objectness", "objectness_quality"]


@dataclass(frozen=True, slots=True)
class RegionTruth:
    """Truths of a batch in cells (centre form)."""

    boxes_BM4: Tensor
    labels_BM: Tensor
    valid_BM: Tensor
    ignore_BM: Tensor


@dataclass(frozen=True, slots=True)
class RegionLoss:
    """Sums over each image's predictions, [B]; not yet normalised."""

    classification_B: Tensor
    box_B: Tensor
    objectness_B: Tensor
    foreground_B: Tensor


@dataclass(frozen=True, slots=True)
class RegionLosses:
    """The classification losses by place: the configured one at `sites`, `elsewhere`
    (cross-entropy) in the others.
    """

    configured: ClassificationLoss
    elsewhere: ClassificationLoss
    sites: tuple[Site, ...]


def region_loss(
    fields_BHWAF: Tensor,
    truth: RegionTruth,
    anchors_A2: Tensor,
    settings: Darknet,
    losses: RegionLosses,
    *,
    pull_priors: bool,
) -> RegionLoss:
    """The three terms of every image; `pull_priors` is true while few images have been seen."""
    images, *grid = fields_BHWAF.shape[:3]
    fields_RF = fields_BHWAF.reshape(-1, fields_BHWAF.shape[-1])  # R = B * N
    with torch.no_grad():
        boxes_BN4 = decode_cells(fields_BHWAF, anchors_A2, settings.centre_reach).reshape(
            images, -1, 4
        )
        wanted_BM = truth.valid_BM & ~truth.ignore_BM
        positives = assign(
            truth.boxes_BM4, truth.labels_BM, wanted_BM, anchors_A2, (grid[0], grid[1]), settings
        )
        excused_BN = excused(boxes_BN4, truth.boxes_BM4, truth.valid_BM, truth.ignore_BM, settings)
        overlap_P = rescored(boxes_BN4.view(-1, 4)[positives.rows_P], positives)
    fields_PF = fields_RF[positives.rows_P]
    by_image = _ByImage(images, positives.images_P)
    cells = grid[0] * grid[1]
    box_B = by_image.sum(_box_loss(fields_PF, positives, anchors_A2, grid[1], cells, settings))
    if pull_priors and settings.prior_weight > 0:
        box_B = box_B + _prior_pull(fields_RF, positives, settings).view(images, -1).sum(1)
    objectness_R = _objectness_loss(
        fields_RF[:, 4], positives, excused_BN, overlap_P, settings, losses
    )
    class_P = _class_loss(fields_PF[:, 5:], positives.labels_P, settings, losses)
    return RegionLoss(
        classification_B=by_image.sum(class_P),
        box_B=box_B,
        objectness_B=objectness_R.view(images, -1).sum(1),
        foreground_B=by_image.sum(torch.ones_like(overlap_P)),
    )


@dataclass(frozen=True, slots=True)
class _ByImage:
    images: int
    images_P: Tensor

    def sum(self, values_P: Tensor) -> Tensor:
        return values_P.new_zeros(self.images).index_add(0, self.images_P, values_P)


def _box_loss(
    fields_PF: Tensor,
    positives: Positives,
    anchors_A2: Tensor,
    columns: int,
    cells: int,
    settings: Darknet,
) -> Tensor:
    truth_P4 = positives.boxes_P4
    share_P = truth_P4[:, 2] * truth_P4[:, 3] / cells  # of the input's area
    weight_P = settings.coord_scale * _coord_weight(share_P, settings)
    cell_P = positives.rows_P.div(len(anchors_A2), rounding_mode="floor") % cells
    corner_P2 = torch.stack((cell_P % columns, cell_P.div(columns, rounding_mode="floor")), dim=-1)
    sizes_P2 = anchors_A2[positives.anchors_P]
    reach = settings.centre_reach
    offset_P2 = fields_PF[:, :2].sigmoid() * reach - (reach - 1) / 2
    if settings.box == "giou":
        # A box of one cell and one anchor is decoded at the origin, then moved to its cell.
        own_PA1F = fields_PF[:, None, None, None, :4]
        decoded_P4 = decode_cells(own_PA1F, sizes_P2.view(-1, 1, 1, 1, 2), reach).view(-1, 4)
        moved_P4 = torch.cat((decoded_P4[:, :2] + corner_P2, decoded_P4[:, 2:]), dim=-1)
        return weight_P * giou(to_corners(moved_P4), to_corners(truth_P4))
    log_scale_P2 = (truth_P4[:, 2:] / sizes_P2).log()
    errors_P4 = torch.cat(
        (offset_P2 - (truth_P4[:, :2] - corner_P2), fields_PF[:, 2:4] - log_scale_P2), dim=-1
    )
    return weight_P * 0.5 * errors_P4.square().sum(-1)


def _coord_weight(share_P: Tensor, settings: Darknet) -> Tensor:
    if settings.coord_weight == "one":
        return torch.ones_like(share_P)
    return 2 - (share_P.clamp(max=1.5) if settings.coord_weight == "capped_area" else share_P)


def _prior_pull(fields_RF: Tensor, positives: Positives, settings: Darknet) -> Tensor:
    """Pull of idle predictions to the middle of their cell and the shape of their anchor, [R]."""
    reach = settings.centre_reach
    offset_R2 = (fields_RF[:, :2].sigmoid() - 0.5) * reach
    error_R = offset_R2.square().sum(-1) + fields_RF[:, 2:4].square().sum(-1)
    idle_R = torch.ones_like(error_R).index_fill(0, positives.rows_P, 0.0)
    return settings.prior_weight * 0.5 * error_R * idle_R


def _objectness_loss(
    logits_R: Tensor,
    positives: Positives,
    excused_BN: Tensor,
    overlap_P: Tensor,
    settings: Darknet,
    losses: RegionLosses,
) -> Tensor:
    """Loss [R]: predictions that answer for a truth aim at its IoU (or 1), idle ones at 0,
    excused ones at nothing.
    """
    rows_P = positives.rows_P
    weight_R = settings.noobject_scale * (~excused_BN).flatten().to(logits_R.dtype)
    weight_R = weight_R.index_fill(0, rows_P, settings.object_scale)
    soft = settings.rescore and "objectness" not in losses.sites  # focal loss is defined at 0 and 1
    aim_P = overlap_P.to(logits_R.dtype) if soft else torch.ones_like(logits_R[rows_P])
    target_R = torch.zeros_like(logits_R).index_copy(0, rows_P, aim_P)
    if "objectness_quality" in losses.sites:
        return weight_R * quality_objectness(logits_R, target_R, losses.configured)
    if "objectness" in losses.sites:
        return weight_R * focal_objectness(logits_R, target_R, losses.configured)
    if settings.objectness == "cross_entropy":
        return weight_R * focal_objectness(logits_R, target_R, losses.elsewhere)
    return weight_R * 0.5 * (logits_R.sigmoid() - target_R).square()


def _class_loss(
    logits_PK: Tensor, labels_P: Tensor, settings: Darknet, losses: RegionLosses
) -> Tensor:
    """Loss [P] over the classes of responsible predictions."""
    if not len(labels_P):
        return logits_PK.sum(-1)
    named = "class_softmax" in losses.sites or "class_sigmoid" in losses.sites
    loss = losses.configured if named else losses.elsewhere
    smoothing, classes = settings.label_smoothing, logits_PK.shape[1]
    if "class_sigmoid" in losses.sites or (not named and settings.class_form == "sigmoid"):
        target_PK = F.one_hot(labels_P, classes).to(logits_PK.dtype)
        target_PK = target_PK * (1 - smoothing) + smoothing / classes
        return settings.class_scale * loss.sigmoid(logits_PK, target_PK).sum(-1)
    loss_P = loss.softmax(logits_PK, labels_P)
    if smoothing:
        every_PK = torch.arange(classes, device=labels_P.device).expand(len(labels_P), classes)
        spread_PK = loss.softmax(logits_PK[:, None].expand(-1, classes, -1), every_PK)
        loss_P = (1 - smoothing) * loss_P + smoothing * spread_PK.mean(-1)
    return settings.class_scale * loss_P
