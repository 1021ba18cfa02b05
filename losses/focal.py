"""Focal loss (Lin et al. 2017, arXiv:1708.02002), sigmoid and softmax, in nats.

Shapes: K classes, `..` any leading axes. gamma >= 0 lowers the weight of what is already right;
gamma 0 is cross-entropy. Half-precision logits are computed, and the loss returned, in float32; the
gradient has the dtype of the logits. Logits up to +-200 at any gamma give finite values and slopes.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal
from warnings import warn

import torch
from torch import Tensor

from losses.alpha import ClassFrequency, PaperAlpha
from losses.checks import require_floating, require_labels, require_range
from losses.kernels.composed import composed_sigmoid_focal, composed_softmax_focal
from losses.kernels.pieces import compute_dtype
from losses.kernels.sigmoid import SigmoidFocal, one_hot
from losses.kernels.softmax import SoftmaxFocal
from losses.parameters import Vector, class_vector, exponent, learns, weighing_of
from losses.schedules import Schedule, value_at

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
    alpha: weight of positives, 1 - alpha of negatives, in [0, 1]; one number or [K]; None for 1.
    gamma: one number, a tensor of one element, or [K].
    class_weights: further weight of the positives of each class [K].
    ignore: bool [..] or [.., K]; loss and gradient are 0 there, whatever the logits.
    reduction: "sum" never holds the unreduced loss; "mean" divides by all elements, ignored or not.
    fused: use compiled kernels; the first call of a kind takes seconds (`kernels/compiled.py`).
    Parameters that require a gradient get one, and any torch.compile traces through, by a slower
    route. Raises ValueError on shapes, dtypes or labels that do not fit.

    >>> loss = sigmoid_focal_loss(torch.zeros(1, 2), torch.tensor([1]), alpha=0.25, gamma=2.0)
    >>> [round(value, 4) for value in loss[0].tolist()]  # 0.75 * 0.25 * ln 2, 0.25 * 0.25 * ln 2
    [0.13, 0.0433]
    """
    require_floating("logits", logits_K)
    _require_reduction(reduction)
    rows, classes = logits_K.shape[:-1].numel(), logits_K.shape[-1]
    logits_RK = logits_K.reshape(rows, classes)
    ignore_RX = _ignore_rows(ignore, logits_K)
    targets_RX = _target_rows(targets, logits_K, ignore_RX)
    weighing = weighing_of(logits_K, alpha, class_weights, gamma)
    if torch.compiler.is_compiling() or learns(alpha, gamma, class_weights):
        x_RK = logits_RK.to(compute_dtype(logits_RK.dtype))
        t_RK = targets_RX if targets_RX.ndim == 2 else one_hot(targets_RX, classes, x_RK.dtype)
        if ignore_RX is not None:
            x_RK = x_RK.masked_fill(ignore_RX, 0)
        loss = composed_sigmoid_focal(x_RK, t_RK.to(x_RK.dtype), weighing)
        loss = loss if ignore_RX is None else loss.masked_fill(ignore_RX, 0)
    else:
        summed = reduction != "none"
        loss = SigmoidFocal.apply(logits_RK, targets_RX, ignore_RX, weighing, summed, fused)
    if reduction == "none":
        return loss.reshape(logits_K.shape)
    total = loss.sum()
    return total if reduction == "sum" else total / logits_K.numel()


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
    fused: bool = False,
) -> Tensor:
    """Softmax focal loss: logits [N, K] or dense [N, K, d1, ..] and labels [N, d1, ..] in 0..K-1.

    The loss has the labels' shape. class_axis: where the logits hold the classes, -1 for [.., K].
    alpha: weight of each class [K]. One number only rescales the learning rate, and is warned of.
    gamma: one number, a tensor of one element, or [K], read by label.
    ignore, ignore_index: bool of the labels' shape, and a label to ignore: loss and gradient are 0.
    reduction: "mean" divides by the number of labels not ignored, not by the sum of their weights.
    fused: use compiled kernels; the first call of a kind takes seconds (`kernels/compiled.py`).
    Raises ValueError on shapes, dtypes or labels that do not fit.

    >>> loss = softmax_focal_loss(torch.zeros(1, 2), torch.tensor([0]), gamma=2.0)
    >>> round(loss.item(), 4)  # 0.5**2 * ln 2
    0.1733
    """
    require_floating("logits", logits)
    _require_reduction(reduction)
    axis = class_axis % logits.ndim
    classes = logits.shape[axis]
    skip = _skipped_labels(labels, logits, axis, ignore, ignore_index)
    labels_kept = labels.masked_fill(skip, 0).long()
    weight_K = _row_weights(alpha, logits, classes)
    power = exponent(gamma, logits, classes)
    if torch.compiler.is_compiling() or learns(alpha, gamma):
        x_K = logits.to(compute_dtype(logits.dtype)).movedim(axis, -1)
        x_K = x_K.masked_fill(skip[..., None], 0)
        loss = composed_softmax_focal(x_K, labels_kept, weight_K, power).masked_fill(skip, 0)
    else:
        rows, positions = logits.shape[:axis].numel(), logits.shape[axis + 1 :].numel()
        loss = SoftmaxFocal.apply(
            logits.reshape(rows, classes, positions),
            labels_kept.reshape(rows, 1, positions),
            skip.reshape(rows, 1, positions) if _may_hold(skip) else None,
            weight_K,
            power,
            fused,
        ).reshape(labels.shape)
    return _reduced(loss, skip, reduction)


