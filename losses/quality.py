"""Quality focal loss for soft targets such as the IoU of a box (Li et al. 2020, arXiv:2006.04388,
eq. 3).

Shapes: K classes, `..` any leading axes. The loss is |t - p|**beta times the cross-entropy of p
  with t. At hard targets it
is focal loss with gamma = beta; at soft ones its weight vanishes at p = t, where focal loss would
still push.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from losses.checks import require_floating
from losses.focal import FocalLoss
from losses.kernels.pieces import compute_dtype
from losses.schedules import Schedule, extremes_of, value_at


def quality_focal_loss(
    logits_K: Tensor, targets_K: Tensor, *, beta: float = 2.0, ignore: Tensor | None = None
) -> Tensor:
    """Logits [.., K] and targets [.., K] in [0, 1] to a loss [.., K] in nats.

    beta: 0, or >= 1: between them the slope of |t - p|**beta has no bound at p = t, so training
      would diverge there.
    ignore: bool [..] or [.., K]; loss and gradient are 0 there. Raises ValueError on other beta and
      on integer logits.

    >>> import torch
    >>> quality_focal_loss(torch.zeros(2), torch.tensor([0.5, 1.0]), beta=2.0)
    tensor([0.0000, 0.1733])
    """
    require_floating("logits", logits_K)
    _require_beta(beta)
    dtype = compute_dtype(logits_K.dtype)
    logits_K, targets_K = logits_K.to(dtype), targets_K.to(dtype)
    if ignore is not None:
        ignore = ignore if ignore.shape == logits_K.shape else ignore[..., None]
        logits_K = logits_K.masked_fill(ignore, 0)  # a NaN here must not reach the gradient
    loss_K = F.binary_cross_entropy_with_logits(logits_K, targets_K, reduction="none")
    if beta != 0:
        loss_K = loss_K * (targets_K - logits_K.sigmoid()).abs().pow(beta)
    return loss_K if ignore is None else loss_K.masked_fill(ignore, 0)


def _require_beta(beta: float | Schedule) -> None:
    least, greatest = extremes_of(beta)
    if not (least >= 1 or least == greatest == 0) or greatest == float("inf"):
        found = f"{least:g}" if least == greatest else f"a schedule from {least:g} to {greatest:g}"
        raise ValueError(f"beta: must be 0 or >= 1, found {found}")


@dataclass(frozen=True, slots=True)
class QualityFocalLoss:
    """Quality focal loss at one moment of training; a `ClassificationLoss`."""

    beta: float

    takes_bool: ClassVar[bool] = True

    def sigmoid(self, logits_K: Tensor, targets_K: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Logits [.., K] and targets [.., K] in [0, 1] to a loss [.., K]."""
        return quality_focal_loss(logits_K, targets_K, beta=self.beta, ignore=ignore)

    def softmax(self, logits_K: Tensor, labels: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Logits [.., K] and hard labels [..] to a loss [..]: softmax focal loss with gamma =
        beta.
        """
        return FocalLoss(None, self.beta).softmax(logits_K, labels, ignore)


@dataclass(frozen=True, slots=True)
class QualityFocal:
    """Settings of quality focal loss; beta is 0, or >= 1, or a schedule that stays >= 1.

    >>> QualityFocal(beta=0.5)
    Traceback (most recent call last):
    ...
    ValueError: beta: must be 0 or >= 1, found 0.5
    """

    beta: float | Schedule = 2.0

    def __post_init__(self) -> None:
        _require_beta(self.beta)

    def at(self, progress: float) -> QualityFocalLoss:
        """The loss in force at `progress` in [0, 1]."""
        return QualityFocalLoss(value_at(self.beta, progress))

    def values(self, progress: float) -> dict[str, float]:
        """beta at `progress` in [0, 1]."""
        return {"beta": value_at(self.beta, progress)}
