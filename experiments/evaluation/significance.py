"""The referee: is one arm better than another? Statistics over seeds, and the verdict in words.

The one place that decides: `compare`, reports, README's block, `serve` and the W&B mirror ask it.

Values are one number a seed, such as mAP in percent. n, m seeds of arms A and B, not paired: equal
seeds of two arms share their data order at most, and a pairing that isn't there would promise too
narrow an interval. The t interval (Welch) decides; permutation and bootstrap stand beside it.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special  # scipy.stats takes 1.4 s to import

from experiments.evaluation.bootstrap import PairedDifference
from experiments.evaluation.tables import EvaluationError, Floats

MOST_SPLITS = 20_000  # beyond this many ways to deal out the seeds, permutation draws at random
FEWEST_FOR_BOOTSTRAP = 5  # with fewer seeds a resample is too often without spread
POWER = 0.8
ALPHA = 0.05
SEEDS_ADVISED = 3  # an arm: the least with which a spread means anything
NO_INTERVAL = ("not measured", "too few seeds", "no spread")  # verdicts that decide nothing
MOST_SEEDS = 1000


class Summary(NamedTuple):
    """Mean and sample SD (n - 1) over `seeds` runs; mean None without runs, SD None below two."""

    mean: float | None
    sd: float | None
    seeds: int


class Difference(NamedTuple):
    """Arm minus baseline in points, its own 95 % interval, p after Holm, and the verdict's word.

    Interval and p are None where seeds allow none: see `NO_INTERVAL`.
    """

    points: float | None
    low: float | None
    high: float | None
    p: float | None
    verdict: str


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval that covers the true value in `level` of all repetitions."""

    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class ArmDifference:
    """Mean of B less mean of A. What can't be had from so few seeds is None."""

    a: Summary
    b: Summary
    difference: float
    t_interval: Interval | None
    t_p_value: float | None
    bootstrap_interval: Interval | None
    permutation_p_value: float | None
    least_permutation_p_value: float | None  # what the clearest separation would give
    seeds_needed: int | None  # an arm, to see a difference of this size; None if over 1,000


def summarise(values: Sequence[float]) -> Summary:
    """Mean and sample SD of `values`, summed exactly so that the order of runs cannot matter.

    Raises EvaluationError where a value is not finite.
    """
    count = len(values)
    if not all(map(math.isfinite, values)):
        raise EvaluationError(f"seeds: expected finite numbers, found {list(values)}")
    if count == 0:
        return Summary(None, None, 0)
    mean = math.fsum(values) / count
    if count == 1:
        return Summary(mean, None, 1)
    return Summary(mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1)), count)


def differences(arms: Sequence[Sequence[float]], baseline: Sequence[float]) -> list[Difference]:
    """Each arm's difference to the baseline by Welch's t test, p adjusted by Holm over the arms.

    The intervals are not adjusted: each has its own 95 %.
    """
    base = summarise(baseline)
    found = []
    for values in arms:
        arm = summarise(values)
        known = arm.mean is not None and base.mean is not None
        points = arm.mean - base.mean if arm.mean is not None and base.mean is not None else None
        interval, p_value = welch(baseline, values) if known else (None, None)
        found.append((points, interval, p_value, word_without_interval(base, arm)))
    adjusted = holm_of_known([p_value for _, _, p_value, _ in found])
    return [
        Difference(
            points,
            interval.low if interval else None,
            interval.high if interval else None,
            p_value,
            verdict_word(points, p_value, otherwise),
        )
        for (points, interval, _, otherwise), p_value in zip(found, adjusted, strict=True)
    ]


def verdict_word(points: float | None, p_value: float | None, otherwise: str) -> str:
    """better, worse or not shown; `otherwise` where there is no p value to decide by."""
    if points is None or p_value is None:
        return otherwise
    if p_value >= ALPHA:
        return "not shown"
    return "better" if points > 0 else "worse"


def word_without_interval(a: Summary, b: Summary) -> str:
    """Why two arms have no interval, one of `NO_INTERVAL`."""
    if not a.seeds or not b.seeds:
        return "not measured"
    return "too few seeds" if min(a.seeds, b.seeds) < 2 else "no spread"


