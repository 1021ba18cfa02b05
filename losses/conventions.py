"""Focal loss in the two layouts that people know from other code. Shapes: A anchors, K classes.

Both are `sigmoid_focal_loss` with the targets written differently and the sum divided for you.
"""

import torch
from torch import Tensor

from losses.checks import compute_dtype, require_labels
from losses.focal import sigmoid_focal_loss

IGNORED, BACKGROUND, OBJECT = -1, 0, 1


def focal_loss_of_shifted_labels(
    logits_AK: Tensor,
    labels_A: Tensor,
    foreground_count: Tensor | int,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    fused: bool = False,
) -> Tensor:
    """Labels 0..K where 0 is the background and column j stands for class j + 1, as in Paddle.

    Logits [A, K] and labels [A] or [A, 1] to a loss [A, K], divided by max(1, foreground_count);
    Paddle divides by the bare count and so by 0 for a batch without objects.

    >>> loss = focal_loss_of_shifted_labels(torch.zeros(2, 1), torch.tensor([0, 1]), 1)
    >>> [round(value, 4) for value in loss.flatten().tolist()]
    [0.13, 0.0433]
    """
    classes = logits_AK.shape[-1]
    labels_A = labels_A.reshape(logits_AK.shape[:-1])
    require_labels("labels", labels_A, classes)
    own_A = torch.where(labels_A == 0, classes, labels_A - 1)
    loss_AK = sigmoid_focal_loss(logits_AK, own_A, alpha=alpha, gamma=gamma, fused=fused)
    count = torch.as_tensor(foreground_count, dtype=loss_AK.dtype, device=loss_AK.device)
    return loss_AK / count.clamp(min=1)


def focal_loss_of_anchor_states(
    logits_AK: Tensor,
    targets_AK: Tensor,
    states_A: Tensor,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    fused: bool = False,
) -> Tensor:
    """Anchors that are -1 ignored, 0 background or 1 object, as in keras-retinanet.

    Logits and targets [.., A, K] and states [.., A] to a scalar: the sum over anchors that are not
    ignored, divided by max(1, objects). Raises ValueError on other states (read on the CPU only).

    >>> states = torch.tensor([1, 0, -1])
    >>> targets = torch.tensor([[1.0], [0.0], [1.0]])
    >>> round(focal_loss_of_anchor_states(torch.zeros(3, 1), targets, states).item(), 4)
    0.1733
    """
    require_labels("states", states_A.long() - IGNORED, OBJECT - IGNORED)
    total = sigmoid_focal_loss(
        logits_AK,
        targets_AK,
        alpha=alpha,
        gamma=gamma,
        ignore=states_A == IGNORED,
        reduction="sum",
        fused=fused,
    )
    objects = (states_A == OBJECT).sum().to(compute_dtype(logits_AK.dtype))
    return total / objects.clamp(min=1)
