"""The numbers that carry a verdict, against scipy and against hand."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.report.statistics import compare, holm_of_known, summarise


def test_mean_and_sd_by_hand() -> None:
    assert summarise([1.0, 2.0, 6.0]) == (3.0, pytest.approx(math.sqrt(7.0)), 3)


def test_one_seed_has_no_spread_and_none_no_mean() -> None:
    assert summarise([61.0]) == (61.0, None, 1)
    assert summarise([]) == (None, None, 0)


def test_interval_and_p_are_scipys_welch() -> None:
    one, two = [71.2, 70.1, 72.9, 71.0], [69.0, 69.9, 68.2]
    found = compare([one], two)[0]
    known = stats.ttest_ind(one, two, equal_var=False)
    low, high = known.confidence_interval(0.95)
    assert (found.low, found.high, found.p) == pytest.approx((low, high, known.pvalue))


def test_interval_covers_no_difference_nineteen_times_in_twenty() -> None:
    draw = np.random.default_rng(1)
    tries = [compare([draw.normal(0, 1, 4)], draw.normal(0, 2, 4))[0] for _ in range(1000)]
    covered = sum(
        one.low <= 0 <= one.high for one in tries if one.low is not None and one.high is not None
    )
    assert 935 <= covered <= 985


def test_holm_by_hand_and_unknown_p_do_not_count() -> None:
    assert holm_of_known([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])


@pytest.mark.parametrize("seeds", [(1, 1), (1, 5), (5, 1)])
def test_a_single_seed_never_wins(seeds: tuple[int, int]) -> None:
    one, two = [90.0 + i for i in range(seeds[0])], [10.0 + i for i in range(seeds[1])]
    assert compare([one], two)[0].verdict == "too few seeds"


def test_verdict_names_the_direction_only_where_it_is_shown() -> None:
    base = [60.0, 60.4, 59.8]
    higher, lower, level = [66.0, 66.3, 65.9], [50.0, 50.4, 50.1], [60.2, 60.6, 59.5]
    assert [one.verdict for one in compare([higher, lower, level], base)] == [
        "better",
        "worse",
        "not shown",
    ]


def test_arms_without_any_spread_are_not_judged() -> None:
    assert compare([[61.0, 61.0]], [60.0, 60.0])[0].verdict == "too few seeds"
