"""What seeds allow us to say: mean and SD, the difference to a baseline with its interval,
Holm's correction.

The unit is a run (one seed). With one seed an arm has no spread, so nothing is ever called
better.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy import stats

CONFIDENCE = 0.95


class Summary(NamedTuple):
    """Mean and sample SD (ddof 1) over `seeds` runs; mean None without runs, SD None below two."""

    mean: float | None
    sd: float | None
    seeds: int


class Difference(NamedTuple):
    """Arm minus baseline in points, with its 95 % interval and Holm-adjusted p; None where
    seeds are too few.
    """

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
    """Each arm's difference to the baseline by Welch's t test, p adjusted by Holm over all arms
    given.

    The intervals are not adjusted: each has its own 95 %. Arms may differ in spread and in
    seeds (Welch 1947).
    """
    raw = [_welch(values, baseline) for values in arms]
    adjusted = holm([p for *_, p in raw])
    return [
        Difference(points, low, high, p, _verdict(points, p))
        for (points, low, high, _), p in zip(raw, adjusted, strict=True)
    ]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's (1979) step-down adjustment over the known p values; unknown ones stay None and do
    not count.
    """
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        adjusted[index] = highest
    return adjusted


def seeds_needed(points: float, sd: float, *, power: float = 0.8) -> int | None:
    """Seeds an arm needed to see a true difference of `points` with `power`, by a two-sided
    two-sample t test.

    None where more than 200 would be needed, or the difference is none.
    """
    if points == 0 or sd <= 0:
        return None
    for seeds in range(2, 201):
        freedom = 2 * seeds - 2
        critical = stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
        if stats.nct.sf(critical, freedom, abs(points) / (sd * math.sqrt(2 / seeds))) >= power:
            return seeds
    return None


def _welch(
    values: Sequence[float], baseline: Sequence[float]
) -> tuple[float | None, float | None, float | None, float | None]:
    one, two = summarise(values), summarise(baseline)
    if one.mean is None or two.mean is None:
        return None, None, None, None
    points = one.mean - two.mean
    if one.sd is None or two.sd is None or one.sd + two.sd == 0:
        return points, None, None, None
    parts = (one.sd**2 / one.seeds, two.sd**2 / two.seeds)
    error = math.sqrt(sum(parts))
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (one.seeds - 1) + parts[1] ** 2 / (two.seeds - 1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return points, points - half, points + half, float(2 * stats.t.sf(abs(points) / error, freedom))


def _verdict(points: float | None, p: float | None) -> str:
    if points is None:
        return "not measured"
    if p is None:
        return "too few seeds"
    if p >= 1 - CONFIDENCE:
        return "not shown"
    return "better" if points > 0 else "worse"
