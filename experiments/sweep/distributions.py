"""W&B's parameter distributions as quantile functions: u in [0, 1) gives a value; and how a sweep
file gives them (`read_distribution`).

Names, defaults and rounding follow W&B's sweep schema. `choices()` lists the values of a
distribution that a grid can enumerate, and is None for a continuous one.
"""

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar, Protocol, cast

from experiments.config.located import Located, whole
from experiments.errors import ConfigError, nearest, shown


class Distribution(Protocol):
    """What every distribution offers."""

    def at(self, u: float) -> Any:
        """The value at quantile `u`, 0 <= u < 1."""
        ...

    def choices(self) -> Sequence[Any] | None:
        """All values in order where a grid can list them, else None."""
        ...


MOST_EXPONENT = 709.0  # exp(709) is the largest power of e that a float holds


def _require(good: bool, message: str) -> None:
    if not good:
        raise ValueError(message)


def _rounded(value: float, q: float) -> float:
    steps = value / q
    return round(steps) * q if math.isfinite(steps) else value


@dataclass(frozen=True, slots=True)
class Constant:
    """One value."""

    value: Any

    def at(self, u: float) -> Any:
        """The value, whatever `u` is."""
        return self.value

    def choices(self) -> tuple[Any, ...]:
        """The one value."""
        return (self.value,)


@dataclass(frozen=True, slots=True)
class Categorical:
    """Values, equally likely."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        _require(len(self.values) > 0, "values: at least one is needed")

    def at(self, u: float) -> Any:
        """One of the values."""
        return self.values[int(u * len(self.values))]

    def choices(self) -> tuple[Any, ...]:
        """The values in the order of the file."""
        return self.values


@dataclass(frozen=True, slots=True)
class CategoricalWithProbabilities:
    """Values with their probabilities, which sum to one."""

    values: tuple[Any, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        same = len(self.values) == len(self.probabilities) > 0
        counts = f"{len(self.values)} values, {len(self.probabilities)} probabilities"
        _require(same, f"probabilities: one per value is needed, found {counts}")
        _require(min(self.probabilities) >= 0, "probabilities: none may be negative")
        total = math.fsum(self.probabilities)
        _require(abs(total - 1) < 1e-6, f"probabilities: must sum to 1, found {total:g}")

    def at(self, u: float) -> Any:
        """One of the values, by its probability."""
        passed = 0.0
        for value, probability in zip(self.values, self.probabilities, strict=True):
            passed += probability
            if u < passed:
                return value
        return self.values[-1]

    def choices(self) -> None:
        """None: W&B refuses probabilities in a grid."""
        return None


@dataclass(frozen=True, slots=True)
class IntUniform:
    """Integers min .. max, both included."""

    min: int
    max: int

    def __post_init__(self) -> None:
        _require(self.min <= self.max, f"max: must be >= min, found {self.max} < {self.min}")
        few = self.max - self.min < sys.maxsize
        _require(few, f"max: {self.min} to {self.max} are more whole numbers than can be counted")

    def at(self, u: float) -> int:
        """An integer, each equally likely."""
        return self.min + int(u * (self.max - self.min + 1))

    def choices(self) -> Sequence[Any]:
        """Every integer."""
        return range(self.min, self.max + 1)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Real numbers from min to max; the scales below bend the same straight line."""

    min: float
    max: float
    positive: ClassVar[bool] = False  # whether the bounds must be > 0

    def __post_init__(self) -> None:
        _require(self.min <= self.max, f"max: must be >= min, found {self.max} < {self.min}")
        good = not self.positive or self.min > 0
        _require(good, f"min: must be > 0 for a logarithmic scale, found {self.min}")

    def at(self, u: float) -> float:
        """min + u (max - min)."""
        return self.min + u * (self.max - self.min)

    def choices(self) -> Sequence[Any] | None:
        """None: continuous."""
        return None


@dataclass(frozen=True, slots=True)
class LogUniform(Uniform):
    """exp of a uniform number: min and max are exponents (W&B's first log_uniform)."""

    def __post_init__(self) -> None:
        Uniform.__post_init__(self)
        for name in ("min", "max"):
            value = getattr(self, name)
            _require(
                abs(value) < MOST_EXPONENT,
                f"{name}: is an exponent, and exp({value:g}) is no number a computer holds; "
                "log_uniform_values takes the values themselves",
            )

    def at(self, u: float) -> float:
        """exp(min + u (max - min))."""
        return math.exp(self.min + u * (self.max - self.min))


