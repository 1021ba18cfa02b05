"""Arms of a comparison scaled to equal gradients, to tell "gamma helped" from "the rate changed".

Focal loss at gamma 2 keeps 0.60 of the cross-entropy gradient at p = 0.5 and 0.03 at p = 0.9, so an
arm with another gamma also takes steps of another length. Scaled so that its gradient has the norm
of the cross-entropy arm's at step 0, the two start with equal steps.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from losses.base import ClassificationLoss, ScheduledLoss
from losses.normalise import over_ranks, rank_count


def gradient_norm(loss: Tensor, parameters: Iterable[Tensor]) -> Tensor:
    """Euclidean norm of d loss / d parameters over all of them together, a scalar.

    Keeps the graph and leaves every `.grad` alone. Parameters that the loss does not reach count 0.
    With several ranks it is the norm of their mean gradient, that of the batch they share: all of
    them must call.

    >>> weight = torch.tensor([3.0, 4.0], requires_grad=True)
    >>> gradient_norm(0.5 * (weight * weight).sum(), [weight])
    tensor(5.)
    """
    wanted = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
    if rank_count() > 1:
        gradients = tuple(
            _mean(torch.zeros_like(parameter) if gradient is None else gradient)
            for parameter, gradient in zip(wanted, gradients, strict=True)
        )
    squares = [gradient.float().square().sum() for gradient in gradients if gradient is not None]
    return torch.stack(squares).sum().sqrt() if squares else loss.new_zeros(())


def _mean(gradient: Tensor) -> Tensor:
    total, ranks = over_ranks(gradient.contiguous())
    return total / ranks


def matching_scale(loss: Tensor, reference: Tensor, parameters: Iterable[Tensor]) -> float:
    """What to multiply `loss` by so that its gradient has the norm of the reference's.

    Both are scalars of the same outputs of the same network on the same batch, normalised alike.
    Raises ValueError where either gradient is zero or not finite.

    >>> weight = torch.tensor([3.0, 4.0], requires_grad=True)
    >>> round(matching_scale((weight * weight).sum(), weight.sum() * 10, [weight]), 4)
    1.4142
    """
    wanted = list(parameters)
    norm, goal = (float(gradient_norm(value, wanted)) for value in (loss, reference))
    for name, value in (("loss", norm), ("reference", goal)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}: its gradient norm must be finite and > 0, found {value}")
    return goal / norm


@dataclass(frozen=True, slots=True)
class ScaledLoss:
    """A classification loss times a constant; itself a `ClassificationLoss`."""

    loss: ClassificationLoss
    scale: float

    @property
    def takes_bool(self) -> bool:
        """Whether the loss that is scaled does."""
        return bool(getattr(self.loss, "takes_bool", False))

    def sigmoid(self, logits_K: Tensor, targets_K: Tensor, ignore: Tensor | None = None) -> Tensor:
        """As `loss.sigmoid`, scaled."""
        return self.loss.sigmoid(logits_K, targets_K, ignore) * self.scale

    def softmax(self, logits_K: Tensor, labels: Tensor, ignore: Tensor | None = None) -> Tensor:
        """As `loss.softmax`, scaled."""
        return self.loss.softmax(logits_K, labels, ignore) * self.scale


@dataclass(frozen=True, slots=True)
class Scaled:
    """A configured loss times a constant found at step 0; itself a `ScheduledLoss`.

    >>> from losses.cross_entropy import CrossEntropy
    >>> Scaled(CrossEntropy(), 2.0).at(0.5).sigmoid(torch.zeros(1, 1), torch.ones(1, 1))
    tensor([[1.3863]])
    """

    loss: ScheduledLoss
    scale: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale: must be finite and > 0, found {self.scale}")

    def at(self, progress: float) -> ScaledLoss:
        """The loss in force at `progress` in [0, 1]."""
        return ScaledLoss(self.loss.at(progress), self.scale)

    def values(self, progress: float) -> dict[str, float]:
        """The loss's own values and the scale."""
        return {**self.loss.values(progress), "scale": self.scale}
