"""What seeds allow us to say: mean and SD, and the difference to a baseline with its interval.

The unit is a run (one seed). With one seed an arm has no spread: nothing is ever called better.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from experiments.evaluation import significance

CONFIDENCE = 0.95


class Summary(NamedTuple):
    """Mean and sample SD (ddof 1) over `seeds` runs; mean None without runs, SD None below two."""

    mean: float | None
    sd: float | None
    seeds: int


class Difference(NamedTuple):
    """Arm minus baseline in points, 95 % interval, Holm-adjusted p; None where seeds are few."""

    points: float | None
    low: float | None
    high: float | None
    p: float | None
    verdict: str


def summarise(values: Sequence[float]) -> Summary:
    """Mean and sample SD of `values`, summed exactly so that the order of runs cannot matter."""
    count = len(values)
    if count == 0:
        return Summary(None, None, 0)
    mean = math.fsum(values) / count
    if count == 1:
        return Summary(mean, None, 1)
    return Summary(mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1)), count)


def compare(arms: Sequence[Sequence[float]], baseline: Sequence[float]) -> list[Difference]:
    """Each arm's difference to the baseline by Welch's t test, p adjusted by Holm over the arms.

    The intervals are not adjusted: each has its own 95 %.
    """
    raw = [_welch(values, baseline) for values in arms]
    adjusted = holm_of_known([p for *_, p in raw])
    return [
        Difference(points, low, high, p, _verdict(points, p))
        for (points, low, high, _), p in zip(raw, adjusted, strict=True)
    ]


def holm_of_known(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's (1979) adjustment over the known p values; unknown ones stay None and do not count."""
    known = iter(significance.holm([p for p in p_values if p is not None]))
    return [None if p is None else next(known) for p in p_values]


def _welch(
    values: Sequence[float], baseline: Sequence[float]
) -> tuple[float | None, float | None, float | None, float | None]:
    """Difference, interval and p; the last three None where no arm has any spread.

    Equal values at every seed are more likely one run copied than a method without noise.
    """
    one, two = summarise(values), summarise(baseline)
    if one.mean is None or two.mean is None:
        return None, None, None, None
    points = one.mean - two.mean
    found, p = significance.welch(baseline, values, CONFIDENCE)
    if found is None or not (one.sd or two.sd):
        return points, None, None, None
    return points, found.low, found.high, p


def _verdict(points: float | None, p: float | None) -> str:
    if points is None:
        return "not measured"
    if p is None:
        return "too few seeds"
    if p >= 1 - CONFIDENCE:
        return "not shown"
    return "better" if points > 0 else "worse"