@dataclass(frozen=True, slots=True)
class LogUniformValues(Uniform):
    """log(x) is uniform between log(min) and log(max)."""

    positive: ClassVar[bool] = True

    def at(self, u: float) -> float:
        """min^(1 - u) max^u."""
        low, high = math.log(self.min), math.log(self.max)
        return math.exp(low + u * (high - low))


@dataclass(frozen=True, slots=True)
class InvLogUniform(LogUniform):
    """log(1 / x) is uniform between min and max."""

    def at(self, u: float) -> float:
        """exp(-(max - u (max - min)))."""
        return math.exp(-(self.max - u * (self.max - self.min)))


@dataclass(frozen=True, slots=True)
class InvLogUniformValues(LogUniformValues):
    """log(1 / x) is uniform between log(1 / max) and log(1 / min): log_uniform_values again."""


@dataclass(frozen=True, slots=True)
class Normal:
    """Normal with mean mu and standard deviation sigma."""

    mu: float = 0.0
    sigma: float = 1.0

    def __post_init__(self) -> None:
        _require(self.sigma >= 0, f"sigma: must be >= 0, found {self.sigma}")

    def at(self, u: float) -> float:
        """The quantile; u 0 is moved to the smallest positive draw."""
        return self.mu + self.sigma * NormalDist().inv_cdf(max(u, 2.0**-53))

    def choices(self) -> None:
        """None: continuous."""
        return None


class LogNormal(Normal):
    """exp of a normal number."""

    def at(self, u: float) -> float:
        """exp of the normal quantile; infinite where that is no number."""
        exponent = self.mu + self.sigma * NormalDist().inv_cdf(max(u, 2.0**-53))
        return math.exp(exponent) if exponent < MOST_EXPONENT else math.inf


@dataclass(frozen=True, slots=True)
class Beta:
    """Beta with shapes a and b, on [0, 1]."""

    a: float = 1.0
    b: float = 1.0

    def __post_init__(self) -> None:
        _require(self.a > 0, f"a: must be > 0, found {self.a}")
        _require(self.b > 0, f"b: must be > 0, found {self.b}")

    def at(self, u: float) -> float:
        """The quantile, by the inverse of the regularised incomplete beta function."""
        from scipy.special import betaincinv  # 0.3 s to import, and few sweeps draw from a beta

        return float(betaincinv(self.a, self.b, u))

    def choices(self) -> None:
        """None: continuous."""
        return None


class Steps(Sequence[float]):
    """start, start + step, ..: a sequence that is counted without being listed."""

    def __init__(self, start: float, step: float, count: int) -> None:
        self._start, self._step, self._count = start, step, max(0, count)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        found = range(self._count)[place]
        if isinstance(found, range):
            return [self._start + i * self._step for i in found]
        return self._start + found * self._step


@dataclass(frozen=True, slots=True)
class Quantised:
    """Another distribution rounded to multiples of q; integers when q is one."""

    inner: Distribution
    q: float = 1.0

    def __post_init__(self) -> None:
        _require(self.q > 0, f"q: must be > 0, found {self.q}")
        span = self.inner.max - self.inner.min if type(self.inner) is Uniform else 0.0
        few = span / self.q < sys.maxsize
        _require(few, f"q: {self.q} makes more steps than can be counted")

    def at(self, u: float) -> float:
        """The inner value, rounded half to even as W&B does."""
        return _rounded(self.inner.at(u), self.q)

    def choices(self) -> Sequence[Any] | None:
        """For q_uniform: min, min + q, .. below max (max itself is left out, as W&B does)."""
        if type(self.inner) is not Uniform:
            return None
        count = math.ceil((self.inner.max - self.inner.min) / self.q)
        return Steps(self.inner.min, self.q, count)