def compare_arms(
    a: Sequence[float], b: Sequence[float], *, level: float = 0.95, seed: int = 0
) -> ArmDifference:
    """Compare two arms by the values of their seeds; raises EvaluationError where one has none."""
    one, two = summarise(a), summarise(b)
    if one.mean is None or two.mean is None:
        raise EvaluationError("seeds: expected finite numbers, at least one, found none")
    t_interval, t_p_value = welch(a, b, level)
    difference = two.mean - one.mean
    needed = None
    if one.sd is not None and two.sd is not None:
        needed = seeds_needed(math.hypot(one.sd, two.sd) / math.sqrt(2), difference)
    p_value, least = permutation_test(a, b, seed=seed) if t_p_value is not None else (None, None)
    return ArmDifference(
        a=one,
        b=two,
        difference=difference,
        t_interval=t_interval,
        t_p_value=t_p_value,
        bootstrap_interval=bootstrap_t_interval(a, b, level=level, seed=seed),
        permutation_p_value=p_value,
        least_permutation_p_value=least,
        seeds_needed=needed,
    )


def welch(
    a: Sequence[float], b: Sequence[float], level: float = 0.95
) -> tuple[Interval | None, float | None]:
    """Welch's t interval and two-sided p-value of mean(b) - mean(a).

    None with one seed in an arm, and where neither arm has any spread: equal values at every seed
    are more likely one run copied than a method without noise.
    """
    one, two = summarise(a), summarise(b)
    if one.sd is None or two.sd is None or one.mean is None or two.mean is None:
        return None, None
    difference = two.mean - one.mean
    share_a, share_b = one.sd**2 / one.seeds, two.sd**2 / two.seeds
    error = math.sqrt(share_a + share_b)
    if error == 0:
        return None, None
    parts = share_a**2 / (one.seeds - 1) + share_b**2 / (two.seeds - 1)
    freedom = (share_a + share_b) ** 2 / parts
    reach = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    p_value = float(2 * special.stdtr(freedom, -abs(difference) / error))
    return Interval(difference - reach, difference + reach, level), p_value


def permutation_test(
    a: Sequence[float], b: Sequence[float], *, seed: int = 0
) -> tuple[float, float]:
    """Two-sided p-value of the difference of means were seeds dealt at random, and the least one.

    All ways to deal are counted while they are few (3 + 3 seeds: 20, so p is never below 0.1), else
    20,000 random ones and the one observed.
    """
    pooled = np.concatenate([np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)])
    n, m = len(a), len(b)
    ways = math.comb(n + m, n)
    if ways <= MOST_SPLITS:
        rows = np.array(list(itertools.combinations(range(n + m), n)))
        sums = pooled[rows].sum(axis=1)
    else:
        random = np.random.default_rng(seed)
        order = random.permuted(np.tile(pooled, (MOST_SPLITS, 1)), axis=1)
        sums = np.concatenate([[pooled[:n].sum()], order[:, :n].sum(axis=1)])
    differences = np.abs((pooled.sum() - sums) / m - sums / n)
    observed = abs(pooled[n:].mean() - pooled[:n].mean())
    # equal splits differ in their last bits
    slack = 1e-9 * max(1.0, float(np.abs(pooled).max()))
    p_value = float((differences >= observed - slack).mean())
    least = (2 if n == m else 1) / ways if ways <= MOST_SPLITS else 1 / len(sums)
    return p_value, least


def bootstrap_t_interval(
    a: Sequence[float],
    b: Sequence[float],
    *,
    level: float = 0.95,
    resamples: int = 4000,
    seed: int = 0,
) -> Interval | None:
    """Studentised bootstrap interval of mean(b) - mean(a); None below 5 seeds or without spread.

    Plain percentiles of so few values are too narrow (with 5 seeds they cover 88 %, not 95 %).
    Source: Efron and Tibshirani 1993, section 12.5.
    """
    if min(len(a), len(b)) < FEWEST_FOR_BOOTSTRAP:
        return None
    random = np.random.default_rng(seed)
    mean_a, share_a, means_a, shares_a = _resampled_means(a, resamples, random)
    mean_b, share_b, means_b, shares_b = _resampled_means(b, resamples, random)
    error = math.sqrt(share_a + share_b)
    errors = np.sqrt(shares_a + shares_b)
    usable = errors > 0
    if error == 0 or not usable.any():
        return None
    difference = mean_b - mean_a
    ratios = ((means_b - means_a) - difference)[usable] / errors[usable]
    tail = 50 * (1 - level)
    low, high = np.percentile(ratios, [tail, 100 - tail])
    return Interval(float(difference - high * error), float(difference - low * error), level)


