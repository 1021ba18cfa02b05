"""Losses of boxes, unreduced. Shapes: `..` any leading axes. Decoded boxes are xyxy, x2 and y2
exclusive, x1 <= x2.
"""

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision to float32: a box side of 600 px has a step of 0.5 px in float16 and 4 px in
    bfloat16. Others stay.

    >>> at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def smooth_l1(predictions: Tensor, targets: Tensor, beta: float = 1.0) -> Tensor:
    """Smooth L1 (Girshick 2015, arXiv:1504.08083, eq. 3): quadratic below `beta`, straight above;
    beta 0 is L1.

    Any equal shapes in, the same shape out, in the unit of the input. Raises ValueError if
    beta < 0.

    >>> smooth_l1(torch.tensor([0.5, 3.0]), torch.zeros(2), beta=1.0)
    tensor([0.1250, 2.5000])
    """
    if beta < 0:
        raise ValueError(f"beta: must be >= 0, found {beta}")
    distance = (at_least_float32(predictions) - at_least_float32(targets)).abs()
    if beta == 0:
        return distance
    return torch.where(distance < beta, 0.5 * distance * distance / beta, distance - 0.5 * beta)


def giou(predictions_4: Tensor, targets_4: Tensor) -> Tensor:
    """1 - generalised IoU of paired boxes [.., 4] xyxy (Rezatofighi et al. 2019, arXiv:1902.09630);
    a loss [..] in [0, 2].

    An empty box overlaps nothing; its loss and gradient are finite.

    >>> box = torch.tensor([0.0, 0.0, 2.0, 2.0])
    >>> giou(box, box), giou(box, torch.tensor([2.0, 0.0, 4.0, 2.0]))
    (tensor(0.), tensor(1.))
    """
    predictions_4, targets_4 = at_least_float32(predictions_4), at_least_float32(targets_4)
    overlap_2 = torch.minimum(predictions_4[..., 2:], targets_4[..., 2:]) - torch.maximum(
        predictions_4[..., :2], targets_4[..., :2]
    )
    hull_2 = torch.maximum(predictions_4[..., 2:], targets_4[..., 2:]) - torch.minimum(
        predictions_4[..., :2], targets_4[..., :2]
    )
    intersection = overlap_2.clamp(min=0).prod(-1)
    union = _area(predictions_4) + _area(targets_4) - intersection
    hull = hull_2.prod(-1)
    return 1 - _ratio(intersection, union) + _ratio(hull - union, hull)


def _area(boxes_4: Tensor) -> Tensor:
    return (boxes_4[..., 2:] - boxes_4[..., :2]).prod(-1)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole; 0 without a gradient where the whole is as good as empty."""
    tiny = torch.finfo(whole.dtype).eps  # in squared units of the boxes, far below any real area
    return torch.where(whole > tiny, part / whole.clamp(min=tiny), 0)
