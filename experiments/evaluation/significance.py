"""What seeds can tell: spread, intervals, p values, Holm's correction, power. Numbers only; what
they allow one to say is `referee.py`'s.

Values are one number a seed, such as mAP in percent; differences are B less A, in points.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from experiments.evaluation.tables import EvaluationError, Floats

Values: TypeAlias = Mapping[int, float]  # seed -> one number
Alternative = Literal["two-sided", "greater", "less"]

LEVEL = 0.95
ALPHA = 0.05
POWER = 0.8
MOST_SEEDS = 1000
FEWEST_PAIRED = 3  # seeds; of two, differences have one degree of freedom
# Of the F test that seeds share something. Welch covers too much where they do, pairs have half the
# degrees of freedom where they don't. At this level intervals cover 94.5 to 96.8 % for correlations
# of 0, .5 and .8 and 3, 5 and 6 seeds (benchmarks/referee.py); .05 and more errs too often at 0.
SHARED_ALPHA = 0.02
MOST_DEALS = 20_000  # beyond this many ways to deal out the seeds, permutation draws at random
FEWEST_FOR_BOOTSTRAP = 5  # with fewer seeds a resample is too often without spread


class Summary(NamedTuple):
    """Mean and sample SD (ddof 1) over `seeds` runs; mean None without runs, SD None below two."""

    mean: float | None
    sd: float | None
    seeds: int


class Interval(NamedTuple):
    """An interval that covers the true value in `level` of all repetitions."""

    low: float
    high: float
    level: float


class TTest(NamedTuple):
    """Student's t for the mean of B less A: of pairs, or Welch's.

    `sd` is of the differences of pairs, else of one arm's seeds, pooled.
    """

    paired: bool
    interval: Interval
    p_value: float
    sd: float


class Shared(NamedTuple):
    """What the seeds of several arms share, as a part of the variance over seeds (0..1), and the p
    value of there being anything.
    """

    part: float
    p_value: float
    arms: int
    seeds: int

    @property
    def is_shown(self) -> bool:
        """Whether arms rise and fall together over seeds, so that pairs are compared."""
        return self.p_value < SHARED_ALPHA


def summarise(values: Sequence[float]) -> Summary:
    """Mean and sample SD, summed exactly so that the order of runs cannot matter.

    Raises EvaluationError for a value that is not finite.
    """
    if not all(map(math.isfinite, values)):
        raise EvaluationError(f"seeds: expected finite numbers, found {list(values)}")
    count = len(values)
    if count == 0:
        return Summary(None, None, 0)
    mean = math.fsum(values) / count
    if count == 1:
        return Summary(mean, None, 1)
    return Summary(mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1)), count)


def shared_part(arms: Sequence[Values]) -> Shared | None:
    """How far arms that ran the same seeds rise and fall together: F of seeds in a table of arms by
    seeds. None below two arms or three seeds, or without any spread.

    Source: two-way analysis of variance without repetition, Snedecor and Cochran 1989, chapter 14;
    the part is the intraclass correlation of Shrout and Fleiss 1979, ICC(3, 1).
    """
    if len(arms) < 2 or len(arms[0]) < FEWEST_PAIRED:
        return None
    from scipy import special

    table_AS = np.array([[arm[seed] for seed in sorted(arm)] for arm in arms])
    count, seeds = table_AS.shape
    means_S, means_A = table_AS.mean(axis=0), table_AS.mean(axis=1, keepdims=True)
    left_AS = table_AS - means_S - means_A + table_AS.mean()
    of_seeds = count * float(means_S.var(ddof=1))
    of_rest = float((left_AS**2).sum()) / ((count - 1) * (seeds - 1))
    if not _is_spread(math.sqrt(of_rest), table_AS.max()):
        return None
    part = (of_seeds - of_rest) / (of_seeds + (count - 1) * of_rest)
    p_value = special.fdtrc(seeds - 1, (count - 1) * (seeds - 1), of_seeds / of_rest)
    return Shared(max(0.0, part), float(p_value), count, seeds)


def t_test(a: Values, b: Values, *, paired: bool = False, level: float = LEVEL) -> TTest | None:
    """Interval and two-sided p value of mean(b) - mean(a), unadjusted.

    `paired` compares seed by seed, where both ran the same ones and their differences vary; else
    it is Welch's. None with one seed in an arm, or where neither arm has any spread: equal values
    at every seed are more likely one run copied than a method without noise.
    """
    done = _scipys(a, b, paired)
    if done is None:
        return None
    found = done.confidence_interval(level)
    interval = Interval(float(found.low), float(found.high), level)
    pairs = _pairs(a, b, paired)
    return TTest(pairs, interval, float(done.pvalue), _sd(a, b, pairs))


def equivalence_p_value(
    a: Values, b: Values, within: float, *, paired: bool = False
) -> float | None:
    """P value of the claim that the means differ by less than `within` points: the larger one of
    two one-sided t tests. Below .05 it says that the 90 % interval lies inside. None as `t_test`.

    Source: Schuirmann 1987.
    """
    above = _scipys(a, {seed: value + within for seed, value in b.items()}, paired, "greater")
    below = _scipys(a, {seed: value - within for seed, value in b.items()}, paired, "less")
    return None if above is None or below is None else float(max(above.pvalue, below.pvalue))


def improvement(a: Values, b: Values) -> float | None:
    """Probability that a run of B is above a run of A, over all pairs of runs, a tie as half.

    Source: Agarwal et al. 2021, arXiv:2108.13264, section 4.3 (Mann and Whitney's U, scaled).
    """
    if not a or not b:
        return None
    above_AB = np.subtract.outer(np.array([*b.values()]), np.array([*a.values()]))
    return float(np.mean((above_AB > 0) + 0.5 * (above_AB == 0)))


def _scipys(a: Values, b: Values, paired: bool, alternative: Alternative = "two-sided") -> Any:
    from scipy import stats  # 1.4 s to import

    one, two = [a[seed] for seed in sorted(a)], [b[seed] for seed in sorted(b)]
    if _pairs(a, b, paired):
        return stats.ttest_rel(two, one, alternative=alternative)
    if min(len(one), len(two)) < 2:
        return None
    spread, other = _has_spread(one), _has_spread(two)
    if spread and other:
        return stats.ttest_ind(two, one, equal_var=False, alternative=alternative)
    # Welch's with one spread of 0; ttest_ind warns of lost digits there
    if other:
        return stats.ttest_1samp([v - one[0] for v in two], 0.0, alternative=alternative)
    if spread:
        return stats.ttest_1samp([two[0] - v for v in one], 0.0, alternative=alternative)
    return None


def _sd(a: Values, b: Values, pairs: bool) -> float:
    if pairs:
        return summarise([b[seed] - a[seed] for seed in a]).sd or 0.0
    return math.hypot(*(summarise([*arm.values()]).sd or 0.0 for arm in (a, b))) / math.sqrt(2)


def _pairs(a: Values, b: Values, wanted: bool) -> bool:
    """Whether seeds are compared one by one: where that is wanted, possible, and they differ."""
    same = wanted and a.keys() == b.keys() and len(a) >= FEWEST_PAIRED
    return same and _has_spread([b[seed] - a[seed] for seed in a])


def _has_spread(values: Sequence[float]) -> bool:
    sd = summarise(values).sd
    return sd is not None and _is_spread(sd, max(map(abs, values)))


def _is_spread(sd: float, size: float) -> bool:
    return sd > 1e-9 * max(1.0, abs(size))  # sums of equal numbers differ in their last bits


def holm(
    p_values: Sequence[float | None], questions: Sequence[int] | None = None
) -> list[float | None]:
    """P values adjusted for having asked several questions (Holm 1979); unknown ones stay None and
    do not count.

    `questions` gives each p value's question, of whose null hypotheses no two can be true at once
    ("the difference is 0", "it is at least 1 point") unless they are one: a question counts once
    while any of its p values is left (Shaffer 1986). Default: each its own.
    """
    asked = range(len(p_values)) if questions is None else questions
    known = [(p, asked[place], place) for place, p in enumerate(p_values) if p is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for done, (p_value, _, place) in enumerate(ordered := sorted(known)):
        left = {question for _, question, _ in ordered[done:]}
        largest = max(largest, min(1.0, len(left) * p_value))
        adjusted[place] = largest
    return adjusted


def power(
    sd: float, difference: float, seeds: int, *, paired: bool = False, alpha: float = ALPHA
) -> float:
    """Chance that a two-sided t test with `seeds` an arm sees a true `difference` at this SD: of
    an arm's seeds, or where they are `paired`, of their differences.

    Source: the noncentral t distribution, Cohen 1988, chapter 2.
    """
    if seeds < 2:
        return 0.0
    from scipy import special

    freedom = (1 if paired else 2) * (seeds - 1)
    shift = abs(difference) / sd * math.sqrt(seeds if paired else seeds / 2)
    limit = float(special.stdtrit(freedom, 1 - alpha / 2))
    above = 1 - special.nctdtr(freedom, shift, limit)
    return float(above + np.nan_to_num(special.nctdtr(freedom, shift, -limit)))


def seeds_needed(
    sd: float, difference: float, *, paired: bool = False, chance: float = POWER
) -> int | None:
    """Fewest seeds an arm that see `difference` with this chance; None if more than 1,000."""
    if difference == 0:
        return None
    if sd == 0:
        return 2
    low, high = 1, MOST_SEEDS
    if power(sd, difference, high, paired=paired) < chance:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if power(sd, difference, middle, paired=paired) >= chance:
            high = middle
        else:
            low = middle
    return high


def least_difference(sd: float, seeds: int, *, chance: float = POWER) -> float | None:
    """The smallest true difference that `seeds` an arm see with this chance; None of one seed,
    which has no spread and can show nothing.
    """
    if seeds < 2:
        return None
    from scipy import optimize

    # two seeds need 5.7 SD
    found = optimize.brentq(lambda size: power(1.0, size, seeds) - chance, 1e-6, 10.0)
    return sd * float(found)


def permutation_test(a: Values, b: Values, *, paired: bool = False) -> tuple[float, float]:
    """Two-sided p value of the difference of means were seeds dealt at random, and the least one
    that so many seeds can give (3 + 3: .1).

    All ways to deal are counted while they are few, else 20,000 random ones and the one observed;
    `paired` deals each seed's two values between the arms.
    """
    from scipy import stats

    pairs = _pairs(a, b, paired)
    ways = 2 ** len(a) if pairs else math.comb(len(a) + len(b), len(a))
    sides = 2 if pairs or len(a) == len(b) else 1  # dealt the other way round it is as clear
    done = stats.permutation_test(
        ([b[seed] for seed in sorted(b)], [a[seed] for seed in sorted(a)]),
        lambda two, one, axis: np.abs(two.mean(axis=axis) - one.mean(axis=axis)),
        permutation_type="samples" if pairs else "independent",
        n_resamples=MOST_DEALS,
        vectorized=True,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    return float(done.pvalue), (sides / ways if ways <= MOST_DEALS else 1 / (MOST_DEALS + 1))


def bootstrap_t_interval(
    a: Values, b: Values, *, paired: bool = False, resamples: int = 4000, seed: int = 0
) -> Interval | None:
    """Studentised bootstrap interval of mean(b) - mean(a); None below 5 seeds or without spread.

    Plain percentiles of so few values are too narrow (with 5 seeds they cover 88 %, not 95 %), and
    scipy.stats.bootstrap has no studentised form. Source: Efron and Tibshirani 1993, section 12.5.
    """
    if min(len(a), len(b)) < FEWEST_FOR_BOOTSTRAP:
        return None
    random = np.random.default_rng(seed)
    if _pairs(a, b, paired):
        parts = [_resampled([b[key] - a[key] for key in a], resamples, random)]
    else:
        parts = [_resampled([*arm.values()], resamples, random) for arm in (b, a)]
    signs = (1.0, -1.0)[: len(parts)]
    difference = sum(sign * mean for sign, (mean, *_) in zip(signs, parts, strict=True))
    error = math.sqrt(sum(share for _, share, *_ in parts))
    means = np.sum([s * part[2] for s, part in zip(signs, parts, strict=True)], axis=0)
    errors = np.sqrt(np.sum([part[3] for part in parts], axis=0))
    usable = errors > 0
    if error == 0 or not usable.any():
        return None
    ratios = (means - difference)[usable] / errors[usable]
    low, high = np.percentile(ratios, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(float(difference - high * error), float(difference - low * error), LEVEL)


def _resampled(
    values: Sequence[float], resamples: int, random: np.random.Generator
) -> tuple[float, float, Floats, Floats]:
    """Mean and its variance, then both of each resample."""
    array = np.asarray(values, dtype=np.float64)
    count = len(array)
    drawn = array[random.integers(0, count, (resamples, count))]
    shares = drawn.var(axis=1, ddof=1) / count
    return float(array.mean()), float(array.var(ddof=1) / count), drawn.mean(axis=1), shares
