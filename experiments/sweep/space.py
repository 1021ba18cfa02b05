"""Reads sweep.yaml, W&B's own schema, strictly; and says which points it holds.

A parameter's name is a dotted override of the configuration (`loss.gamma`), and `config` chooses
a whole file. Nested `parameters` are dotted too. Points come in W&B's order: names sorted, the
last one fastest.
"""

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from experiments.config.located import Located, read_located
from experiments.errors import ConfigError, nearest, shown
from experiments.sweep.command import DEFAULT_COMMAND, check_macros, fixed_arguments
from experiments.sweep.distributions import DISTRIBUTIONS, QUANTISED, Distribution, Quantised
from experiments.sweep.early_stop import Hyperband

Parameters = Mapping[str, object]
Check = Callable[[Parameters], None]
Method = Literal["grid", "random", "bayes"]
METHODS = ("grid", "random", "bayes")
ROLES = ("scientific", "nuisance", "fixed", "seed")
T = TypeVar("T")
# Keys of W&B's schema that only describe the sweep to its server.
DESCRIPTIVE = ("apiVersion", "kind", "controller", "description", "project", "entity")
NEEDS_SERVER = ("job", "image_uri", "scheduler", "metrics")
KNOWN = ("program", "command", "method", "name", "metric", "parameters", "run_cap")
TOP_LEVEL = (*KNOWN, "early_terminate", *DESCRIPTIVE, *NEEDS_SERVER)
ROLE_COMMENT = re.compile(rf"#\s*({'|'.join(ROLES)})\b")


@dataclass(frozen=True, slots=True)
class Metric:
    """What a sweep compares, a key of the record's metrics; reaching `target` ends the sweep."""

    name: str
    goal: Literal["minimize", "maximize"] = "minimize"
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


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep file, read and checked; `parameters` are in W&B's order."""

    path: Path
    name: str
    method: Method
    program: str | None
    command: tuple[str, ...]
    metric: Metric | None
    parameters: tuple[Parameter, ...]
    run_cap: int | None
    early_stop: Hyperband | None
    project: str | None
    entity: str | None
    seed: int  # of random draws: x-seed, 0 unless given

    def fingerprint(self) -> str:
        """12 hex digits of what decides points and results; comments and run_cap do not."""
        knobs = {p.name: _plain(p.distribution) for p in self.parameters}
        body = [self.method, self.program, self.command, knobs, self.seed]
        return hashlib.sha256(canonical(body).encode()).hexdigest()[:12]

    def size(self) -> int | None:
        """How many points there are; None where there is no end."""
        if self.method != "grid":
            return self.run_cap
        size = 1
        for parameter in self.parameters:
            size *= len(parameter.distribution.choices() or ())
        return size if self.run_cap is None else min(size, self.run_cap)


def read_sweep(path: Path) -> Sweep:
    """Read and check one sweep file; raises ConfigError as `file:line: key: what is wrong`."""
    root = read_located(path)
    root.known(TOP_LEVEL + tuple(key for key in root.mapping() if key.startswith("x-")))
    for key in NEEDS_SERVER:
        if key in root.keys:
            root.keys[key].fail("is carried out by W&B's server; a sweep run here cannot use it")
    if "method" not in root.keys or "parameters" not in root.keys:
        missing = [key for key in ("method", "parameters") if key not in root.keys]
        root.fail(f"'{missing[0]}' is missing (needed: method and parameters)")
    program = _optional(root, "program", str)
    comments = path.read_text(encoding="utf-8").splitlines()
    sweep = Sweep(
        path=path,
        name=_name(root, path),
        method=_method(root.keys["method"]),
        program=program,
        command=_command(root, program),
        metric=_settings(root, "metric", Metric, ignored=("impute", "impute_while_running")),
        parameters=tuple(_parameters(root.keys["parameters"], _roles(root), comments)),
        run_cap=_positive(root, "run_cap"),
        early_stop=_settings(root, "early_terminate", Hyperband, ignored=("type",)),
        project=_optional(root, "project", str),
        entity=_optional(root, "entity", str),
        seed=_optional(root, "x-seed", int) or 0,
    )
    _check_whole(sweep, root)
    return sweep


def grid_points(sweep: Sweep) -> Iterator[dict[str, object]]:
    """Every point of a grid in order, cut at run_cap."""
    names = [parameter.name for parameter in sweep.parameters]
    choices = [parameter.distribution.choices() or () for parameter in sweep.parameters]
    for values in itertools.islice(itertools.product(*choices), sweep.run_cap):
        yield dict(zip(names, values, strict=True))


