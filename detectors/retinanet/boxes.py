"""Box coding and overlap. Shapes: .. any leading axes, N truth boxes, A anchors of one image, L
levels, S anchors per cell.

Boxes are xyxy in pixels of the network input: x right, y down, 0-based, x2 and y2 exclusive. All
arithmetic is float32.
"""

import math

import torch
from torch import Tensor

from detectors.retinanet.anchors import AnchorGrid

MAX_LOG_SCALE = math.log(1000 / 16)  # a 16 px anchor may grow to 1000 px: no image side needs more


def encode(boxes_4: Tensor, anchors_4: Tensor) -> Tensor:
    """Boxes [.., 4] relative to anchors [.., 4] as (dx, dy, log w, log h), R-CNN's code (Girshick
    et al. 2014, C).

    Offsets are in anchor widths and heights. Boxes must have positive sides, or the logarithm is
    infinite.
    """
    anchor_centre, anchor_size = _centre_size(anchors_4)
    centre, size = _centre_size(boxes_4)
    return torch.cat([(centre - anchor_centre) / anchor_size, (size / anchor_size).log()], dim=-1)


def decode(deltas_4: Tensor, anchors_4: Tensor) -> Tensor:
    """The boxes that codes [.., 4] stand for; a side grows at most by exp(MAX_LOG_SCALE)."""
    anchor_centre, anchor_size = _centre_size(anchors_4)
    centre = deltas_4[..., :2] * anchor_size + anchor_centre
    half = deltas_4[..., 2:].clamp(max=MAX_LOG_SCALE).exp() * anchor_size * 0.5
    return torch.cat([centre - half, centre + half], dim=-1)


def clip(boxes_4: Tensor, height_width: Tensor) -> Tensor:
    """Boxes [.., 4] cut to an image whose (height, width) is [2] or broadcasts as [.., 2]."""
    limit_4 = height_width.flip(-1).repeat_interleave(2, -1)[..., [0, 2, 1, 3]]
    return boxes_4.clamp(min=0).minimum(limit_4.to(boxes_4.dtype))


def area(boxes_4: Tensor) -> Tensor:
    """Area in square pixels of boxes [.., 4]."""
    return (boxes_4[..., 2] - boxes_4[..., 0]) * (boxes_4[..., 3] - boxes_4[..., 1])


def grid_intersection(boxes_N4: Tensor, grid: AnchorGrid) -> Tensor:
    """Area shared by each box and each anchor, [N, A], in square pixels.

    A level's anchors are a grid, so the overlap is an outer product of overlaps along y and along
    x: one multiplication a pair instead of the eight operations of the general form.
    """
    shared_NA = boxes_N4.new_empty(len(boxes_N4), len(grid.boxes_A4))
    start = 0
    for level in grid.levels:
        x_NSX = _overlap(boxes_N4[:, 0::2], level.x_SX2)
        y_NSY = _overlap(boxes_N4[:, 1::2], level.y_SY2)
        rows, columns, count = y_NSY.shape[2], x_NSX.shape[2], x_NSX.shape[1]
        stop = start + rows * columns * count
        part = shared_NA[:, start:stop].view(-1, rows, columns, count)
        torch.mul(y_NSY.transpose(1, 2)[:, :, None], x_NSX.transpose(1, 2)[:, None], out=part)
        start = stop
    return shared_NA


def grid_iou(boxes_N4: Tensor, grid: AnchorGrid) -> Tensor:
    """Intersection over union of each box and each anchor, [N, A]."""
    shared_NA = grid_intersection(boxes_N4, grid)
    union_NA = (area(boxes_N4)[:, None] + grid.areas_A).sub_(shared_NA)
    return shared_NA.div_(union_NA)


def _overlap(spans_N2: Tensor, spans_SX2: Tensor) -> Tensor:
    upper = torch.minimum(spans_N2[:, 1, None, None], spans_SX2[..., 1])
    lower = torch.maximum(spans_N2[:, 0, None, None], spans_SX2[..., 0])
    return (upper - lower).clamp(min=0)


def _centre_size(boxes_4: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes_4[..., 2:] - boxes_4[..., :2]
    return boxes_4[..., :2] + 0.5 * size, size
