"""A sweep, and which points it holds.

A parameter's name is a dotted override of the configuration (`loss.gamma`), and `config` chooses
a whole file. Points come in W&B's order: names sorted, the last one fastest. They are counted
without being listed: a grid of two thousand million points is a mistake, but not one to run out of
memory over.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from experiments.config.located import Located, whole
from experiments.config.words import short
from experiments.errors import Findings
from experiments.errors import shown as quoted
from experiments.sweep.distributions import Distribution, Quantised
from experiments.sweep.early_stop import Hyperband

Parameters = Mapping[str, object]
Method = Literal["grid", "random", "bayes"]
Goal = Literal["minimize", "maximize"]


@dataclass(frozen=True, slots=True)
class Metric:
    """What a sweep compares, a key of the record's metrics; reaching `target` ends the sweep."""

    name: str
    goal: Goal | None = None
    target: float | None = None

    def reached(self, value: float) -> bool:
        """Whether `value` is as good as the target."""
        if self.target is None:
            return False
        return value >= self.target if self.goal == "maximize" else value <= self.target


@dataclass(frozen=True, slots=True)
class Parameter:
    """One knob: its dotted name, where its values come from, its role and its line in the file."""

    name: str
    distribution: Distribution
    role: str | None
    place: Located

    def located(self, value: object) -> Located:
        """A value of this parameter at its own line, or at the parameter's."""
        for item in self.place.keys.get("values", self.place).items:
            if item.value == value and type(item.value) is type(value):
                return item
        single = self.place.keys.get("value")
        return single or dataclasses.replace(self.place, value=value, keys={}, items=())


@dataclass(frozen=True, slots=True)
class Study:
    """What a sweep asks of its report, by its x- keys; a contrast is (arm, against), by names."""

    question: str | None = None
    baseline: str | None = None
    published: tuple[Any, ...] = ()  # tables, or names of those in configs/studies
    contrasts: tuple[tuple[str, str], ...] = ()
    equivalence: float | None = None  # points below which a difference does not matter

    def names(self) -> Iterator[tuple[str, str]]:
        """The arms that are asked about, each with the key that names it."""
        if self.baseline is not None:
            yield "x-baseline", self.baseline
        yield from (("x-contrasts", name) for pair in self.contrasts for name in pair)


def read_study(root: Located, findings: Findings) -> Study:
    """The x- keys of a sweep file that its report reads; what is wrong with them is added to
    `findings`. A key that is left empty is not given.
    """
    given = {key: node for key, node in root.keys.items() if node.value is not None}
    found: dict[str, Any] = {}
    for name in ("question", "baseline"):
        if (node := given.get(f"x-{name}")) is not None:
            if isinstance(node.value, str):
                found[name] = node.value
            else:
                findings.add(node.said(f"expected text, found {quoted(node.value)}"))
    if (node := given.get("x-published")) is not None:
        tables = node.value if isinstance(node.value, list) else [node.value]
        if not all(isinstance(table, (str, Mapping)) for table in tables):
            findings.add(node.said(f"expected tables or their names, found {quoted(node.value)}"))
        found["published"] = tuple(tables)
    if (node := given.get("x-contrasts")) is not None:
        with findings.kept():
            found["contrasts"] = tuple(
                map(_contrast, node.items if isinstance(node.value, list) else (node,))
            )
    if (node := given.get("x-equivalence")) is not None:
        points = node.value
        if isinstance(points, bool) or not isinstance(points, (int, float)):
            findings.add(node.said(f"expected points above 0, found {quoted(points)}"))
        elif not 0 < points < math.inf:
            findings.add(node.said(f"expected points above 0, found {points}"))
        else:
            found["equivalence"] = float(points)
    return Study(**found)


