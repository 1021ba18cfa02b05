"""What every loss offers and returns. Shapes: N rows, K classes, B images; `..` any leading axes.

RULE of this room: tensors in, tensors out; it imports torch and nothing of ours.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class ClassificationLoss(Protocol):
    """A classification loss whose parameters are plain values, fixed at one moment of training.

    Both forms return the loss in nats, unreduced: dividing and summing is the caller's, in
    one place (`losses/normalise.py`). Half-precision logits give a float32 loss.
    """

    def sigmoid(self, logits_K: Tensor, targets_K: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Element-wise form: logits [.., K] and targets [.., K] in [0, 1] give a loss [.., K].

        `ignore` (bool, [..] or [.., K]) marks what is neither rewarded nor punished: loss and
        gradient are 0. A loss that says `takes_bool = True` is given hard targets as bool on a GPU,
        which saves it a look at them, and a quarter of the memory is needed.
        """
        ...

    def softmax(self, logits_K: Tensor, labels: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Categorical form: logits [.., K] and class indices [..] (int64) give a loss [..].

        `ignore` (bool, [..]) as above; the label of an ignored row may be any number.
        """
        ...


class ScheduledLoss(Protocol):
    """A loss as configured: gamma or alpha may be schedules over training."""

    def at(self, progress: float) -> ClassificationLoss:
        """The loss in force at `progress` in [0, 1] of training; a pure function of progress."""
        ...

    def values(self, progress: float) -> dict[str, float]:
        """The scalar parameters in force, by name (`gamma`, `alpha`), for log and record."""
        ...


@dataclass(frozen=True, slots=True)
class LossTerms:
    """The terms of one batch, each a normalised scalar tensor that is summed for the step.

    `foreground` counts positives in the batch, for the log only.
    """

    classification: Tensor
    box: Tensor
    objectness: Tensor | None
    foreground: Tensor

    @property
    def total(self) -> Tensor:
        """The scalar to differentiate."""
        total = self.classification + self.box
        return total if self.objectness is None else total + self.objectness
