"""Focal loss (Lin et al. 2017, arXiv:1708.02002), sigmoid and softmax, in nats, unreduced unless
asked.

Shapes: K classes, `..` any leading axes. gamma >= 0 lowers the weight of what is already right;
gamma 0 is cross-entropy.
Half-precision logits are computed, and the loss returned, in float32; the gradient has the dtype of
the logits.
"""

from dataclasses import dataclass, replace
from typing import Literal, cast
from warnings import warn

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.alpha import ClassFrequency, PaperAlpha
from losses.checks import compute_dtype, require_floating, require_labels, require_range
from losses.schedules import Schedule, value_at
from losses.sigmoid_focal import SigmoidFocal, Weighing
from losses.softmax_focal import SoftmaxFocal

Vector = float | tuple[float, ...] | Tensor
Reduction = Literal["none", "sum", "mean"]


def sigmoid_focal_loss(
    logits_K: Tensor,
    targets: Tensor,
    *,
    alpha: Vector | None = None,
    gamma: Vector = 2.0,
    class_weights: Vector | None = None,
    ignore: Tensor | None = None,
    reduction: Reduction = "none",
    fused: bool = False,
) -> Tensor:
    """Sigmoid focal loss of each anchor and class (eq. 5): logits [.., K] to a loss [.., K].

    targets: [.., K] in [0, 1], or class indices [..] in 0..K, where K is the background. Between 0
      and 1 the loss is that of torchvision and mmdet, p_t = p t + (1 - p)(1 - t); `losses.quality`
      is made for soft targets.
    alpha: weight of positives, 1 - alpha of negatives, in [0, 1]; one number or [K]; None weighs
      neither.
    gamma: one number, a tensor of one element, or [K].
    class_weights: further weight of the positives of each class [K].
    ignore: bool [..] or [.., K]; loss and gradient are 0 there, whatever the logits.
    Raises ValueError on shapes, dtypes or labels that do not fit. Ignored elements count in the
    mean.

    >>> loss = sigmoid_focal_loss(torch.zeros(1, 2), torch.tensor([1]), alpha=0.25, gamma=2.0)
    >>> [round(value, 4) for value in loss[0].tolist()]  # 0.75 * 0.25 * ln 2, 0.25 * 0.25 * ln 2
    [0.13, 0.0433]
    """
    require_floating("logits", logits_K)
    classes = logits_K.shape[-1]
    logits_RK = logits_K.reshape(logits_K.shape[:-1].numel(), classes)
    ignore_RX = _ignore_rows(ignore, logits_K)
    weighing = _weighing(logits_K, alpha, class_weights, gamma)
    if targets.shape == logits_K.shape:
        targets_RX = targets.reshape(logits_RK.shape)
    elif targets.shape == logits_K.shape[:-1]:
        targets_RX = targets.reshape(-1)
        require_labels("targets", targets_RX, classes, _row_ignore(ignore_RX))
        targets_RX = targets_RX.clamp(0, classes).long()
    else:
        raise ValueError(
            f"targets: must be {list(logits_K.shape)} or {list(logits_K.shape[:-1])} "
            f"like the logits, found {list(targets.shape)}"
        )
    loss_RK = cast(Tensor, SigmoidFocal.apply(logits_RK, targets_RX, ignore_RX, weighing))
    return _reduce(loss_RK.reshape(logits_K.shape), reduction)


