"""Boxes on YOLOv2's grid. Shapes: B images, H x W cells, A anchors, F fields, M truths, N = H * W *
A.

Here, and only inside the region layer, boxes are (centre x, centre y, width, height) in cells.
"""

import torch
from torch import Tensor

MAX_LOG_SCALE = 20.0  # exp(20) anchors, 1e9 times the input; areas of two such still fit float32


def decode_cells(fields_BHWAF: Tensor, anchors_A2: Tensor, reach: float = 1.0) -> Tensor:
    """Raw predictions to boxes [B, H, W, A, 4] (Redmon & Farhadi 2016, section 2).

    Centre: cell + reach * sigmoid(x) - (reach - 1) / 2; reach 1 is the paper's. Size: anchor *
    exp(w).
    """
    height, width = fields_BHWAF.shape[1:3]
    device, kind = fields_BHWAF.device, fields_BHWAF.dtype
    rows = torch.arange(height, device=device, dtype=kind).view(1, height, 1, 1)
    columns = torch.arange(width, device=device, dtype=kind).view(1, 1, width, 1)
    shift = (reach - 1) / 2
    x = columns + fields_BHWAF[..., 0].sigmoid() * reach - shift
    y = rows + fields_BHWAF[..., 1].sigmoid() * reach - shift
    sizes = anchors_A2 * fields_BHWAF[..., 2:4].clamp(max=MAX_LOG_SCALE).exp()
    return torch.cat((torch.stack((x, y), dim=-1), sizes), dim=-1)


def to_corners(boxes_4: Tensor) -> Tensor:
    """[.., 4] centres and sizes to x1, y1, x2, y2."""
    centre, half = boxes_4[..., :2], boxes_4[..., 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def to_centres(boxes_4: Tensor) -> Tensor:
    """[.., 4] x1, y1, x2, y2 to centres and sizes."""
    return torch.cat(
        ((boxes_4[..., :2] + boxes_4[..., 2:]) / 2, boxes_4[..., 2:] - boxes_4[..., :2]), dim=-1
    )


def intersection(first_4: Tensor, second_4: Tensor) -> Tensor:
    """Common area of boxes in centre form, broadcast over the leading axes."""
    first, second = to_corners(first_4), to_corners(second_4)
    width = torch.minimum(first[..., 2], second[..., 2]) - torch.maximum(
        first[..., 0], second[..., 0]
    )
    height = torch.minimum(first[..., 3], second[..., 3]) - torch.maximum(
        first[..., 1], second[..., 1]
    )
    return width.clamp(min=0) * height.clamp(min=0)


def area(boxes_4: Tensor) -> Tensor:
    """Width times height of boxes in centre form, in square cells."""
    return boxes_4[..., 2] * boxes_4[..., 3]


def iou(first_4: Tensor, second_4: Tensor) -> Tensor:
    """Intersection over union of boxes in centre form, broadcast over the leading axes."""
    common = intersection(first_4, second_4)
    union = area(first_4) + area(second_4) - common
    return common / union.clamp(min=torch.finfo(union.dtype).tiny)


def shape_iou(sizes_2: Tensor, anchors_A2: Tensor) -> Tensor:
    """IoU [.., A] of sizes [.., 2] with anchors as if both were centred on one point."""
    sizes = sizes_2.unsqueeze(-2)
    common = torch.minimum(sizes, anchors_A2).prod(-1)
    return common / (sizes.prod(-1) + anchors_A2.prod(-1) - common)
