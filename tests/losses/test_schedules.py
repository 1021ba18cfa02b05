"""Schedules are values: pure, bounded by their ends, and exact at them."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from losses.schedules import (
    Constant,
    Cosine,
    Cyclical,
    Exponential,
    Linear,
    Piecewise,
    Schedule,
    Staged,
    extremes_of,
    value_at,
)

RAMPS = [Linear, Cosine, Exponential]
ALL: list[Schedule] = [
    Constant(2.0),
    Staged((0.0, 1.0, 2.0), (0.3, 0.6)),
    Linear(0.0, 2.0),
    Cosine(2.0, 0.5, (0.1, 0.9)),
    Exponential(0.0, 5.0, (0.0, 1.0), rate=-3.0),
    Cyclical(2.0, turn=0.25),
    Piecewise((0.2, 0.5, 0.9), (0.0, 3.0, 1.0)),
]


@pytest.mark.parametrize("ramp", RAMPS)
@given(
    start=st.floats(0, 10),
    end=st.floats(0, 10),
    begin=st.floats(0, 0.9),
    length=st.floats(0.01, 0.1),
)
def test_a_ramp_meets_both_ends_exactly(ramp, start, end, begin, length) -> None:
    edges = (begin, begin + length)
    schedule = ramp(start, end, edges)
    assert schedule(0.0) == schedule(edges[0]) == start
    assert schedule(1.0) == schedule(edges[1]) == end


@pytest.mark.parametrize("schedule", ALL)
def test_no_value_leaves_the_extremes(schedule: Schedule) -> None:
    least, greatest = schedule.extremes
    values = [schedule(step / 1000) for step in range(1001)]
    assert least - 1e-12 <= min(values) and max(values) <= greatest + 1e-12


@pytest.mark.parametrize("ramp", RAMPS)
def test_a_rising_ramp_never_falls(ramp) -> None:
    values = [ramp(0.0, 2.0, (0.2, 0.8))(step / 500) for step in range(501)]
    assert all(low <= high for low, high in itertools.pairwise(values))


@pytest.mark.parametrize("schedule", ALL)
def test_resuming_anywhere_reads_the_same_value(schedule: Schedule) -> None:
    # a fresh schedule asked backwards knows what one asked from the start says
    counted = [schedule(iteration / 90) for iteration in range(91)]
    fresh = dataclasses.replace(schedule)
    assert [fresh(iteration / 90) for iteration in reversed(range(91))] == counted[::-1]


def test_exponential_halves_are_in_the_ratio_of_its_rate() -> None:
    # (e^(r/2) - 1) / (e^r - 1) = 1 / (e^(r/2) + 1)
    assert Exponential(0.0, 1.0, (0.0, 1.0), rate=4.0)(0.5) == pytest.approx(
        1 / (7.38905609893 + 1)
    )


def test_a_milestone_belongs_to_the_stage_it_opens() -> None:
    soft = Staged((0.0, 1.0, 2.0), (0.25, 0.5))
    assert [soft(0.2499), soft(0.25), soft(0.5)] == [0.0, 1.0, 2.0]


def test_piecewise_is_flat_outside_its_points() -> None:
    lines = Piecewise((0.25, 0.75), (1.0, 3.0))
    assert [lines(0.0), lines(0.5), lines(1.0)] == [1.0, 2.0, 3.0]


def test_a_cycle_turns_once_and_comes_back() -> None:
    # their factor is 1 / turn: up over the first quarter, down over the other three
    cycle = Cyclical(2.0, turn=0.25)
    assert [cycle(step / 8) for step in (0, 1, 2, 5, 8)] == [0.0, 1.0, 2.0, 1.0, 0.0]


def test_plain_numbers_are_schedules_too() -> None:
    assert value_at(2, 0.7) == 2.0 and extremes_of(0.5) == (0.5, 0.5)


@pytest.mark.parametrize("progress", [-0.01, 1.01, float("nan")])
@pytest.mark.parametrize("schedule", ALL)
def test_progress_outside_training_is_refused(schedule: Schedule, progress: float) -> None:
    with pytest.raises(ValueError, match=r"^progress: must be in \[0, 1\], found"):
        schedule(progress)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Constant(float("nan")), "value: must be finite, found nan"),
        (lambda: Linear(0.0, float("inf")), "end: must be finite"),
        (lambda: Linear(0.0, 2.0, (0.5, 0.5)), r"ramp: .* found \(0.5, 0.5\)"),
        (lambda: Cosine(0.0, 2.0, (0.5, 1.5)), "ramp: "),
        (lambda: Exponential(0.0, 2.0, rate=0.0), "rate: must be .* not 0, found 0.0"),
        (lambda: Staged((1.0,), (0.5,)), "values: must be one more than milestones, found 1"),
        (lambda: Staged((0.0, 1.0, 2.0), (0.6, 0.3)), "milestones: must rise strictly"),
        (lambda: Staged((0.0, 1.0), (1.0,)), "milestones: must rise strictly inside"),
        (lambda: Cyclical(2.0, turn=1.0), "turn: must lie between 0 and 1, found 1.0"),
        (lambda: Piecewise((), ()), "points: must be as many as values and at least one"),
        (lambda: Piecewise((0.5, 0.5), (1.0, 2.0)), "points: must rise strictly"),
    ],
)
def test_a_wrong_schedule_says_which_field(build, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build()
