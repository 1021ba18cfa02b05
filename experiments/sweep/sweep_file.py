"""Reads sweep.yaml, W&B's own schema, strictly: all that is wrong with a file in one message.

Nested `parameters` become dotted names. Roles of parameters come from `x-roles` or from a comment
that is nothing but the role.
"""

import dataclasses
import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from experiments.config.located import Located, read_located, read_text, whole
from experiments.config.words import project_fault
from experiments.errors import Findings, nearest, shown
from experiments.record.follow import number
from experiments.sweep.command import (
    DEFAULT_COMMAND,
    PROGRAM,
    check_macros,
    fixed_words,
    is_train,
    words_at,
)
from experiments.sweep.distributions import (
    Distribution,
    LogUniform,
    Quantised,
    finite_number,
    read_distribution,
)
from experiments.sweep.early_stop import Hyperband
from experiments.sweep.proposals import never_searched
from experiments.sweep.space import Method, Metric, Parameter, Sweep, canonical, read_study
from experiments.sweep.tryout import tryout_findings

METHODS = ("grid", "random", "bayes")
ROLES = ("scientific", "nuisance", "fixed", "seed")
GOALS = ("minimize", "maximize")
T = TypeVar("T")
# Keys of W&B's schema that only describe the sweep to its server.
DESCRIPTIVE = ("apiVersion", "kind", "controller", "description", "project", "entity")
NEEDS_SERVER = ("job", "image_uri", "scheduler", "metrics")
KNOWN = ("program", "command", "method", "name", "metric", "parameters", "run_cap")
TOP_LEVEL = (*KNOWN, "early_terminate", *DESCRIPTIVE, *NEEDS_SERVER)
OURS = (
    *("x-seed", "x-trial-hours", "x-roles", "x-tryout-seeds", "x-question", "x-baseline"),
    *("x-contrasts", "x-equivalence", "x-published"),
)
READ = (*TOP_LEVEL, *OURS)
LIKENESS = 0.8  # of a key to one of ours, from which it is a misspelling
CHOOSING = ("config", "name", "schedule", "shape", "mode", "preset")  # what others are read by
ROLE_COMMENT = re.compile(rf"(?:^|\s)#\s*({'|'.join(ROLES)})\s*$")
IMPUTING = ("impute", "impute_while_running")
LEAST_EXPONENT = 0.0  # log_uniform with such bounds was meant as log_uniform_values, nearly always


def read_sweep(path: Path) -> Sweep:
    """Read and check one sweep file; raises ConfigError, each finding as `file:line: key: what`."""
    reader = _Reader(read_located(path), Findings(), read_text(path).splitlines())
    sweep = reader.sweep()
    reader.findings.told()
    return sweep


def readable_part(path: Path) -> Sweep | None:
    """A faulty sweep file without the parameters at fault, so that all else can be judged; None
    where too little of it is left. Raises ConfigError where it is no YAML.
    """
    root = read_located(path)
    reader = _Reader(root, Findings(), read_text(path).splitlines())
    sweep = reader.sweep()
    if sweep.method not in METHODS:
        sweep = dataclasses.replace(sweep, method="grid")
    listed = [p for p in sweep.parameters if sweep.method != "grid" or p.distribution.choices()]
    names = {one.name for one in listed}
    given = set(_names_of(root.keys["parameters"])) if "parameters" in root.keys else set()
    choosing = any(name.rpartition(".")[2] in CHOOSING for name in given - names)
    if not listed or choosing or not reader.command_read or sweep.method == "bayes":
        return None
    return dataclasses.replace(sweep, parameters=tuple(listed))


