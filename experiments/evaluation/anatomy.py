"""Where the loss is: Figure 4 of the focal-loss paper from one checkpoint, for any gamma.

Letters: A anchors (or cells) of one kind, foreground or background; p_t their probability of the
right answer, as the checkpoint gives it. Source: Lin et al. 2017, arXiv:1708.02002, section 5.1:
losses are sorted from the smallest to the largest, normalised to sum to 1, and summed up.

The anatomy of one checkpoint as a small file beside its record: `anatomy.json`.

A anchors (or other places where a detector says yes or no) are counted by their signed logit, which
is positive where the answer is right, in BINS bins: millions of answers in a few kilobytes, and
every gamma from the same counts. A bin is 1/64 wide, so the loss of its middle is at most
(1 + gamma) / 128 from that of any answer in it, and their sum far closer.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.evaluation.tables import EvaluationError, Floats, Ints
from experiments.record.files import write_text

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


FORMAT = 1
ANATOMY_FILE = "anatomy.json"
LARGEST, PER_UNIT = 32, 64  # logits beyond the largest count as it: their answers are certain
BINS = 2 * LARGEST * PER_UNIT
POINTS = 101  # of a curve in the file
KINDS = ("foreground", "background")
DIGITS = 6


@dataclass(frozen=True, slots=True)
class Shares:
    """One gamma's curves at POINTS equal shares of each kind, and its gradient.

    half_share: of each kind, the share of answers, hardest first, that makes up half of its loss.
    gradient: of each kind, the summed size of the slopes by level, in the order of `levels`,
    weighed as the loss weighs kinds.
    """

    gamma: float
    share_of_loss: dict[str, tuple[float, ...]]
    half_share: dict[str, float]
    gradient: dict[str, tuple[float, ...]]

    def of_gradient(self, kind: str, level: int | None = None) -> float:
        """A kind's share of the whole gradient, 0..1, at one level or at all; NaN without any."""
        total = sum(sum(values) for values in self.gradient.values())
        mine = self.gradient[kind]
        return (sum(mine) if level is None else mine[level]) / total if total else float("nan")


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What `anatomy` found in one checkpoint."""

    of: str  # what answers were counted, in words
    weights: tuple[float, float]  # of foreground and background in the gradient
    levels: tuple[str, ...]
    counts: dict[str, int]
    shares: tuple[Shares, ...]
    checkpoint: str
    checkpoint_sha256: str
    config_hash: str
    seed: int
    split: str
    images: int


class LogitCounts:
    """Answers of each kind and level by signed logit: int64 [levels, BINS] a kind."""

    def __init__(self, levels: Sequence[str]) -> None:
        self.levels = tuple(levels)
        self.by_kind: dict[str, Ints] = {
            kind: np.zeros((len(self.levels), BINS), np.int64) for kind in KINDS
        }

    def add(self, kind: str, level: int, counts: Ints) -> None:
        """Add the counts of BINS bins, as `bin_of` numbers them."""
        self.by_kind[kind][level] += counts

    def of(self, kind: str, level: int | None = None) -> tuple[Floats, Floats]:
        """Probabilities p_t of the right answer and how often they occur, empty bins left out."""
        table = self.by_kind[kind]
        count = table.sum(axis=0) if level is None else table[level]
        kept = count > 0
        return _middles()[kept], count[kept].astype(np.float64)


def bin_of(signed_logits: Floats) -> Ints:
    """The bin of each logit, int64 of the same shape."""
    place = np.floor((signed_logits + LARGEST) * PER_UNIT)
    found: Ints = np.clip(place, 0, BINS - 1).astype(np.int64)
    return found


def shares_of(
    counts: LogitCounts, gammas: Sequence[float], weights: tuple[float, float]
) -> tuple[Shares, ...]:
    """Curves and gradients of every gamma from one checkpoint's counts.

    Raises EvaluationError where there is not one answer of a kind.
    """
    curves = {}
    for kind in KINDS:
        p_t_A, count_A = counts.of(kind)
        if not len(p_t_A):
            raise EvaluationError(f"anatomy: not one answer about {kind} in these images")
        curves[kind] = loss_curves(p_t_A, gammas, count_A=count_A, points=POINTS)
    return tuple(
        Shares(
            gamma,
            {kind: _rounded(curves[kind][place].share_of_loss) for kind in KINDS},
            {kind: round(curves[kind][place].half_share, DIGITS) for kind in KINDS},
            {
                kind: _slopes(counts, kind, gamma, weight)
                for kind, weight in zip(KINDS, weights, strict=True)
            },
        )
        for place, gamma in enumerate(gammas)
    )


def write_anatomy(folder: Path, anatomy: Anatomy) -> Path:
    """Write ANATOMY_FILE into `folder`, whole or not at all; returns its path."""
    values = {"format": FORMAT, **dataclasses.asdict(anatomy)}
    path = folder / ANATOMY_FILE
    write_text(path, json.dumps(values, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    return path


def read_anatomy(folder: Path) -> Anatomy | None:
    """The anatomy in `folder`, None where there is no such file.

    Raises EvaluationError for a file that is none of ours.
    """
    path = folder / ANATOMY_FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise ValueError(f"format is not {FORMAT}")
        return _anatomy(values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{path}: not an anatomy ({type(error).__name__}: {error})") from None


def _anatomy(values: Mapping[str, Any]) -> Anatomy:
    shares = [
        Shares(
            float(one["gamma"]),
            {kind: tuple(map(float, one["share_of_loss"][kind])) for kind in KINDS},
            {kind: float(one["half_share"][kind]) for kind in KINDS},
            {kind: tuple(map(float, one["gradient"][kind])) for kind in KINDS},
        )
        for one in values["shares"]
    ]
    foreground, background = values["weights"]
    read: dict[str, Any] = {
        "shares": tuple(shares),
        "levels": tuple(map(str, values["levels"])),
        "counts": {kind: int(values["counts"][kind]) for kind in KINDS},
        "weights": (float(foreground), float(background)),
    }
    anatomy = Anatomy(**{**values, **read})
    if any(len(row) != POINTS for one in shares for row in one.share_of_loss.values()):
        raise ValueError(f"a curve has not {POINTS} points")
    return anatomy


def _slopes(counts: LogitCounts, kind: str, gamma: float, weight: float) -> tuple[float, ...]:
    found = []
    for level in range(len(counts.levels)):
        p_t_A, count_A = counts.of(kind, level)
        total = float((focal_slopes(p_t_A, gamma) * count_A).sum()) if len(p_t_A) else 0.0
        found.append(round(weight * total, DIGITS))
    return tuple(found)


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(values.round(DIGITS).tolist())


def _middles() -> Floats:
    logits = (np.arange(BINS) + 0.5) / PER_UNIT - LARGEST
    middles: Floats = 1.0 / (1.0 + np.exp(-logits))
    return middles