def softmax_focal_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    alpha: Vector | None = None,
    gamma: Vector = 2.0,
    ignore: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "none",
    class_axis: int = 1,
) -> Tensor:
    """Softmax focal loss: logits [N, K] or dense [N, K, d1, ..], labels [N, d1, ..] to a loss of
    the labels' shape.

    class_axis: which axis of the logits holds the classes; -1 for logits [.., K].
    alpha: weight of each class [K]. A single number only rescales the learning rate, and is warned
      of.
    gamma: one number, a tensor of one element, or [K], read by label.
    ignore, ignore_index: bool of the labels' shape, and a label that is ignored: loss and gradient
      are 0 there.
    reduction: "mean" divides by the labels that are not ignored (at least 1), not by the sum of
      weights.
    Raises ValueError on shapes, dtypes or labels that do not fit.

    >>> loss = softmax_focal_loss(torch.zeros(1, 2), torch.tensor([0]), gamma=2.0)
    >>> round(loss.item(), 4)  # 0.5**2 * ln 2
    0.1733
    """
    require_floating("logits", logits)
    axis = class_axis % logits.ndim
    classes = logits.shape[axis]
    if labels.shape != logits.shape[:axis] + logits.shape[axis + 1 :]:
        raise ValueError(
            f"labels: must be the logits {list(logits.shape)} without axis {axis}, "
            f"found {list(labels.shape)}"
        )
    skip = labels == ignore_index
    if ignore is not None:
        if ignore.shape != labels.shape or ignore.dtype != torch.bool:
            raise ValueError(
                f"ignore: must be bool {list(labels.shape)}, "
                f"found {ignore.dtype} {list(ignore.shape)}"
            )
        skip = skip | ignore
    require_labels("labels", labels, classes - 1, skip)
    rows, positions = logits.shape[:axis].numel(), logits.shape[axis + 1 :].numel()
    labels_R1D = labels.masked_fill(skip, 0).long().reshape(rows, 1, positions)
    if isinstance(alpha, int | float):
        warn(
            "alpha: one number in the softmax form scales the whole loss and so only the "
            "learning rate; give one per class, or none",
            stacklevel=2,
        )
    weight_K = None if alpha is None else _vector("alpha", alpha, logits, classes).expand(classes)
    loss_R1D: Tensor = SoftmaxFocal.apply(
        logits.reshape(rows, classes, positions),
        labels_R1D,
        skip.reshape(rows, 1, positions),
        weight_K,
        _gamma(gamma, logits, classes),
    )
    loss = loss_R1D.reshape(labels.shape)
    if reduction == "mean":
        return loss.sum() / (~skip).sum().clamp(min=1)
    return _reduce(loss, reduction)


def composed_sigmoid_focal_loss(
    logits: Tensor, targets: Tensor, *, alpha: Vector | None = None, gamma: Vector = 2.0
) -> Tensor:
    """Sigmoid focal loss of hard targets, written in differentiable operations and log space.

    Slower and with more memory than `sigmoid_focal_loss`, but differentiable any number of times,
    and in gamma and alpha. Logits and targets [.., K] in {0, 1} give a loss [.., K].

    >>> composed_sigmoid_focal_loss(torch.zeros(1), torch.ones(1), gamma=1.0)
    tensor([0.3466])
    """
    signed = logits * (2 * targets - 1)
    power: float | Tensor = _gamma(gamma, logits, logits.shape[-1])
    loss = -F.logsigmoid(signed) * (power * F.logsigmoid(-signed)).exp()
    if alpha is None:
        return loss
    weight = _vector("alpha", alpha, logits, logits.shape[-1])
    return loss * (weight * targets + (1 - weight) * (1 - targets))


def _vector(name: str, values: Vector, logits: Tensor, classes: int) -> Tensor:
    """A number, tuple or tensor as a tensor of 1 or K elements beside the logits."""
    vector = torch.as_tensor(values, dtype=compute_dtype(logits.dtype), device=logits.device)
    if vector.ndim > 1 or vector.numel() not in (1, classes):
        raise ValueError(
            f"{name}: must be one number or one for each of {classes} classes, "
            f"found {list(vector.shape)}"
        )
    return vector


def _gamma(gamma: Vector, logits: Tensor, classes: int) -> float | Tensor:
    if isinstance(gamma, int | float):
        require_range("gamma", gamma, 0.0)
        return float(gamma)
    return _vector("gamma", gamma, logits, classes)


def _weighing(
    logits: Tensor, alpha: Vector | None, class_weights: Vector | None, gamma: Vector
) -> Weighing:
    classes = logits.shape[-1]
    positive: float | Tensor = 1.0
    negative: float | Tensor = 1.0
    if isinstance(alpha, int | float):
        require_range("alpha", alpha, 0.0, 1.0)
        positive, negative = float(alpha), 1 - float(alpha)
    elif alpha is not None:
        positive = _vector("alpha", alpha, logits, classes)
        negative = 1 - positive
    if class_weights is not None:
        positive = positive * _vector("class_weights", class_weights, logits, classes)
    return Weighing(positive, negative, _gamma(gamma, logits, classes))


def _ignore_rows(ignore: Tensor | None, logits_K: Tensor) -> Tensor | None:
    """A mask [..] or [.., K] as [R, 1] or [R, K]."""
    if ignore is None:
        return None
    if ignore.dtype != torch.bool or ignore.shape not in (logits_K.shape, logits_K.shape[:-1]):
        raise ValueError(
            f"ignore: must be bool {list(logits_K.shape)} or {list(logits_K.shape[:-1])}, "
            f"found {ignore.dtype} {list(ignore.shape)}"
        )
    whole = ignore.shape == logits_K.shape
    rows, classes = logits_K.shape[:-1].numel(), logits_K.shape[-1]
    return ignore.reshape(rows, classes if whole else 1)