def quantile(seed: int, index: int, name: str) -> float:
    """A number in [0, 1) that looks random and depends on nothing but its arguments."""
    digest = hashlib.sha256(f"{seed}/{index}/{name}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def check_points(sweep: Sweep, points: Iterable[Parameters], check: Check) -> None:
    """Let `check` judge every one of `points`; names the file, line and point at fault.

    `check` receives the trial's overrides together with those fixed in `command`, and raises
    ValueError.
    """
    fixed = fixed_arguments(sweep.command)
    for point in points:
        check_point(sweep, {**fixed, **point}, check)


def check_point(sweep: Sweep, overrides: Parameters, check: Check) -> None:
    """Let `check` judge one point, and say which line of the sweep file its complaint is about."""
    try:
        check(overrides)
    except ValueError as error:
        text = str(error)
        names = sorted((p.name for p in sweep.parameters), key=len, reverse=True)
        blamed = next((name for name in names if name in text), None)
        places = {p.name: p.place for p in sweep.parameters}
        where = f"{sweep.path}:{places[blamed].line}: {blamed}" if blamed else f"{sweep.path}"
        point = " ".join(f"{name}={shown(value)}" for name, value in overrides.items())
        raise ConfigError(
            f"{where}: no trial was started: {text} (in the trial {point})"
        ) from error


def canonical(value: object) -> str:
    """JSON with sorted keys in which 2.0 and 2 are the same number, as they are to W&B."""
    return json.dumps(_same_numbers(value), sort_keys=True, separators=(",", ":"))


def point_key(parameters: Parameters) -> str:
    """8 hex digits that name a point by its parameters."""
    return hashlib.sha256(canonical(parameters).encode()).hexdigest()[:8]


def _same_numbers(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _same_numbers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_same_numbers(item) for item in value]
    return value


def _plain(distribution: Any) -> list[object]:
    fields = dataclasses.asdict(distribution)
    if isinstance(distribution, Quantised):
        fields["inner"] = _plain(distribution.inner)
    return [type(distribution).__name__, fields]


def _name(root: Located, path: Path) -> str:
    name = _optional(root, "name", str) or path.stem
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    if not slug:
        root.keys["name"].fail(f"holds no letter or digit to name a folder by: {name!r}")
    return slug


def _method(node: Located) -> Method:
    if node.value not in METHODS:
        node.fail(f"unknown method {shown(node.value)}{nearest(str(node.value), METHODS)}")
    return cast(Method, node.value)


def _command(root: Located, program: str | None) -> tuple[str, ...]:
    node = root.keys.get("command")
    if node is None:
        if program is None:
            root.fail("'command' is missing: say how to run a trial, or give 'program'")
        return DEFAULT_COMMAND
    value = node.value.split() if isinstance(node.value, str) else node.value
    if not isinstance(value, list) or not value:
        node.fail(f"expected a list of words, found {shown(value)}")
    for item in node.items:
        if not isinstance(item.value, (str, int, float)) or isinstance(item.value, bool):
            item.fail(f"expected a word, found {shown(item.value)}; put it in quotes")
    words = tuple(str(word) for word in value)
    try:
        check_macros(words, program)
    except ValueError as error:
        node.fail(str(error))
    return words


def _parameters(
    node: Located, roles: Mapping[str, str], comments: list[str], prefix: str = ""
) -> Iterator[Parameter]:
    if not node.mapping():
        node.fail("at least one parameter is needed")
    for key, place in sorted(node.keys.items()):
        name = f"{prefix}{key}"
        if not isinstance(place.value, dict):
            place.fail(
                f"expected 'value', 'values' or 'min' and 'max', found {shown(place.value)}; "
                f"write {key}: {{value: {shown(place.value)}}} for a constant"
            )
        if "parameters" in place.keys:
            place.known(("parameters",))
            yield from _parameters(place.keys["parameters"], roles, comments, f"{name}.")
            continue
        comment = ROLE_COMMENT.search(comments[place.line - 1])
        role = roles.get(name) or (comment.group(1) if comment else None)
        yield Parameter(name, _distribution(place), role, place)


def _distribution(place: Located) -> Distribution:
    name = _distribution_name(place)
    inner = QUANTISED.get(name, name)
    kind = DISTRIBUTIONS[inner]
    fields = {key: kid for key, kid in place.keys.items() if key != "distribution"}
    names = [field.name for field in dataclasses.fields(kind)]
    place.known((*names, *(("q",) if name in QUANTISED else ()), "distribution"))
    values = {key: _field(kid, key, name) for key, kid in fields.items()}
    needed = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.name not in values
    ]
    if needed:
        place.fail(f"{name} needs '{needed[0]}'")
    quantum = values.pop("q", 1)
    try:
        built = kind(**values)
        return cast(Distribution, Quantised(built, quantum) if name in QUANTISED else built)
    except ValueError as error:
        place.fail(str(error))


