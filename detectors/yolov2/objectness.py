"""Focal losses on objectness, where targets are overlaps. Shapes: R predictions of a batch."""

from dataclasses import replace

import torch
from torch import Tensor

from detectors.errors import DetectorError
from losses.base import ClassificationLoss
from losses.focal import FocalLoss
from losses.gradient_matching import ScaledLoss
from losses.quality import QualityFocalLoss, quality_focal_loss


def binary(loss: ClassificationLoss) -> ClassificationLoss:
    """`loss` for a single output: weights that belong to object classes do not apply to
    objectness.
    """
    if isinstance(loss, ScaledLoss):
        return replace(loss, loss=binary(loss.loss))
    if not isinstance(loss, FocalLoss):
        return loss
    alpha = None if isinstance(loss.alpha, tuple) else loss.alpha
    return replace(loss, alpha=alpha, class_weights=None)


def focal_objectness(logits_R: Tensor, targets_R: Tensor, loss: ClassificationLoss) -> Tensor:
    """The configured loss in its sigmoid form, element by element: [R]."""
    return binary(loss).sigmoid(logits_R[:, None], targets_R[:, None])[:, 0]


def quality_objectness(logits_R: Tensor, targets_R: Tensor, loss: ClassificationLoss) -> Tensor:
    """Quality focal loss (Li et al. 2020, arXiv:2006.04388) [R] with the gamma and alpha of `loss`.

    At targets 0 and 1 it is the focal loss itself. |t - p|**gamma has an unbounded slope at p = t
    for 0 < gamma < 1, which a soft-gamma ramp crosses; there soft targets take the mean of gamma 0
    and 1 weighed by gamma, whose slope is bounded and which meets the formula at both ends.
    """
    loss = binary(loss)
    if isinstance(loss, ScaledLoss):
        return quality_objectness(logits_R, targets_R, loss.loss) * loss.scale
    if isinstance(loss, QualityFocalLoss):
        return quality_focal_loss(logits_R, targets_R, beta=loss.beta)
    if not isinstance(loss, FocalLoss):
        raise DetectorError(
            f"sites: objectness_quality needs a loss with a gamma, found {type(loss).__name__}"
        )
    hard_R = (targets_R == 0) | (targets_R == 1)
    focal_R = focal_objectness(logits_R, targets_R.round(), loss)
    soft_R = _quality(logits_R, targets_R, loss.gamma)
    if isinstance(loss.alpha, float):
        soft_R = soft_R * (loss.alpha * targets_R + (1 - loss.alpha) * (1 - targets_R))
    return torch.where(hard_R, focal_R, soft_R)


def _quality(logits_R: Tensor, targets_R: Tensor, gamma: float) -> Tensor:
    if not 0 < gamma < 1:
        return quality_focal_loss(logits_R, targets_R, beta=gamma)
    plain_R = quality_focal_loss(logits_R, targets_R, beta=0.0)
    return (1 - gamma) * plain_R + gamma * quality_focal_loss(logits_R, targets_R, beta=1.0)
