"""Weights of classes and of positives. Shapes: K classes.

Two different things are called alpha in practice. The paper's alpha in [0, 1] balances positives
(alpha) against negatives (1 - alpha) of the sigmoid form. A weight per class, often from the
inverse of its frequency, balances classes against each other. Here the first is `alpha`, the second
`class_weights`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from losses.schedules import interpolate

# Lin et al. 2017 (arXiv:1708.02002), table 1b: for each gamma the alpha of the best AP.
PAPER_GAMMAS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
PAPER_ALPHAS = (0.75, 0.75, 0.75, 0.50, 0.25, 0.25, 0.25)


@dataclass(frozen=True, slots=True)
class PaperAlpha:
    """alpha as a function of gamma: straight lines through the paper's best pairs (table 1b), flat
    beyond gamma 5.

    As gamma rises easy negatives fade by themselves, so positives need less weight.

    >>> [PaperAlpha()(gamma) for gamma in (0.0, 0.5, 0.75, 2.0)]
    [0.75, 0.5, 0.375, 0.25]
    """

    def __call__(self, gamma: float) -> float:
        """alpha that goes with `gamma` >= 0."""
        return interpolate(gamma, PAPER_GAMMAS, PAPER_ALPHAS)


Form = Literal["inverse", "inverse_unnormalised", "effective"]


def class_weights_from_counts(
    counts: Sequence[int], form: Form = "inverse", beta: float = 0.999
) -> tuple[float, ...]:
    """Object counts of each class to a weight of each class.

    inverse: proportional to 1 / count, normalised to mean 1, so that weights alone do not change
      the learning rate.
    inverse_unnormalised: sum(counts) / count, as often written; it multiplies the loss by about K
      or more.
    effective: proportional to (1 - beta) / (1 - beta**count), mean 1 (Cui et al. 2019,
      arXiv:1901.05555, eq. 2).
    A class without objects gets the weight of a class with one. Raises ValueError on negative or
    empty counts.

    >>> class_weights_from_counts([100, 300])
    (1.5, 0.5)
    >>> class_weights_from_counts([100, 300], "inverse_unnormalised")
    (4.0, 1.3333333333333333)
    """
    if not counts or min(counts) < 0 or sum(counts) == 0:
        raise ValueError(f"counts: must be >= 0 and not all 0, found {list(counts)}")
    seen = [max(1, count) for count in counts]
    if form == "inverse_unnormalised":
        return tuple(sum(counts) / count for count in seen)
    if form == "effective":
        if not 0 <= beta < 1:
            raise ValueError(f"beta: must be in [0, 1), found {beta}")
        log_beta = math.log(beta) if beta > 0 else -math.inf
        raw = [(1 - beta) / -math.expm1(count * log_beta) for count in seen]
    elif form == "inverse":
        raw = [1 / count for count in seen]
    else:
        raise ValueError(
            f"form: must be inverse, inverse_unnormalised or effective, found {form!r}"
        )
    mean = sum(raw) / len(raw)
    return tuple(weight / mean for weight in raw)


@dataclass(frozen=True, slots=True)
class ClassFrequency:
    """Class weights still to be computed from the training split's object counts.

    images: how many training images are counted, a seeded sample of that size; None counts all of
      them.
    The caller counts and then calls the loss's `with_class_counts`.

    >>> ClassFrequency(form="inverse").weights([1, 1, 2])
    (1.2, 1.2, 0.6)
    """

    form: Form = "inverse"
    beta: float = 0.999
    images: int | None = 1000

    def __post_init__(self) -> None:
        if not 0 <= self.beta < 1:
            raise ValueError(f"beta: must be in [0, 1), found {self.beta}")
        if self.images is not None and self.images < 1:
            raise ValueError(f"images: must be >= 1 or null, found {self.images}")

    def weights(self, counts: Sequence[int]) -> tuple[float, ...]:
        """Object counts of each class to a weight of each class."""
        return class_weights_from_counts(counts, self.form, self.beta)
