"""Where the loss is: Figure 4 of the focal-loss paper from one checkpoint, for any gamma.

Letters: A anchors (or cells) of one kind, foreground or background; p_t their probability of the
right answer, as the checkpoint gives it. Source: Lin et al. 2017, arXiv:1708.02002, section 5.1:
losses are sorted from the smallest to the largest, normalised to sum to 1, and summed up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.evaluation.tables import EvaluationError, Floats

LEAST = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True)
class LossCurve:
    """Share of the loss (0..1) in the share of anchors (0..1) that have the smallest losses.

    half_share is the share of anchors, hardest first, that makes up half of the loss: the smaller
    it is, the more the loss is concentrated on few.
    """

    gamma: float
    share_of_anchors: Floats
    share_of_loss: Floats
    half_share: float


@dataclass(frozen=True, slots=True)
class GradientShare:
    """Who pulls at the weights: sums over anchors of the size of the loss's slope at the logit."""

    gamma: float
    foreground: float
    background: float

    @property
    def of_foreground(self) -> float:
        """Foreground's share of both, NaN where there is none at all."""
        total = self.foreground + self.background
        return self.foreground / total if total else float("nan")


def focal_losses(p_t_A: Floats, gamma: float) -> Floats:
    """(1 - p_t)^gamma * -log p_t in nats, without alpha, which scales all of one kind alike."""
    p_A = _checked(p_t_A, gamma)
    loss_A: Floats = -np.log(np.maximum(p_A, LEAST)) * (1 - p_A) ** gamma
    return loss_A


def focal_slopes(p_t_A: Floats, gamma: float) -> Floats:
    """Size of the loss's slope at the logit: (1 - p)^gamma * (gamma * p * -log p + 1 - p)."""
    p_A = _checked(p_t_A, gamma)
    log_A = -np.log(np.maximum(p_A, LEAST))
    slope_A: Floats = (1 - p_A) ** gamma * (gamma * p_A * log_A + 1 - p_A)
    return slope_A


def loss_curve(
    p_t_A: Floats, gamma: float, *, count_A: Floats | None = None, points: int = 201
) -> LossCurve:
    """The cumulative loss of one kind of anchors at `points` shares of them.

    `count_A` says how many anchors each probability stands for, None one.
    """
    loss_A = focal_losses(p_t_A, gamma)
    counts_A = np.ones(len(loss_A)) if count_A is None else np.asarray(count_A, np.float64)
    order_A = np.argsort(loss_A, kind="stable")
    loss_A, counts_A = (loss_A * counts_A)[order_A], counts_A[order_A]
    total = float(loss_A.sum())
    if total == 0:
        raise EvaluationError("p_t: every answer is certain and right; there is no loss to share")
    summed, counted = np.r_[0.0, np.cumsum(loss_A) / total], np.r_[0.0, np.cumsum(counts_A)]
    summed[-1], counted = 1.0, counted / counted[-1]
    shares = np.linspace(0, 1, points)
    share_of_loss = np.interp(shares, counted, summed)
    below_half = float(np.interp(0.5, summed, counted))
    return LossCurve(gamma, shares, share_of_loss, 1 - below_half)


def loss_curves(
    p_t_A: Floats, gammas: Sequence[float], *, count_A: Floats | None = None, points: int = 201
) -> list[LossCurve]:
    """The curves of several gammas, all from the same probabilities."""
    return [loss_curve(p_t_A, gamma, count_A=count_A, points=points) for gamma in gammas]


def gradient_share(
    foreground_A: Floats, background_A: Floats, gamma: float, *, alpha: float | None = None
) -> GradientShare:
    """Slopes summed over each kind; alpha weighs foreground, 1 - alpha background, None none."""
    weights = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    sums = [float(focal_slopes(p_A, gamma).sum()) for p_A in (foreground_A, background_A)]
    return GradientShare(gamma, weights[0] * sums[0], weights[1] * sums[1])


def _checked(p_t_A: Floats, gamma: float) -> Floats:
    p_A = np.asarray(p_t_A, dtype=np.float64)
    if gamma < 0:
        raise EvaluationError(f"gamma: must be >= 0, found {gamma}")
    if len(p_A) == 0:
        raise EvaluationError("p_t: there is not one anchor of this kind")
    if not ((p_A >= 0) & (p_A <= 1)).all():
        raise EvaluationError(f"p_t: must be in [0, 1], found {p_A.min()}..{p_A.max()}")
    return p_A