def _reduced(loss: Tensor, skip: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / (~skip).sum().clamp(min=1)


def _require_reduction(reduction: Reduction) -> None:
    if reduction not in ("none", "sum", "mean"):
        raise ValueError(f"reduction: must be none, sum or mean, found {reduction!r}")


def _target_rows(targets: Tensor, logits_K: Tensor, ignore_RX: Tensor | None) -> Tensor:
    """Targets [R, K], or labels [R]; told apart by their shape."""
    rows, classes = logits_K.shape[:-1].numel(), logits_K.shape[-1]
    if targets.shape == logits_K.shape:
        return targets.reshape(rows, classes)
    if targets.shape != logits_K.shape[:-1]:
        raise ValueError(
            f"targets: must be {list(logits_K.shape)} or {list(logits_K.shape[:-1])} "
            f"like the logits, found {list(targets.shape)}"
        )
    labels_R = targets.reshape(rows)
    ignore_R = None if ignore_RX is None else ignore_RX.all(1)
    require_labels("targets", labels_R, classes, ignore_R)
    return labels_R.clamp(0, classes).long()


def _ignore_rows(ignore: Tensor | None, logits_K: Tensor) -> Tensor | None:
    """A mask [..] or [.., K] as [R, 1] or [R, K]."""
    if ignore is None:
        return None
    if ignore.dtype != torch.bool or ignore.shape not in (logits_K.shape, logits_K.shape[:-1]):
        raise ValueError(
            f"ignore: must be bool {list(logits_K.shape)} or {list(logits_K.shape[:-1])}, "
            f"found {ignore.dtype} {list(ignore.shape)}"
        )
    rows, classes = logits_K.shape[:-1].numel(), logits_K.shape[-1]
    return ignore.reshape(rows, classes if ignore.shape == logits_K.shape else 1)


def _skipped_labels(
    labels: Tensor, logits: Tensor, axis: int, ignore: Tensor | None, ignore_index: int
) -> Tensor:
    """Which labels are ignored; the others are checked."""
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
    require_labels("labels", labels, logits.shape[axis] - 1, skip)
    return skip


def _may_hold(mask: Tensor) -> bool:
    """Whether anything is masked; not read on an accelerator, where it would stop the queue."""
    return mask.device.type != "cpu" or bool(mask.any())


def _row_weights(alpha: Vector | None, logits: Tensor, classes: int) -> Tensor | None:
    if alpha is None:
        return None
    _warn_of_one(alpha)
    return class_vector("alpha", alpha, logits, classes).expand(classes)


def _warn_of_one(alpha: Vector | None) -> None:
    if isinstance(alpha, int | float):
        warn(
            "alpha: one number in the softmax form scales the whole loss and so only the "
            "learning rate; give one per class, or none",
            stacklevel=4,
        )


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

    takes_bool: ClassVar[bool] = True

    def sigmoid(self, logits_K: Tensor, targets_K: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Logits and targets [.., K] in [0, 1], or labels [..] in 0..K, to a loss [.., K]."""
        return sigmoid_focal_loss(
            logits_K,
            targets_K,
            alpha=self.alpha,
            gamma=self.gamma,
            class_weights=self.class_weights,
            ignore=ignore,
            fused=self.fused,
        )

    def softmax(self, logits_K: Tensor, labels: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Logits [.., K] and class indices [..] to a loss [..]; weights are read by label."""
        alpha: Vector | None = self.alpha
        if self.class_weights is not None:
            _warn_of_one(alpha)
            classes = logits_K.shape[-1]
            weights_K = class_vector("class_weights", self.class_weights, logits_K, classes)
            alpha = 1.0 if alpha is None else alpha
            alpha = weights_K * class_vector("alpha", alpha, logits_K, classes)
        return softmax_focal_loss(
            logits_K,
            labels,
            alpha=alpha,
            gamma=self.gamma,
            ignore=ignore,
            class_axis=-1,
            fused=self.fused,
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
