"""Statistics over seeds: what scipy says where it has the test, simulation elsewhere."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.evaluation import EvaluationError
from experiments.evaluation.significance import (
    Values,
    bootstrap_t_interval,
    equivalence_p_value,
    holm,
    improvement,
    least_difference,
    permutation_test,
    power,
    seeds_needed,
    shared_part,
    summarise,
    t_test,
)

A = [71.2, 70.8, 71.9, 71.4]
B = [72.0, 72.9, 71.8, 72.6, 72.2]


def seeds(values: list[float]) -> Values:
    return dict(enumerate(values))


def test_mean_and_sd_by_hand() -> None:
    assert summarise([1.0, 2.0, 6.0]) == (3.0, pytest.approx(math.sqrt(7.0)), 3)
    assert summarise([61.0]) == (61.0, None, 1)
    assert summarise([]) == (None, None, 0)


@pytest.mark.parametrize("values", [[70.0, float("nan")], [float("inf")]])
def test_values_that_are_no_numbers_are_refused(values: list[float]) -> None:
    with pytest.raises(EvaluationError, match="expected finite numbers"):
        summarise(values)


def test_means_are_compared_by_scipys_welch() -> None:
    found = t_test(seeds(A), seeds(B))
    theirs = stats.ttest_ind(B, A, equal_var=False)
    wide = theirs.confidence_interval(0.95)
    assert found is not None and not found.paired
    assert found.p_value == pytest.approx(theirs.pvalue)
    assert found.interval[:2] == pytest.approx((wide.low, wide.high))


def test_pairs_are_of_equal_seeds_whatever_their_order() -> None:
    one = {3: 70.0, 1: 71.5, 2: 69.0}
    two = {1: 72.4, 2: 70.1, 3: 70.8}
    found = t_test(one, two, paired=True)
    theirs = stats.ttest_rel([72.4, 70.1, 70.8], [71.5, 69.0, 70.0])
    assert found is not None and found.paired and found.p_value == pytest.approx(theirs.pvalue)
    other = t_test(one, {1: 72.4, 2: 70.1, 4: 70.8}, paired=True)
    assert other is not None and not other.paired  # seeds 3 and 4 are no pair


def test_one_seed_and_no_spread_give_no_test() -> None:
    assert t_test(seeds([70.0]), seeds(B)) is None
    assert t_test(seeds([50.0] * 3), seeds([50.1] * 3)) is None
    assert equivalence_p_value(seeds([50.0] * 3), seeds([50.1] * 3), 1.0) is None


def test_an_arm_without_spread_is_welchs_limit() -> None:
    nearly = stats.ttest_ind(B, [70.0, 70.0 + 1e-7, 70.0 - 1e-7], equal_var=False).pvalue
    for arms, sign in (((seeds([70.0] * 3), seeds(B)), 1), ((seeds(B), seeds([70.0] * 3)), -1)):
        found = t_test(*arms)
        assert found is not None and found.p_value == pytest.approx(nearly, rel=1e-4)
        assert sign * found.interval.low > 0 and sign * found.interval.high > 0
        middle = (found.interval.low + found.interval.high) / 2  # of points, and of no mean
        assert middle == pytest.approx(sign * (sum(B) / len(B) - 70.0))


def test_differences_without_spread_are_not_paired() -> None:
    found = t_test(seeds([50.0, 51.0, 52.0]), seeds([50.1, 51.1, 52.1]), paired=True)
    assert found is not None and not found.paired


def test_the_shared_part_is_an_anova_by_hand() -> None:
    arms = [[1.0, 3.0, 5.0], [2.0, 4.0, 7.0]]
    # seeds' means 1.5, 3.5, 6: MS 2 * 5.0833; rest: +-.25 at each, MS (2 * .0833 * ...)
    table = np.array(arms)
    left = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    of_seeds, rest = 2 * table.mean(0).var(ddof=1), (left**2).sum() / 2
    found = shared_part([seeds(arm) for arm in arms])
    assert found is not None
    assert found.part == pytest.approx((of_seeds - rest) / (of_seeds + rest))
    assert found.p_value == pytest.approx(stats.f.sf(of_seeds / rest, 2, 2))
    assert shared_part([seeds(A)]) is None and shared_part([seeds([1.0, 2.0])] * 2) is None


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("count", [3, 6])
def test_intervals_cover_93_to_97_percent_whatever_seeds_share(shared: float, count: int) -> None:
    random = np.random.default_rng(round(10 * shared) + count)
    covered = 0
    for common, own in zip(
        random.normal(size=(1200, count)), random.normal(size=(1200, 2, count)), strict=True
    ):
        drawn = math.sqrt(shared) * common + math.sqrt(1 - shared) * own
        a, b = (seeds(row.tolist()) for row in drawn)
        known = shared_part([a, b])
        found = t_test(a, b, paired=known is not None and known.is_shown)
        assert found is not None
        covered += found.interval.low <= 0 <= found.interval.high
    assert 0.93 <= covered / 1200 <= 0.975


def test_equivalence_is_two_one_sided_tests_and_a_90_percent_interval() -> None:
    one, two = seeds([70.0, 70.4, 69.8, 70.1]), seeds([70.2, 70.3, 69.9, 70.0])
    p_value = equivalence_p_value(one, two, 1.0)
    above = stats.ttest_ind(
        [value + 1 for value in two.values()],
        [*one.values()],
        equal_var=False,
        alternative="greater",
    )
    narrow = t_test(one, two, level=0.9)
    assert p_value is not None and narrow is not None
    assert p_value == pytest.approx(above.pvalue, rel=0.7)  # the larger of the two sides
    for within in (0.05, 0.2, 0.3, 0.35, 0.6):
        inside = -within < narrow.interval.low and narrow.interval.high < within
        p_value = equivalence_p_value(one, two, within)
        assert p_value is not None and (p_value < 0.05) == inside


def test_improvement_is_mann_and_whitneys() -> None:
    theirs = stats.mannwhitneyu(B, A).statistic / (len(A) * len(B))
    assert improvement(seeds(A), seeds(B)) == pytest.approx(theirs)
    assert improvement(seeds([1.0]), seeds([1.0])) == 0.5 and improvement({}, seeds(A)) is None


def test_permutation_is_scipys_with_the_least_value_told() -> None:
    p_value, least = permutation_test(seeds(A), seeds(B))
    theirs = stats.permutation_test(
        (A, B), lambda x, y: abs(np.mean(y) - np.mean(x)), n_resamples=np.inf, alternative="greater"
    )
    assert p_value == pytest.approx(theirs.pvalue)
    assert least == 1 / 126
    assert permutation_test(seeds([1, 2, 3]), seeds([10, 11, 12])) == (0.1, 0.1)
    pairs = permutation_test(seeds([1, 2, 3]), seeds([10, 12, 15]), paired=True)
    assert pairs == (0.25, 0.25)


def test_many_seeds_are_dealt_at_random_and_agree_with_the_t_test() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(0, 1, 20), random.normal(0.7, 1, 20)
    p_value, least = permutation_test(seeds(a.tolist()), seeds(b.tolist()))
    assert least == pytest.approx(1 / 20_001)
    assert p_value == pytest.approx(stats.ttest_ind(a, b).pvalue, abs=0.01)


@pytest.mark.parametrize("paired", [False, True])
def test_bootstrap_intervals_of_skewed_seeds_cover_92_to_98_percent(paired: bool) -> None:
    random = np.random.default_rng(5)
    covered = 0
    for repetition in range(400):
        a, b = (seeds(row.tolist()) for row in random.gamma(4, 0.5, (2, 6)))
        interval = bootstrap_t_interval(a, b, paired=paired, resamples=800, seed=repetition)
        assert interval is not None
        covered += interval.low <= 0 <= interval.high
    assert 0.92 <= covered / 400 <= 0.985
    assert bootstrap_t_interval(seeds([70.0] * 5), seeds([71.0] * 5)) is None
    assert bootstrap_t_interval(seeds(A), seeds(B)) is None  # 4 seeds


def test_holm_by_hand() -> None:
    # 4 * .01, then 3 * .02, then 2 * .03 (not below the one before), then .5
    assert holm([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])


def test_two_p_values_of_one_question_count_once() -> None:
    # two questions of two claims each: 2 * .01, 2 * .02, and once a question has none left, 1 *
    assert holm([0.01, 0.02, 0.03, 0.04], [0, 1, 0, 1]) == pytest.approx([0.02, 0.04, 0.06, 0.06])
    assert holm([0.01, 0.02, 0.03, 0.04], [0, 0, 1, 1]) == pytest.approx([0.02, 0.04, 0.04, 0.04])


def test_power_is_what_simulation_finds() -> None:
    random = np.random.default_rng(2)
    draws = random.normal(0, 0.5, (2, 6000, 6))
    p_values = stats.ttest_ind(draws[0], draws[1] + 0.8, axis=1).pvalue
    assert power(0.5, 0.8, 6) == pytest.approx(float(np.mean(p_values < 0.05)), abs=0.02)


def test_seeds_needed_from_tables_and_back() -> None:
    assert seeds_needed(0.5, 1.0) == 6  # an effect of 2 SD
    assert seeds_needed(0.5, 0.5) == 17
    assert seeds_needed(0.5, 0.25) == seeds_needed(0.5, -0.25) == 64
    assert seeds_needed(0.5, 0.0) is None
    assert seeds_needed(1.0, 0.01) is None
    assert seeds_needed(0.0, 1.0) == 2
    seen = least_difference(0.5, 17)
    assert seen == pytest.approx(0.5, abs=0.01) and power(0.5, seen, 17) == pytest.approx(0.8)
    assert least_difference(0.5, 1) is None
