"""Schedules of gamma and alpha: values, not state. Progress of training in [0, 1] goes in, a number
comes out.

A schedule holds no step counter, so a resumed run and every rank of a distributed one read the same
value. In a config a schedule is a mapping tagged by the key `schedule`: {schedule: linear, start:
0, end: 2}.
"""

import bisect
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


def _require_finite(name: str, values: Sequence[float]) -> None:
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"{name}: must be finite, found {value}")


def _require_progress(progress: float) -> None:
    if not 0 <= progress <= 1:
        raise ValueError(f"progress: must be in [0, 1], found {progress}")


def _mix(start: float, end: float, fraction: float) -> float:
    """Linear interpolation that hits both ends exactly."""
    return start if fraction <= 0 else end if fraction >= 1 else start + (end - start) * fraction


@dataclass(frozen=True, slots=True)
class Constant:
    """The same value throughout.

    >>> Constant(2.0)(0.3)
    2.0
    """

    value: float

    def __post_init__(self) -> None:
        _require_finite("value", [self.value])

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        _require_progress(progress)
        return self.value

    @property
    def extremes(self) -> tuple[float, float]:
        """Least and greatest value it takes."""
        return self.value, self.value


@dataclass(frozen=True, slots=True)
class Staged:
    """Steps at milestones: `values[i]` holds until `milestones[i]`, the last value to the end.

    This is soft-gamma as first proposed: raise gamma in stages while training goes on.

    >>> soft = Staged(values=(0.0, 1.0, 2.0), milestones=(0.25, 0.5))
    >>> [soft(progress) for progress in (0.0, 0.25, 0.49, 0.5, 1.0)]
    [0.0, 1.0, 1.0, 2.0, 2.0]
    """

    values: tuple[float, ...]
    milestones: tuple[float, ...]

    def __post_init__(self) -> None:
        _require_finite("values", self.values)
        if len(self.values) != len(self.milestones) + 1:
            raise ValueError(
                "values: must be one more than milestones, "
                f"found {len(self.values)} values and {len(self.milestones)} milestones"
            )
        edges = (0.0, *self.milestones, 1.0)
        if any(not low < high for low, high in zip(edges[:-1], edges[1:], strict=True)):
            raise ValueError(
                f"milestones: must rise strictly inside (0, 1), found {self.milestones}"
            )

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]; a milestone belongs to the stage it opens."""
        _require_progress(progress)
        return self.values[bisect.bisect_right(self.milestones, progress)]

    @property
    def extremes(self) -> tuple[float, float]:
        """Least and greatest value it takes."""
        return min(self.values), max(self.values)


@dataclass(frozen=True, slots=True)
class Ramp(ABC):
    """From `start` to `end` over `ramp`, flat on both sides of it; its kinds differ in `eased`."""

    start: float
    end: float
    ramp: tuple[float, float] = (0.0, 0.5)

    def __post_init__(self) -> None:
        _require_finite("start", [self.start])
        _require_finite("end", [self.end])
        if not 0 <= self.ramp[0] < self.ramp[1] <= 1:
            raise ValueError(
                f"ramp: must be two rising fractions of training in [0, 1], found {self.ramp}"
            )

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        _require_progress(progress)
        begin, end = self.ramp
        fraction = min(1.0, max(0.0, (progress - begin) / (end - begin)))
        return _mix(self.start, self.end, self.eased(fraction))

    @abstractmethod
    def eased(self, fraction: float) -> float:
        """How much of the way is done when `fraction` of the ramp is; 0 at 0 and 1 at 1."""

    @property
    def extremes(self) -> tuple[float, float]:
        """Least and greatest value it takes."""
        return min(self.start, self.end), max(self.start, self.end)


@dataclass(frozen=True, slots=True)
class Linear(Ramp):
    """A straight line from `start` to `end` over `ramp`, flat on both sides of it.

    >>> [Linear(0.0, 2.0, ramp=(0.0, 0.5))(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
    [0.0, 1.0, 2.0, 2.0]
    """

    def eased(self, fraction: float) -> float:
        """The fraction itself."""
        return fraction


@dataclass(frozen=True, slots=True)
class Cosine(Ramp):
    """Half a cosine wave from `start` to `end` over `ramp`: no corner at either end.

    >>> wave = Cosine(0.0, 2.0, ramp=(0.0, 1.0))
    >>> [round(wave(progress), 3) for progress in (0.0, 0.25, 0.5, 1.0)]
    [0.0, 0.293, 1.0, 2.0]
    """

    def eased(self, fraction: float) -> float:
        """Half a wave."""
        return (1 - math.cos(math.pi * fraction)) / 2


@dataclass(frozen=True, slots=True)
class Exponential(Ramp):
    """From `start` to `end` over `ramp` along (exp(rate * f) - 1) / (exp(rate) - 1), f the part of
    the ramp done.

    rate > 0 starts slowly and ends fast, rate < 0 the other way round; unlike a geometric series it
    may start at 0.

    >>> [round(Exponential(0.0, 2.0, ramp=(0.0, 1.0), rate=4.0)(p), 3) for p in (0.0, 0.5, 1.0)]
    [0.0, 0.238, 2.0]
    """

    rate: float = 4.0

    def __post_init__(self) -> None:
        Ramp.__post_init__(self)  # super() is lost in a dataclass with slots
        if not 0 < abs(self.rate) <= 100:
            raise ValueError(f"rate: must be in [-100, 100] and not 0, found {self.rate}")

    def eased(self, fraction: float) -> float:
        """A share of the curve's rise."""
        return math.expm1(self.rate * fraction) / math.expm1(self.rate)


@dataclass(frozen=True, slots=True)
class Cyclical:
    """Straight up from `start` to `peak` at the fraction `turn` of training, and straight back.

    The course of focal weight in Cyclical Focal Loss (Smith 2022, arXiv:2202.08978), whose factor
    is 1 / `turn`: 2 by default. There two losses are mixed, one of which favours the easy; here
    gamma itself goes up and comes back, between cross-entropy and focal loss.

    >>> cycle = Cyclical(peak=2.0)
    >>> [cycle(progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [0.0, 1.0, 2.0, 1.0, 0.0]
    """

    peak: float
    start: float = 0.0
    turn: float = 0.5

    def __post_init__(self) -> None:
        _require_finite("peak", [self.peak])
        _require_finite("start", [self.start])
        if not 0 < self.turn < 1:
            raise ValueError(f"turn: must lie between 0 and 1, found {self.turn}")

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        _require_progress(progress)
        return interpolate(progress, (0.0, self.turn, 1.0), (self.start, self.peak, self.start))

    @property
    def extremes(self) -> tuple[float, float]:
        """Least and greatest value it takes."""
        return min(self.start, self.peak), max(self.start, self.peak)


@dataclass(frozen=True, slots=True)
class Piecewise:
    """Straight lines through the points (points[i], values[i]); flat before the first and after the
    last.

    >>> tent = Piecewise(points=(0.0, 0.5, 1.0), values=(0.0, 2.0, 1.0))
    >>> [tent(progress) for progress in (0.0, 0.25, 0.5, 0.75)]
    [0.0, 1.0, 2.0, 1.5]
    """

    points: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        _require_finite("values", self.values)
        if len(self.points) != len(self.values) or not self.points:
            raise ValueError(
                "points: must be as many as values and at least one, "
                f"found {len(self.points)} points and {len(self.values)} values"
            )
        rising = all(
            low < high for low, high in zip(self.points[:-1], self.points[1:], strict=True)
        )
        if not (rising and 0 <= self.points[0] and self.points[-1] <= 1):
            raise ValueError(f"points: must rise strictly inside [0, 1], found {self.points}")

    def __call__(self, progress: float) -> float:
        """The value at `progress` in [0, 1]."""
        _require_progress(progress)
        return interpolate(progress, self.points, self.values)

    @property
    def extremes(self) -> tuple[float, float]:
        """Least and greatest value it takes."""
        return min(self.values), max(self.values)


def interpolate(position: float, points: Sequence[float], values: Sequence[float]) -> float:
    """Piecewise linear interpolation through (points[i], values[i]), flat outside; `points` rise
    strictly.

    >>> interpolate(1.5, (1.0, 2.0), (10.0, 20.0))
    15.0
    """
    right = bisect.bisect_right(points, position)
    if right == 0 or right == len(points):
        return values[max(right - 1, 0)]
    left = right - 1
    return _mix(
        values[left],
        values[right],
        (position - points[left]) / (points[right] - points[left]),
    )


Schedule = Constant | Staged | Linear | Cosine | Exponential | Cyclical | Piecewise


def value_at(number: float | Schedule, progress: float) -> float:
    """A plain number, or the value of a schedule at `progress` in [0, 1].

    >>> value_at(2.0, 0.5), value_at(Linear(0.0, 2.0, ramp=(0.0, 1.0)), 0.5)
    (2.0, 1.0)
    """
    if isinstance(number, int | float):
        _require_progress(progress)
        return float(number)
    return number(progress)


def extremes_of(number: float | Schedule) -> tuple[float, float]:
    """Least and greatest value that a number or a schedule takes.

    >>> extremes_of(Cosine(2.0, 0.5))
    (0.5, 2.0)
    """
    if isinstance(number, int | float):
        return float(number), float(number)
    return number.extremes