def _row_ignore(ignore_RX: Tensor | None) -> Tensor | None:
    return None if ignore_RX is None else ignore_RX.all(1)


def _reduce(loss: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.mean()
    raise ValueError(f"reduction: must be none, sum or mean, found {reduction!r}")


@dataclass(frozen=True, slots=True)
class FocalLoss:
    """Focal loss at one moment of training; a `ClassificationLoss`.

    >>> FocalLoss(alpha=None, gamma=0.0).sigmoid(torch.zeros(1, 1), torch.ones(1, 1))
    tensor([[0.6931]])
    """

    alpha: float | tuple[float, ...] | None
    gamma: float
    class_weights: tuple[float, ...] | None = None
    fused: bool = False

    def sigmoid(self, logits_K: Tensor, targets_K: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Logits [.., K] and targets [.., K] in [0, 1], or labels [..] with K the background, to a
        loss [.., K].
        """
        return sigmoid_focal_loss(
            logits_K,
            targets_K,
            alpha=self.alpha,
            gamma=self.gamma,
            class_weights=self.class_weights,
            ignore=ignore,
        )

    def softmax(self, logits_K: Tensor, labels: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Logits [.., K] and class indices [..] to a loss [..]; weights are read by label."""
        alpha: Vector | None = self.alpha
        if self.class_weights is not None:
            weights_K = _vector("class_weights", self.class_weights, logits_K, logits_K.shape[-1])
            alpha = weights_K if alpha is None else weights_K * torch.as_tensor(alpha).to(weights_K)
        return softmax_focal_loss(
            logits_K, labels, alpha=alpha, gamma=self.gamma, ignore=ignore, class_axis=-1
        )


@dataclass(frozen=True, slots=True)
class Focal:
    """Settings of focal loss; gamma and alpha are numbers or schedules over training.

    alpha: balance of positives and negatives in [0, 1], or one per class; {schedule: paper} follows
      gamma through the paper's best pairs; null weighs neither. In the softmax form a single alpha
      only rescales the learning rate.
    class_weights: one per class, or {schedule: class_frequency} to be filled by
      `with_class_counts`.

    >>> from losses.schedules import Linear
    >>> soft = Focal(alpha=PaperAlpha(), gamma=Linear(0.0, 2.0, ramp=(0.0, 0.5)))
    >>> soft.values(0.25)
    {'gamma': 1.0, 'alpha': 0.25}
    >>> soft.at(1.0)
    FocalLoss(alpha=0.25, gamma=2.0, class_weights=None, fused=False)
    """

    alpha: float | tuple[float, ...] | Schedule | PaperAlpha | None = 0.25
    gamma: float | Schedule = 2.0
    class_weights: tuple[float, ...] | ClassFrequency | None = None
    fused: bool = False

    def __post_init__(self) -> None:
        require_range("gamma", self.gamma, 0.0)
        if isinstance(self.alpha, tuple):
            for value in self.alpha:
                require_range("alpha", value, 0.0)
        elif self.alpha is not None and not isinstance(self.alpha, PaperAlpha):
            require_range("alpha", self.alpha, 0.0, 1.0)
        if isinstance(self.class_weights, tuple):
            for value in self.class_weights:
                require_range("class_weights", value, 0.0)

    def at(self, progress: float) -> FocalLoss:
        """The loss in force at `progress` in [0, 1]."""
        gamma = value_at(self.gamma, progress)
        if isinstance(self.class_weights, ClassFrequency):
            raise ValueError("class_weights: not known yet; call with_class_counts first")
        return FocalLoss(self._alpha_at(progress, gamma), gamma, self.class_weights, self.fused)

    def _alpha_at(self, progress: float, gamma: float) -> float | tuple[float, ...] | None:
        if self.alpha is None or isinstance(self.alpha, tuple):
            return self.alpha
        if isinstance(self.alpha, PaperAlpha):
            return self.alpha(gamma)
        return value_at(self.alpha, progress)

    def values(self, progress: float) -> dict[str, float]:
        """gamma, and alpha where it is one number, at `progress` in [0, 1]."""
        gamma = value_at(self.gamma, progress)
        alpha = self._alpha_at(progress, gamma)
        return {"gamma": gamma} | ({"alpha": alpha} if isinstance(alpha, float) else {})

    def with_class_counts(self, counts: tuple[int, ...]) -> "Focal":
        """The same settings with class weights computed from object counts, where they are asked
        for.
        """
        if not isinstance(self.class_weights, ClassFrequency):
            return self
        return replace(self, class_weights=self.class_weights.weights(counts))