def _resampled_means(
    values: Sequence[float], resamples: int, random: np.random.Generator
) -> tuple[float, float, Floats, Floats]:
    array = np.asarray(values, dtype=np.float64)
    count = len(array)
    drawn = array[random.integers(0, count, (resamples, count))]
    shares = drawn.var(axis=1, ddof=1) / count
    return float(array.mean()), float(array.var(ddof=1) / count), drawn.mean(axis=1), shares


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for having asked several questions (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def power(sd: float, difference: float, seeds: int, *, alpha: float = 0.05) -> float:
    """Chance that a two-sided t-test with `seeds` an arm sees a true `difference` at this SD."""
    if seeds < 2:
        return 0.0
    freedom = 2 * (seeds - 1)
    shift = abs(difference) / sd * math.sqrt(seeds / 2)
    limit = float(special.stdtrit(freedom, 1 - alpha / 2))
    above = 1 - special.nctdtr(freedom, shift, limit)
    return float(above + np.nan_to_num(special.nctdtr(freedom, shift, -limit)))


def seeds_needed(
    sd: float, difference: float, *, alpha: float = 0.05, chance: float = POWER
) -> int | None:
    """Fewest seeds an arm that see `difference` with this chance; None if more than 1,000."""
    if difference == 0:
        return None
    if sd == 0:
        return 2
    low, high = 1, MOST_SEEDS
    if power(sd, difference, high, alpha=alpha) < chance:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if power(sd, difference, middle, alpha=alpha) >= chance:
            high = middle
        else:
            low = middle
    return high


def holm_of_known(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's (1979) adjustment over the known p values; unknown ones stay None and do not count."""
    known = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(known) for p in p_values]


def arms_verdict(
    result: ArmDifference, a: str = "A", b: str = "B", *, p_value: float | None = None
) -> str:
    """Words for two arms; `p_value` replaces the t-test's where it was adjusted (Holm).

    One seed in an arm never makes a winner, whatever the difference.
    """
    least = min(result.a.seeds, result.b.seeds)
    if result.t_interval is None or result.t_p_value is None:
        return (
            f"No verdict: {b} is {result.difference:+.2f} from {a}, but {why_no_interval(least)}."
        )
    p_value = result.t_p_value if p_value is None else p_value
    low, high = result.t_interval.low, result.t_interval.high
    told = (
        f"{result.difference:+.2f} [{low:+.2f}, {high:+.2f}], p = {p_value_text(p_value)}, "
        f"{result.a.seeds} and {result.b.seeds} seeds"
    )
    word = verdict_word(result.difference, p_value, "")
    if word in ("better", "worse"):
        return f"{b} is {word} than {a}: {told}."
    return f"No difference shown between {a} and {b}: {told}.{_advice(result, least)}"


def why_no_interval(least: int) -> str:
    """Why arms of which the smaller has `least` seeds have no interval, and what to do."""
    if least < 2:
        return (
            f"{_seeds(least)} an arm can't tell a method from the luck of its seed; run "
            f"{SEEDS_ADVISED} or more of each"
        )
    return (
        "every seed of both gave one value, more likely one run copied than methods without "
        "noise: look at the runs"
    )


def runs_verdict(result: PairedDifference, a: str = "A", b: str = "B") -> str:
    """Words for two single runs: about these weights and images like these, not about methods."""
    shift, low, high = (100 * x for x in (result.difference, result.low, result.high))
    told = (
        f"{shift:+.2f} mAP [{low:+.2f}, {high:+.2f}], p = {p_value_text(result.p_value)}, "
        f"{result.images} images"
    )
    caution = "One run each says nothing of the methods: other seeds give other weights."
    if result.p_value < ALPHA:
        word = "better" if shift > 0 else "worse"
        return f"These weights of {b} are {word} on images like these: {told}. {caution}"
    return f"These two sets of weights can't be told apart on these images: {told}. {caution}"


def p_value_text(p_value: float) -> str:
    """Two significant digits, and no more zeros than it has earned."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.2g}"


def _advice(result: ArmDifference, least: int) -> str:
    needed = result.seeds_needed
    if needed is None:
        return " A difference this small would take more than 1,000 seeds an arm to see."
    more = max(0, needed - least)
    if more == 0:
        return ""
    return f" If it is real, about {_seeds(more)} more an arm would show it (power 80 %)."


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"
