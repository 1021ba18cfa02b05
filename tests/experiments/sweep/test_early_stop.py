"""Hyperband by W&B's rule, on histories that can be judged by hand."""

import pytest

from experiments.sweep.early_stop import Hyperband


def test_bands_go_up_from_min_iter() -> None:
    assert Hyperband(min_iter=3, eta=2).bands()[:4] == (3, 6, 12, 24)


def test_bands_go_down_from_max_iter() -> None:
    assert Hyperband(max_iter=27, s=2).bands() == (3, 9)


def test_the_worse_half_is_stopped_at_the_first_band() -> None:
    rule = Hyperband(min_iter=3, eta=2)
    histories = {n: [float(n)] * 3 for n in range(6)}
    # sorted losses 0..5; the threshold is the one at index 6 / 2 = 3, and equal is good enough
    assert rule.stops(histories, list(range(6)), maximize=False) == (4, 5)
    assert rule.stops(histories, list(range(6)), maximize=True) == (0, 1)


def test_nobody_is_judged_before_the_first_band() -> None:
    rule = Hyperband(min_iter=3, eta=2)
    assert rule.stops({0: [9.0, 9.0], 1: [0.0, 0.0]}, [0, 1], maximize=False) == ()


def test_only_running_trials_are_stopped_but_all_set_the_threshold() -> None:
    rule = Hyperband(min_iter=1, eta=2)
    assert rule.stops({0: [1.0], 1: [2.0], 2: [9.0]}, [2], maximize=False) == (2,)
    assert rule.stops({2: [9.0]}, [2], maximize=False) == ()


def test_strict_looks_at_the_band_and_the_lenient_rule_at_the_best_so_far() -> None:
    histories = {0: [1.0, 5.0], 1: [2.0, 2.0], 2: [2.0, 2.0], 3: [2.0, 2.0]}
    strict = Hyperband(max_iter=4, s=1, eta=2, strict=True)
    lenient = Hyperband(max_iter=4, s=1, eta=2, strict=False)
    assert strict.stops(histories, [0], maximize=False) == (0,)
    assert lenient.stops(histories, [0], maximize=False) == ()


def test_values_that_are_not_finite_are_left_out() -> None:
    rule = Hyperband(min_iter=1, eta=2)
    assert rule.stops({0: [float("nan")], 1: [1.0]}, [0, 1], maximize=False) == ()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "min_iter"),
        ({"max_iter": 27}, "s: is needed"),
        ({"min_iter": 0}, "min_iter: must be >= 1"),
        ({"min_iter": 1, "eta": 1.0}, "eta: must be > 1"),
        ({"max_iter": 1, "s": 2}, "leaves no band"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Hyperband(**values)  # type: ignore[arg-type]