# W&B's name -> the type it fills; a name that begins with q_ is the quantised form.
DISTRIBUTIONS: dict[str, type[Any]] = {
    "constant": Constant,
    "categorical": Categorical,
    "categorical_w_probabilities": CategoricalWithProbabilities,
    "int_uniform": IntUniform,
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "log_uniform_values": LogUniformValues,
    "inv_log_uniform": InvLogUniform,
    "inv_log_uniform_values": InvLogUniformValues,
    "normal": Normal,
    "log_normal": LogNormal,
    "beta": Beta,
}
QUANTISED: dict[str, str] = {
    "q_uniform": "uniform",
    "q_log_uniform": "log_uniform",
    "q_log_uniform_values": "log_uniform_values",
    "q_normal": "normal",
    "q_log_normal": "log_normal",
    "q_beta": "beta",
}


GIVEN = ("value", "values", "min", "max", "distribution", "parameters", "probabilities")


def read_distribution(place: Located) -> Distribution:
    """What a sweep file gives one parameter; raises ConfigError with the nearest right spelling."""
    _check_form(place)
    name = _distribution_name(place)
    kind = DISTRIBUTIONS[QUANTISED.get(name, name)]
    fields = {key: kid for key, kid in place.keys.items() if key != "distribution"}
    read = [field.name for field in dataclasses.fields(kind)] + ["q"] * (name in QUANTISED)
    place.known((*read, *GIVEN))
    told = f"does not go with {name}, which reads {', '.join(read)}"
    if foreign := [kid.said(told) for key, kid in fields.items() if key not in read]:
        raise ConfigError(*foreign)
    values = {key: _field(kid, key, name) for key, kid in fields.items()}
    needed = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING]
    if lacking := [key for key in needed if key not in values]:
        place.fail(f"{name} needs '{lacking[0]}'")
    quantum = values.pop("q", 1)
    try:
        built = kind(**values)
        return cast(Distribution, Quantised(built, quantum) if name in QUANTISED else built)
    except ValueError as error:
        place.fail(str(error))


def _check_form(place: Located) -> None:
    """Refuse what W&B's schema has no place for: bare values, and nested names without their
    `parameters`.
    """
    name = place.key.rpartition("parameters.")[2]
    if not isinstance(place.value, dict):
        key, what = ("values", "to try each") if isinstance(place.value, list) else ("value", "")
        place.fail(
            f"expected 'value', 'values' or 'min' and 'max', found {shown(place.value)}; "
            f"write {name}: {{{key}: {json.dumps(place.value)}}} {what or 'for a constant'}"
        )
    if place.keys and not set(place.keys) & {*GIVEN, "mu", "sigma", "a", "b", "q"}:
        inner, kid = next(iter(place.keys.items()))
        if kid.keys and set(kid.keys) & {*GIVEN}:
            place.fail(
                f"nested names stand below 'parameters': {name}: {{parameters: {{{inner}: ..}}}}"
            )


def _distribution_name(place: Located) -> str:
    known = (*DISTRIBUTIONS, *QUANTISED)
    given = place.keys.get("distribution")
    if given is not None:
        if given.value not in known:
            given.fail(f"unknown distribution{nearest(given.value, known)}")
        return str(given.value)
    keys = set(place.keys)
    if "value" in keys:
        return "constant"
    if "values" in keys:
        return "categorical_w_probabilities" if "probabilities" in keys else "categorical"
    if keys & {"min", "max"}:
        bounds = [place.keys[key].value for key in ("min", "max") if key in keys]
        return "int_uniform" if all(type(bound) is int for bound in bounds) else "uniform"
    place.known(GIVEN)
    place.fail("says nothing to choose from: give 'value', 'values' or 'min' and 'max'")


def _field(node: Located, key: str, distribution: str) -> Any:
    if key == "value":
        return node.value
    if key in ("values", "probabilities"):
        if not isinstance(node.value, list):
            node.fail(f"expected a list, found {shown(node.value)}")
        if key == "probabilities":
            return tuple(finite_number(item) for item in node.items)
        return tuple(node.value)
    number = finite_number(node)
    if distribution != "int_uniform":
        return number
    if not isinstance(whole(number), int):
        node.fail(f"int_uniform takes whole numbers, found {number}")
    return whole(number)


def finite_number(node: Located) -> float:
    """A number that a computer can calculate with; raises ConfigError."""
    if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
        node.fail(f"expected a number, found {shown(node.value)}")
    if not abs(node.value) <= sys.float_info.max:
        node.fail(f"expected a finite number, found {shown(node.value)}")
    return node.value
