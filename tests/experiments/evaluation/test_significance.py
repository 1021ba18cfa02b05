"""Statistics over seeds: what scipy says where it has the test, simulation elsewhere."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.evaluation import EvaluationError
from experiments.evaluation.significance import (
    arms_verdict,
    bootstrap_t_interval,
    compare_arms,
    differences,
    holm,
    holm_of_known,
    p_value_text,
    permutation_test,
    power,
    seeds_needed,
    summarise,
    welch,
)

A = [71.2, 70.8, 71.9, 71.4]
B = [72.0, 72.9, 71.8, 72.6, 72.2]


def test_welch_is_scipys() -> None:
    interval, p_value = welch(A, B)
    theirs = stats.ttest_ind(B, A, equal_var=False)
    wide = theirs.confidence_interval(0.95)
    assert interval is not None
    assert p_value == pytest.approx(theirs.pvalue)
    assert (interval.low, interval.high) == pytest.approx((wide.low, wide.high))


def test_permutation_is_scipys() -> None:
    p_value, least = permutation_test(A, B)
    theirs = stats.permutation_test(
        (A, B),
        lambda x, y: abs(np.mean(y) - np.mean(x)),
        n_resamples=np.inf,
        alternative="greater",  # of the absolute difference
    )
    assert p_value == pytest.approx(theirs.pvalue)
    assert least == 1 / 126


def test_three_seeds_an_arm_never_give_a_permutation_p_below_a_tenth() -> None:
    assert permutation_test([1, 2, 3], [10, 11, 12]) == (0.1, 0.1)


def test_many_seeds_are_dealt_at_random_and_agree_with_the_t_test() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(0, 1, 20), random.normal(0.7, 1, 20)
    p_value, least = permutation_test(a.tolist(), b.tolist())
    assert least == pytest.approx(1 / 20_001)
    assert p_value == pytest.approx(stats.ttest_ind(a, b).pvalue, abs=0.01)


def test_permutation_p_values_are_uniform_under_the_null() -> None:
    random = np.random.default_rng(1)
    p_values = [permutation_test(*random.normal(70, 0.5, (2, 5)).tolist())[0] for _ in range(1500)]
    for part in (10, 20, 40, 80, 126):  # of 252 ways, in steps of 2: p is a multiple of 1 / 126
        share = np.mean(np.array(p_values) <= 2 * part / 252 + 1e-12)
        assert share == pytest.approx(part / 126, abs=0.035)


@pytest.mark.parametrize(("seeds", "skewed"), [(3, False), (5, True), (8, False)])
def test_intervals_over_seeds_cover_93_to_97_percent(seeds: int, skewed: bool) -> None:
    random = np.random.default_rng(seeds)
    repetitions = 1500
    t_covers = bootstrap_covers = 0
    for repetition in range(repetitions):
        draw = random.gamma(4, 0.5, (2, seeds)) if skewed else random.normal(0, 1, (2, seeds))
        a, b = draw.tolist()
        t_interval, _ = welch(a, b)
        assert t_interval is not None
        t_covers += t_interval.low <= 0 <= t_interval.high
        if seeds >= 5 and repetition < 400:
            interval = bootstrap_t_interval(a, b, resamples=800, seed=repetition)
            assert interval is not None
            bootstrap_covers += interval.low <= 0 <= interval.high
    slack = 0.005 if seeds > 3 else 0.01  # Welch's freedom errs to the safe side with 3
    assert 0.93 <= t_covers / repetitions <= 0.97 + slack
    if seeds >= 5:
        assert 0.92 <= bootstrap_covers / 400 <= 0.98


def test_holm_by_hand() -> None:
    # 4 * .01, then 3 * .02, then 2 * .03 (not below the one before), then .5
    assert holm([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_power_is_what_simulation_finds() -> None:
    random = np.random.default_rng(2)
    draws = random.normal(0, 0.5, (2, 6000, 6))
    p_values = stats.ttest_ind(draws[0], draws[1] + 0.8, axis=1).pvalue
    assert power(0.5, 0.8, 6) == pytest.approx(float(np.mean(p_values < 0.05)), abs=0.02)


def test_seeds_needed_from_tables() -> None:
    assert seeds_needed(0.5, 1.0) == 6  # an effect of 2 SD
    assert seeds_needed(0.5, 0.5) == 17
    assert seeds_needed(0.5, 0.25) == 64
    assert seeds_needed(0.5, -0.25) == 64
    assert seeds_needed(0.5, 0.0) is None
    assert seeds_needed(1.0, 0.01) is None
    assert seeds_needed(0.0, 1.0) == 2


@given(st.floats(0, 100), st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_one_seed_never_makes_a_winner(one: float, many: list[float]) -> None:
    for a, b in (([one], many), (many, [one])):
        result = compare_arms(a, b)
        assert result.t_p_value is result.permutation_p_value is result.t_interval is None
        told = arms_verdict(result)
        assert told.startswith("No verdict") and "better" not in told and "worse" not in told
        assert "one seed an arm" in told


def test_verdicts_in_words() -> None:
    better = compare_arms(A, B)
    told = arms_verdict(better, "cross-entropy", "focal")
    assert told.startswith("focal is better than cross-entropy: +0.97 [")
    assert told.endswith("p = 0.016, 4 and 5 seeds.")
    assert arms_verdict(compare_arms(B, A)).startswith("B is worse than A: -0.97")
    unclear = compare_arms([70.0, 71.0, 72.0], [70.5, 71.5, 72.5])
    told = arms_verdict(unclear)
    assert told.startswith("No difference shown between A and B: +0.50 [")
    assert "about 61 seeds more an arm" in told
    assert arms_verdict(better, p_value=0.2).startswith("No difference shown")  # after Holm


def test_no_spread_gives_nothing_to_decide_by() -> None:
    for other in (70.0, 71.0):
        found = compare_arms([70.0] * 5, [other] * 5)
        assert found.t_interval is found.t_p_value is found.permutation_p_value is None
        assert found.bootstrap_interval is None


@pytest.mark.parametrize("values", [[], [70.0, float("nan")], [float("inf")]])
def test_values_that_are_none_are_refused(values: list[float]) -> None:
    with pytest.raises(EvaluationError, match="expected finite numbers"):
        compare_arms(values, A)


def test_p_values_as_text() -> None:
    assert [p_value_text(p) for p in (0.0, 0.00099, 0.0123, 0.5)] == [
        *("< 0.001", "< 0.001"),
        *("0.012", "0.5"),
    ]


def test_mean_and_sd_by_hand() -> None:
    assert summarise([1.0, 2.0, 6.0]) == (3.0, pytest.approx(math.sqrt(7.0)), 3)


def test_one_seed_has_no_spread_and_none_no_mean() -> None:
    assert summarise([61.0]) == (61.0, None, 1)
    assert summarise([]) == (None, None, 0)


def test_interval_and_p_are_scipys_welch() -> None:
    one, two = [71.2, 70.1, 72.9, 71.0], [69.0, 69.9, 68.2]
    found = differences([one], two)[0]
    known = stats.ttest_ind(one, two, equal_var=False)
    low, high = known.confidence_interval(0.95)
    assert (found.low, found.high, found.p) == pytest.approx((low, high, known.pvalue))


def test_interval_covers_no_difference_nineteen_times_in_twenty() -> None:
    draw = np.random.default_rng(1)
    tries = [differences([draw.normal(0, 1, 4)], draw.normal(0, 2, 4))[0] for _ in range(1000)]
    covered = sum(
        one.low <= 0 <= one.high for one in tries if one.low is not None and one.high is not None
    )
    assert 935 <= covered <= 985


def test_holm_by_hand_and_unknown_p_do_not_count() -> None:
    assert holm_of_known([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])


@pytest.mark.parametrize("seeds", [(1, 1), (1, 5), (5, 1)])
def test_a_single_seed_never_wins(seeds: tuple[int, int]) -> None:
    one, two = [90.0 + i for i in range(seeds[0])], [10.0 + i for i in range(seeds[1])]
    assert differences([one], two)[0].verdict == "too few seeds"


def test_verdict_names_the_direction_only_where_it_is_shown() -> None:
    base = [60.0, 60.4, 59.8]
    higher, lower, level = [66.0, 66.3, 65.9], [50.0, 50.4, 50.1], [60.2, 60.6, 59.5]
    assert [one.verdict for one in differences([higher, lower, level], base)] == [
        "better",
        "worse",
        "not shown",
    ]


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_arms_without_any_spread_are_not_judged(seeds: int) -> None:
    """More likely one run copied than a method without noise: one answer, whoever asks."""
    a, b = [50.0] * seeds, [50.1] * seeds
    assert differences([b], a)[0].verdict == "no spread"
    assert arms_verdict(compare_arms(a, b)).startswith("No verdict: B is +0.10 from A, but every")