def _names_of(node: Located, prefix: str = "") -> Iterator[str]:
    for key, kid in node.keys.items():
        if "parameters" in kid.keys:
            yield from _names_of(kid.keys["parameters"], f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


class _Reader:
    """Reads the parts of a file one by one; what is wrong with one does not hide the others."""

    def __init__(self, root: Located, findings: Findings, comments: list[str]) -> None:
        # a key that is left empty is as if it were not there
        given = {k: kid for k, kid in root.keys.items() if kid.value is not None or k not in READ}
        self.root, self.findings, self.comments = root.with_keys(given), findings, comments
        self.warnings: list[str] = []
        self.command_read = False

    def known(self) -> None:
        """Whether every key is one that is read; an x- key that resembles none of ours is not."""
        root, findings = self.root, self.findings
        own = [key for key in root.keys if key.startswith("x-") and key not in OURS]
        with findings.kept():
            root.known((*READ, *own))
        for key in own:
            plain = key.lower().replace("_", "-")
            close = difflib.get_close_matches(plain, OURS, n=1, cutoff=LIKENESS)
            if close:
                findings.add(
                    root.keys[key].said(f"unknown key {key!r}; did you mean {close[0]!r}?")
                )
            else:
                self.warnings.append(root.keys[key].said("nothing here reads this key"))
        for key in NEEDS_SERVER:
            if key in root.keys:
                what = "is carried out by W&B's server; a sweep run here cannot use it"
                findings.add(root.keys[key].said(what))

    def sweep(self) -> Sweep:
        """The sweep, as far as it can be read."""
        root, findings = self.root, self.findings
        self.known()
        for key in ("method", "parameters"):
            if key not in root.keys:
                findings.add(root.said(f"'{key}' is missing (needed: method and parameters)"))
        program = self.optional("program", str)
        parameters = self.parameters()
        command, fixed = self.command(program, any(one.name == "config" for one in parameters))
        method = self.method()
        metric = self.settings("metric", Metric, ignored=IMPUTING)
        early_stop = self.settings("early_terminate", Hyperband, ignored=("type",))
        sweep = Sweep(
            path=root.path,
            name=self.name(),
            method=method,
            program=program,
            command=command,
            fixed=fixed,
            metric=metric,
            parameters=parameters,
            run_cap=self.positive("run_cap"),
            early_stop=early_stop,
            project=self.optional("project", str),
            entity=self.optional("entity", str),
            seed=self.optional("x-seed", int) or 0,
            trial_seconds=self.hours("x-trial-hours"),
            tryout=self.positive("x-tryout-seeds"),
            study=read_study(root, findings),
            tree=root,
        )
        if sweep.project is not None and (fault := project_fault(sweep.project)) is not None:
            findings.add(root.keys["project"].said(fault))
        self.warn_of_imputing()
        self.check_goal(sweep)
        self.check_names(sweep)
        for told in tryout_findings(sweep):
            findings.add(root.keys["x-tryout-seeds"].said(told))
        if (never := never_searched(sweep)) is not None:
            self.warnings.append(f"{root.keys['run_cap'].place}: {never}")
        return dataclasses.replace(sweep, warnings=tuple(self.warnings))

    def warn_of_imputing(self) -> None:
        """Say what of the metric is left to W&B's server."""
        metric = self.root.keys.get("metric")
        for key in IMPUTING:
            if metric is not None and key in metric.keys:
                told = "holds on W&B's server; here a trial without the metric is left out"
                self.warnings.append(f"{metric.keys[key].place}: metric.{key}: {told}")

    def name(self) -> str:
        """The sweep's name as the name of a folder."""
        name = self.optional("name", str) or self.root.path.stem
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
        if not slug:
            told = f"holds no letter of a to z and no digit to name a folder by: {name!r}"
            node = self.root.keys.get("name")
            self.findings.add(node.said(told) if node else self.root.said(f"name: {told}"))
        return slug

    def method(self) -> Method:
        """grid, random or bayes."""
        node = self.root.keys.get("method")
        if node is not None and node.value not in METHODS:
            told = f"unknown method {shown(node.value)}{nearest(node.value, METHODS)}"
            self.findings.add(node.said(told))
        return cast(Method, node.value if node is not None else "grid")

    def command(
        self, program: str | None, swept: bool
    ) -> tuple[tuple[str, ...], dict[str, Located]]:
        """The words of the command, and what they give to every trial; `swept`: recipes are."""
        node = self.root.keys.get("command")
        if node is None:
            if program is None:
                self.findings.add(
                    self.root.said(
                        f"'command' is missing: say how to run a trial, or 'program: {PROGRAM}'"
                    )
                )
            self.command_read = program is not None
            return DEFAULT_COMMAND, {}
        with self.findings.kept():
            places = words_at(node)
            if isinstance(node.value, str):
                told = "is one text: W&B's agents read a list alone, and run 'program' instead"
                self.warnings.append(node.said(told))
            listed = [str(item.value) for item in places]
            try:
                check_macros(listed, program)
            except ValueError as error:
                node.fail(str(error))
            words = {str(item.value): item for item in places}
            fixed = fixed_words(listed, words, program, swept=swept)
            if swept and "config" in fixed and is_train(listed, program):
                told = "a parameter of this name is in force in every trial, this recipe in none"
                self.warnings.append(f"{fixed['config'].place}: config: {told}")
            self.command_read = True
            return tuple(listed), fixed
        return DEFAULT_COMMAND, {}

    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters, nested ones by dotted names, in W&B's order."""
        node = self.root.keys.get("parameters")
        if node is None:
            return ()
        roles = self.roles()
        found = tuple(self.below(node, roles))
        names = [parameter.name for parameter in found]
        for parameter in found:
            if names.count(parameter.name) > 1:
                told = "given twice, once nested and once dotted"
                self.findings.add(parameter.place.said(told))
        lines = Counter(one.place.line for one in found if one.role and one.name not in roles)
        for line in (line for line, several in lines.items() if several > 1):
            told = "its comment stands behind several parameters; a line each, or x-roles"
            self.findings.add(f"{self.root.path}:{line}: {told}")
        return found

    def below(
        self, node: Located, roles: Mapping[str, str], prefix: str = ""
    ) -> Iterator[Parameter]:
        """The parameters of one mapping."""
        with self.findings.kept():
            if not node.mapping():
                node.fail("at least one parameter is needed")
        for key, place in sorted(node.keys.items()):
            name = f"{prefix}{key}"
            with self.findings.kept():
                if "parameters" in place.keys:
                    place.known(("parameters",))
                    if name == "config":
                        place.fail("give 'value' or 'values': {_base_: FILE, what differs: ..}")
                    yield from self.below(place.keys["parameters"], roles, f"{name}.")
                    continue
                distribution = read_distribution(place)
                self.warn(name, distribution, place)
                comment = ROLE_COMMENT.search(self.comments[place.line - 1])
                role = roles.get(name) or (comment.group(1) if comment else None)
                yield Parameter(name, distribution, role, place)

    def warn(self, name: str, distribution: Distribution, place: Located) -> None:
        """W&B's own trap: log_uniform takes exponents."""
        inner = distribution.inner if isinstance(distribution, Quantised) else distribution
        if isinstance(inner, LogUniform) and inner.min > LEAST_EXPONENT - 1 and inner.max < 1:
            low, high = distribution.at(0.0), distribution.at(1 - 2.0**-53)
            self.warnings.append(
                f"{place.place}: {name}: log_uniform takes exponents, here and at W&B: "
                f"{inner.min:g} to {inner.max:g} draws from {low:.4g} to {high:.4g}. For values "
                f"from {inner.min:g} to {inner.max:g} write distribution: log_uniform_values"
            )

    def roles(self) -> dict[str, str]:
        """`x-roles`."""
        node = self.root.keys.get("x-roles")
        if node is None:
            return {}
        with self.findings.kept():
            for kid in node.mapping().values():
                if kid.value not in ROLES:
                    told = f"unknown role {shown(kid.value)}{nearest(kid.value, ROLES)}"
                    self.findings.add(kid.said(told))
        return {name: str(kid.value) for name, kid in node.keys.items()}

    def check_names(self, sweep: Sweep) -> None:
        """Roles and values that the whole file has to bear out."""
        names = [parameter.name for parameter in sweep.parameters]
        roles = self.root.keys.get("x-roles")
        for name, kid in roles.keys.items() if roles else ():
            if name not in names:
                self.findings.add(kid.said(f"no parameter has this name{nearest(name, names)}"))
        if sweep.method == "grid":
            for parameter in sweep.parameters:
                with self.findings.kept():
                    _check_grid_values(parameter)

    def check_goal(self, sweep: Sweep) -> None:
        """Whether the metric says what the sweep needs to know."""
        keys, metric = self.root.keys, sweep.metric
        needs = {
            "early_terminate": "early_terminate needs 'metric', to know what to judge trials by",
            "method": "bayes needs 'metric', to know what to improve",
        }
        if sweep.early_stop is None or "early_terminate" not in keys:
            del needs["early_terminate"]
        if sweep.method != "bayes":
            del needs["method"]
        if "metric" not in keys:
            for key, told in needs.items():
                self.findings.add(keys[key].said(told))
        elif metric is not None and metric.goal is None and (needs or metric.target is not None):
            self.findings.add(
                keys["metric"].said(f"goal: is needed here: {' or '.join(GOALS)} {metric.name}?")
            )

    def optional(self, key: str, kind: type[T]) -> T | None:
        """A key's value of the given kind, or None."""
        node = self.root.keys.get(key)
        if node is None:
            return None
        value = whole(node.value) if kind is int else node.value
        if not isinstance(value, kind) or isinstance(value, bool):
            wanted = "a whole number" if kind is int else "text, in quotes"
            self.findings.add(node.said(f"expected {wanted}, found {shown(node.value)}"))
            return None
        return value

    def hours(self, key: str) -> float | None:
        """Hours above 0 as seconds, or None."""
        node = self.root.keys.get(key)
        if node is None:
            return None
        hours = number(node.value)
        if hours is None or hours <= 0:
            self.findings.add(node.said(f"expected hours above 0, found {shown(node.value)}"))
            return None
        return 3600 * hours

    def positive(self, key: str) -> int | None:
        """A whole number from 1, or None."""
        value = self.optional(key, int)
        if value is not None and value < 1:
            self.findings.add(self.root.keys[key].said(f"must be >= 1, found {value}"))
        return value

    def settings(self, key: str, kind: type[T], ignored: tuple[str, ...]) -> T | None:
        """A mapping of the file as a dataclass."""
        node = self.root.keys.get(key)
        if node is None:
            return None
        fields = [field.name for field in dataclasses.fields(cast(Any, kind))]
        with self.findings.kept():
            node.known((*fields, *ignored))
            if key == "early_terminate" and node.value.get("type") != "hyperband":
                found = shown(node.value.get("type"))
                node.fail(f"type: 'hyperband' is the one there is, found {found}")
            if kind is Metric and "name" not in node.keys:
                node.fail("'name' is missing: which key of the record's metrics?")
            _check_types(node)
            values = {name: whole(kid.value) for name, kid in node.keys.items() if name in fields}
            try:
                return kind(**values)
            except (TypeError, ValueError) as error:
                node.fail(str(error))
        return None


def _check_types(node: Located) -> None:
    for name, kid in node.keys.items():
        if name in ("min_iter", "max_iter", "s") and type(whole(kid.value)) is not int:
            kid.fail(f"expected a whole number, found {shown(kid.value)}")
        if name in ("target", "eta"):
            finite_number(kid)
        if name == "strict" and not isinstance(kid.value, bool):
            kid.fail(f"expected true or false, found {shown(kid.value)}")
        if name == "name" and not isinstance(kid.value, str):
            kid.fail(f"expected text, found {shown(kid.value)}")
        if name == "goal" and kid.value not in GOALS:
            kid.fail(f"unknown goal {shown(kid.value)}{nearest(kid.value, GOALS)}")


def _check_grid_values(parameter: Parameter) -> None:
    choices = parameter.distribution.choices()
    if choices is None:
        parameter.place.fail("a grid needs values to list: give 'values', or use method random")
    seen: set[str] = set()
    for value in choices if isinstance(choices, tuple) else ():  # others count up: none is twice
        text = canonical(value)
        if text in seen:
            parameter.place.fail(f"the value {shown(value)} is listed twice; a grid runs it once")
        seen.add(text)