def _contrast(node: Located) -> tuple[str, str]:
    names = [kid.value for kid in (node.keys.get(key) for key in ("arm", "against")) if kid]
    if len(node.keys) != 2 or len(names) != 2 or not all(isinstance(one, str) for one in names):
        node.fail(
            "expected {arm: NAME, against: NAME} as the report names arms, found "
            f"{quoted(node.value)}"
        )
    return names[0], names[1]


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep file, read and checked; `parameters` are in W&B's order, `fixed` is what the command
    gives to every trial.
    """

    path: Path
    name: str
    method: Method
    program: str | None
    command: tuple[str, ...]
    fixed: Mapping[str, Located]
    metric: Metric | None
    parameters: tuple[Parameter, ...]
    run_cap: int | None
    early_stop: Hyperband | None
    project: str | None
    entity: str | None
    seed: int  # of random draws: x-seed, 0 unless given
    trial_seconds: float | None  # x-trial-hours: what one trial may take over all its attempts
    tryout: int | None  # x-tryout-seeds: seeds of every nuisance setting; the best gets the others
    study: Study  # what is asked of its report
    tree: Located = field(repr=False)  # the file, for messages about its lines
    warnings: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """12 hex digits of what decides points and results; comments and run_cap do not."""
        knobs = {p.name: _plain(p.distribution) for p in self.parameters}
        body = [self.method, self.program, self.command, knobs, self.seed]
        return hashlib.sha256(canonical(body).encode()).hexdigest()[:12]

    def size(self) -> int | None:
        """How many points there are; None where there is no end."""
        if self.method != "grid":
            return None if self.run_cap is None else int(min(self.run_cap, self._different()))
        size = math.prod(len(choices) for choices in self.choices())
        return size if self.run_cap is None else min(size, self.run_cap)

    def _different(self) -> float:
        """How many points may be drawn, each of which runs once; infinite where one parameter has
        more values than can be listed.
        """
        listed = [parameter.distribution.choices() for parameter in self.parameters]
        if any(choices is None for choices in listed):
            return math.inf
        return math.prod(
            len({canonical(value) for value in choices})
            if isinstance(choices, tuple)
            else len(choices)
            for choices in listed
            if choices is not None
        )

    def choices(self) -> list[Sequence[Any]]:
        """The values of each parameter that a grid lists."""
        return [parameter.distribution.choices() or () for parameter in self.parameters]


def grid_points(sweep: Sweep) -> Iterator[dict[str, object]]:
    """Every point of a grid in order, cut at run_cap."""
    return (grid_point(sweep, n) for n in range(sweep.size() or 0))


def grid_point(sweep: Sweep, n: int) -> dict[str, object]:
    """The n-th point of a grid, from 0."""
    values: dict[str, object] = {}
    for parameter in reversed(sweep.parameters):
        choices = parameter.distribution.choices() or ()
        n, place = divmod(n, len(choices))
        values[parameter.name] = choices[place]
    return {parameter.name: values[parameter.name] for parameter in sweep.parameters}


def quantile(seed: int, index: int, name: str) -> float:
    """A number in [0, 1) that looks random and depends on nothing but its arguments."""
    digest = hashlib.sha256(f"{seed}/{index}/{name}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def canonical(value: object) -> str:
    """JSON with sorted keys in which 2.0 and 2 are the same number, as they are to W&B."""
    return json.dumps(_same_numbers(value), sort_keys=True, separators=(",", ":"))


def point_key(parameters: Parameters) -> str:
    """8 hex digits that name a point by its parameters."""
    return hashlib.sha256(canonical(parameters).encode()).hexdigest()[:8]


def _same_numbers(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _same_numbers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_same_numbers(item) for item in value]
    return whole(value)


def _plain(distribution: Any) -> list[object]:
    fields = dataclasses.asdict(distribution)
    if isinstance(distribution, Quantised):
        fields["inner"] = _plain(distribution.inner)
    return [type(distribution).__name__, fields]


def shown(parameters: Mapping[str, object]) -> str:
    """Parameters on one line, for people."""
    return " ".join(f"{name}={short(value)}" for name, value in parameters.items())
