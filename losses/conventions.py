"""Focal loss as the world writes it: four layouts, each in one call. Shapes: A anchors, K classes.

All are `sigmoid_focal_loss` or `softmax_focal_loss` with the targets written differently and the
sum divided for you; what departs from the codes they are named after is said in each docstring.
`docs/losses.md` section 9 has them side by side.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from losses.alpha import class_weights_from_counts
from losses.checks import require_labels
from losses.focal import Reduction, sigmoid_focal_loss, softmax_focal_loss
from losses.kernels.pieces import compute_dtype

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

    Keras takes probabilities and clips them to [1e-7, 1 - 1e-7]: a mistake surer than a logit of 16
    costs 16.1 there and has no gradient; here it keeps both. A soft target counts there as whole
    beyond 0.5 in all but the cross-entropy; here as in `sigmoid_focal_loss`.

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


def focal_loss_of_softmax(
    logits: Tensor,
    labels: Tensor,
    *,
    alpha: Tensor | Sequence[float] | None = None,
    gamma: float = 2.0,
    size_average: bool = True,
    ignore_index: int = -100,
    fused: bool = False,
) -> Tensor:
    """One weight a class on the softmax, as the PyTorch classes named FocalLoss have it.

    Logits [N, K] or dense [N, K, H, W] and labels [N], [N, 1], [N, H, W] or [N, 1, H, W] in 0..K-1
    to a scalar: the mean over the labels not ignored, or their sum without `size_average`.
    alpha: [K] or [K, 1], by label; None for 1. The mean counts labels, not weights.

    Those classes take the logarithm of a rounded probability: infinite, and NaN in the gradient,
    where the label's own is 0 in float32 (a logit 104 below the greatest); some clamp it, or read
    ignored labels as class 0. One number as their alpha (0.25) scales the learning rate and is not
    taken here.

    >>> logits, labels = torch.zeros(2, 2), torch.tensor([0, 1])
    >>> round(focal_loss_of_softmax(logits, labels, alpha=[1.0, 3.0]).item(), 4)  # 2 * ln 2 / 4
    0.3466
    """
    alpha_K = None
    if alpha is not None:
        alpha_K = torch.as_tensor(alpha, dtype=compute_dtype(logits.dtype), device=logits.device)
        if alpha_K.shape not in ((logits.shape[1],), (logits.shape[1], 1)):
            raise ValueError(
                f"alpha: must be one for each of {logits.shape[1]} classes, [K] or [K, 1], "
                f"found {list(alpha_K.shape)}"
            )
        alpha_K = alpha_K.flatten()
    return softmax_focal_loss(
        logits,
        _without_class_axis(labels, logits),
        alpha=alpha_K,
        gamma=gamma,
        ignore_index=ignore_index,
        reduction="mean" if size_average else "sum",
        fused=fused,
    )


def focal_loss_of_class_counts(
    logits: Tensor,
    labels: Tensor,
    counts: Sequence[int],
    *,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
    fused: bool = False,
) -> Tensor:
    """alpha from class counts of a sample, and of the sigmoids only the label's own.

    Logits [N, K] or dense [N, K, H, W] and labels [N], [N, H, W] or [N, 1, H, W] in 0..K-1 to a
    scalar, or without reduction to a loss of [N] or [N, H, W]: sum(counts) / counts[y] *
    (1 - p_y)**gamma * -log p_y, unnormalised, so it multiplies the learning rate by K or more.

    alpha 1 is what leaves the other classes out: nothing pushes their logits down, all rise in
    time. `class_weights` with `form: inverse` in a recipe keeps both terms and has mean 1. A class
    without objects is given the weight of one with a single object; 1 / 0 elsewhere.

    >>> loss = focal_loss_of_class_counts(torch.zeros(1, 2), torch.tensor([1]), [300, 100])
    >>> round(loss.item(), 4)  # 4 * ln 2 / 4
    0.6931
    """
    classes = logits.shape[1]
    if len(counts) != classes:
        raise ValueError(f"counts: must be one for each of {classes} classes, found {len(counts)}")
    labels = _without_class_axis(labels, logits)
    require_labels("labels", labels, classes - 1)
    loss = sigmoid_focal_loss(
        logits.movedim(1, -1),
        labels,
        alpha=1.0,
        gamma=gamma,
        class_weights=class_weights_from_counts(counts, "inverse_unnormalised"),
        fused=fused,
    ).sum(-1)
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def _without_class_axis(labels: Tensor, logits: Tensor) -> Tensor:
    """Labels [N, 1, ..] as [N, ..], which is how the softmax form takes them."""
    return labels.squeeze(1) if labels.ndim == logits.ndim and labels.shape[1] == 1 else labels