def _distribution_name(place: Located) -> str:
    known = (*DISTRIBUTIONS, *QUANTISED)
    given = place.keys.get("distribution")
    if given is not None:
        if given.value not in known:
            given.fail(f"unknown distribution{nearest(str(given.value), known)}")
        return str(given.value)
    keys = set(place.keys)
    if "value" in keys:
        return "constant"
    if "values" in keys:
        return "categorical_w_probabilities" if "probabilities" in keys else "categorical"
    if keys & {"min", "max"}:
        bounds = [place.keys[key].value for key in ("min", "max") if key in keys]
        return "int_uniform" if all(type(bound) is int for bound in bounds) else "uniform"
    spellings = ("value", "values", "min", "max", "distribution", "parameters", "probabilities")
    for key, kid in place.keys.items():
        if key not in spellings:
            kid.fail(f"unknown key '{key}'{nearest(key, spellings)}")
    place.fail("says nothing to choose from: give 'value', 'values' or 'min' and 'max'")


def _field(node: Located, key: str, distribution: str) -> Any:
    if key == "value":
        return node.value
    if key in ("values", "probabilities"):
        if not isinstance(node.value, list):
            node.fail(f"expected a list, found {shown(node.value)}")
        if key == "probabilities":
            return tuple(_number(item) for item in node.items)
        return tuple(node.value)
    number = _number(node)
    if distribution == "int_uniform" and not isinstance(number, int):
        node.fail(f"int_uniform takes whole numbers, found {number}")
    return number


def _number(node: Located) -> float:
    if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
        node.fail(f"expected a number, found {shown(node.value)}")
    return node.value


def _roles(root: Located) -> dict[str, str]:
    node = root.keys.get("x-roles")
    if node is None:
        return {}
    for kid in node.mapping().values():
        if kid.value not in ROLES:
            kid.fail(f"unknown role {shown(kid.value)}{nearest(str(kid.value), ROLES)}")
    return {name: str(kid.value) for name, kid in node.keys.items()}


def _optional(root: Located, key: str, kind: type[T]) -> T | None:
    node = root.keys.get(key)
    if node is None:
        return None
    if not isinstance(node.value, kind) or isinstance(node.value, bool):
        node.fail(f"expected {kind.__name__}, found {shown(node.value)}")
    return node.value


def _positive(root: Located, key: str) -> int | None:
    value = _optional(root, key, int)
    if value is not None and value < 1:
        root.keys[key].fail(f"must be >= 1, found {value}")
    return value


def _settings(root: Located, key: str, kind: type[T], ignored: tuple[str, ...]) -> T | None:
    node = root.keys.get(key)
    if node is None:
        return None
    fields = dataclasses.fields(cast(Any, kind))
    node.known((*(field.name for field in fields), *ignored))
    if key == "early_terminate" and node.value.get("type") != "hyperband":
        node.fail(f"type: 'hyperband' is the one there is, found {node.value.get('type')!r}")
    values = {name: kid.value for name, kid in node.keys.items() if name not in ignored}
    _check_types(node, kind)
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        node.fail(str(error))


def _check_types(node: Located, kind: type[Any]) -> None:
    numeric = {"target", "eta"}
    for name, kid in node.keys.items():
        if name in ("min_iter", "max_iter", "s") and type(kid.value) is not int:
            kid.fail(f"expected a whole number, found {shown(kid.value)}")
        if name in numeric:
            _number(kid)
        if name == "strict" and not isinstance(kid.value, bool):
            kid.fail(f"expected true or false, found {shown(kid.value)}")
        if name == "name" and not isinstance(kid.value, str):
            kid.fail(f"expected text, found {shown(kid.value)}")
        if name == "goal" and kid.value not in ("minimize", "maximize"):
            kid.fail(f"unknown goal{nearest(str(kid.value), ('minimize', 'maximize'))}")
    if kind is Metric and "name" not in node.keys:
        node.fail("'name' is missing: which key of the record's metrics?")


def _check_whole(sweep: Sweep, root: Located) -> None:
    names = [parameter.name for parameter in sweep.parameters]
    for parameter in sweep.parameters:
        if names.count(parameter.name) > 1:
            parameter.place.fail("given twice, once nested and once dotted")
        if sweep.method == "grid":
            _check_grid_values(parameter)
    if sweep.early_stop is not None and sweep.metric is None:
        root.keys["early_terminate"].fail("needs 'metric', to know what to judge trials by")
    if sweep.method == "bayes" and sweep.metric is None:
        root.keys["method"].fail("bayes needs 'metric', to know what to improve")


def _check_grid_values(parameter: Parameter) -> None:
    choices = parameter.distribution.choices()
    if choices is None:
        parameter.place.fail("a grid needs values to list: give 'values', or use method random")
    seen: set[str] = set()
    for value in choices:
        text = canonical(value)
        if text in seen:
            parameter.place.fail(f"the value {shown(value)} is listed twice; a grid runs it once")
        seen.add(text)
