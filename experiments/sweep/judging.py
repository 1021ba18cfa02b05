"""What is wrong with a sweep's points, asked of the recipes' own reader.

Run by `checking.py` as `python -m experiments.sweep.judging`, since that reader brings torch: the
process that owns a sweep stays small. A line of its input is [FILE, COUNT], a sweep whose first
points are judged. It prints one JSON object a line: {"of": n},
{"done": n}, {"places": [[kind, tape], ...]} of a grid's points one after the other, {"finding":
text}, {"invalid": key of a point, "why": text}, {"kind": configuration, "trials": n, "tapes": n}
and {"end": true}. Any other line is a point of the last such file, answered by
{"why": text or null}.
"""

import dataclasses
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.config.located import Located, dotted, near_files
from experiments.config.resolve import named_recipe
from experiments.config.run import Recipes, RunConfig, Tracking, plain_config
from experiments.config.seen import why_not_choose
from experiments.config.upstream import chosen, shares_tapes
from experiments.config.words import arm_name, is_one_name
from experiments.errors import ConfigError, UserError, nearest, shown
from experiments.evaluation.measures import measure_keys
from experiments.record.follow import VAL
from experiments.record.parts import NUMBERS
from experiments.sweep.checking import FAULTY
from experiments.sweep.command import at
from experiments.sweep.paces import kind_of
from experiments.sweep.proposals import first_points
from experiments.sweep.space import Parameters, Sweep, canonical, grid_point, point_key
from experiments.sweep.sweep_file import CHOOSING, read_sweep, readable_part

MOST_POINTS = 100_000  # of a grid that is looked at one by one
MOST_VALUES = 1_000  # of one parameter that is looked at by itself
MOST_KINDS = 500  # of different cost that are told apart
MOST_TOLD = 20  # findings about combinations of values; the rest is counted
TELL_EVERY = 100
MEASURED = (*NUMBERS, *measure_keys())
METRICS = (*MEASURED, *(f"{VAL}{name}" for name in MEASURED))
Event = Mapping[str, Any]


class Judge:
    """Builds the configuration of points, as their trials will."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self._recipes = Recipes()
        self._places = {
            parameter.name: {_token(item.value): item for item in values.items}
            for parameter in sweep.parameters
            if (values := parameter.place.keys.get("values")) is not None
        }
        self._parameters = {parameter.name: parameter for parameter in sweep.parameters}
        self._silent = Tracking()
        self._leaks: dict[str, str | None] = {}  # by data: why val may not choose
        self.kinds: dict[str, dict[str, Any]] = {}  # a configuration of each pace and length
        self.trials: Counter[str] = Counter()
        self.tapes: Counter[str] = Counter()  # of each kind, those that no kind before it needs
        self._taped: set[str] = set()
        self._asked = [*sweep.study.names()]
        self.places: list[tuple[str, str | None]] = []  # kind and tape of each point counted
        self.arms: set[str] = set()  # names of their arms, where the study asks about some

    def digest(self, point: Parameters) -> str:
        """What is equal for two points exactly if their trials would be the same; raises
        ConfigError with all that is wrong with the point.
        """
        return _digest(self.plain(point))

    def counted(self, point: Parameters) -> str:
        """The digest of a point that will be a trial: `kinds` has it then."""
        config = self.config(point)
        plain = self._plain(config)
        self._check_choosing(config, plain)
        if self._asked:
            self.arms.add(config.arm or arm_name(plain))
        flat = dotted(plain)
        key = f"{plain['train']['iterations']} {kind_of(flat)}"
        if key not in self.kinds and len(self.kinds) >= MOST_KINDS:
            key = next(reversed(self.kinds))
        self.kinds.setdefault(key, plain)
        self.trials[key] += 1
        tape = _hashed(canonical(chosen(flat, "train"))) if shares_tapes(flat) else None
        if tape is not None and tape not in self._taped:
            self._taped.add(tape)
            self.tapes[key] += 1
        self.places.append((_hashed(key), tape))
        return _digest(plain)

    def plain(self, point: Parameters) -> dict[str, Any]:
        """What decides a point's result, as plain values."""
        return self._plain(self.config(point))

    def _plain(self, config: RunConfig) -> dict[str, Any]:
        self._check_stopping(config.train)
        return plain_config(dataclasses.replace(config, tracking=self._silent, arm=None))

    def config(self, point: Parameters) -> RunConfig:
        """The configuration of a point; raises ConfigError with all that is wrong with it."""
        values = [*self.sweep.fixed.items(), *self._located(point)]
        recipes = [node for name, node in values if name == "config"]
        if not recipes:
            raise ConfigError(
                f"{self.sweep.path}: no recipe: add '--config FILE' to the command, or a parameter "
                "'config'"
            )
        recipe, words = named_recipe(recipes[-1])
        words += [(name, node) for name, node in values if name != "config"]
        if not recipe.is_file():
            recipes[-1].fail(f"config: {recipe}: no such file{near_files(recipe)}")
        return self._recipes.resolve(recipe, words).config

    def unknown_arms(self) -> Iterator[str]:
        """The names by which the study asks about no arm of the points that were counted; a name
        may have its setting behind it, and go without its detector.
        """
        known = {words for arm in self.arms for words in (arm, arm.partition(" ")[2]) if words}
        for key, name in self._asked:
            bare = name.partition(" (")[0]
            if not any(is_one_name(bare, arm) or is_one_name(name, arm) for arm in known):
                node = self.sweep.tree.keys[key]
                told = f"no arm of this sweep is called {name!r}{nearest(name, sorted(self.arms))}"
                yield node.said(told)

    def why(self, point: Parameters) -> str | None:
        """What is wrong with one point, or None."""
        try:
            self.counted(point)
        except ConfigError as error:
            return str(error)
        return None

    def _located(self, point: Parameters) -> Iterator[tuple[str, Located]]:
        for name, value in point.items():
            place = self._places.get(name, {}).get(_token(value))
            yield name, place or at(value, self._parameters[name].place)

    def _check_choosing(self, config: RunConfig, plain: Mapping[str, Any]) -> None:
        """Where the metric is val's, there is a val; where trials are chosen by it, val shares no
        image with what measures them. Each set of data is looked at once.
        """
        metric, chooser = self.sweep.metric, _chooser(self.sweep)
        if metric is None or not metric.name.startswith(VAL):
            return
        if not chooser:
            if plain["data"].get("val") is None:
                name = self.sweep.tree.keys["metric"].keys["name"]
                name.fail("is of val, and data.val is null: no record would hold it")
            return
        key = json.dumps([plain["data"], plain["evaluate"]["split"]], sort_keys=True)
        if key not in self._leaks:
            try:
                self._leaks[key] = why_not_choose(config)
            except UserError:  # data that are not there: told by the trial
                self._leaks[key] = None
        if (why := self._leaks[key]) is not None:
            self.sweep.tree.keys["metric"].keys["name"].fail(f"{chooser} by it, and {why}")

    def _check_stopping(self, train: Any) -> None:
        node = self.sweep.tree.keys.get("early_terminate")
        if self.sweep.early_stop is None or node is None:
            return
        if train.validate_every is None:
            node.fail(
                "judges trials by the validations of their training, and train.validate_every is "
                "null: give it in the recipe, in the command or as a parameter"
            )
        first, most = self.sweep.early_stop.bands()[0], train.iterations // train.validate_every
        if first > most:
            node.fail(
                f"judges trials from validation {first} on, and train.iterations "
                f"{train.iterations} with train.validate_every {train.validate_every} make {most}"
            )


def _digest(plain: Mapping[str, Any]) -> str:
    return _hashed(json.dumps(plain, sort_keys=True), 24)


def _hashed(text: str, letters: int = 8) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:letters]


def judged(sweep: Sweep, count: int) -> Iterator[Event]:
    """What is wrong with `sweep` and its first `count` points."""
    judge = Judge(sweep)
    for told in filter(None, (_metric_finding(sweep), _choice_finding(sweep))):
        yield {"finding": told}
    if sweep.method == "grid":
        found = False
        for finding in _alone(judge):
            found = True
            yield {"finding": finding}
        if not found:
            yield from _together(judge, min(count, MOST_POINTS))
    else:
        yield from _drawn(judge, count)
    for key, plain in judge.kinds.items():
        tapes = judge.tapes[key] if shares_tapes(dotted(plain)) else None
        yield {"kind": plain, "trials": judge.trials[key], "tapes": tapes}


def _metric_finding(sweep: Sweep) -> str | None:
    if sweep.metric is None or sweep.metric.name in METRICS:
        return None
    place = sweep.tree.keys["metric"].keys["name"]
    found = shown(sweep.metric.name)
    return place.said(f"{found} is no number of a record{nearest(sweep.metric.name, METRICS)}")


def _choice_finding(sweep: Sweep) -> str | None:
    """Where trials are chosen among by their results: why that may not be by this metric."""
    metric = sweep.metric
    if metric is None or metric.name not in METRICS or not (chooser := _chooser(sweep)):
        return None
    place = sweep.tree.keys["metric"].keys["name"]
    if not metric.name.startswith(VAL):
        return place.said(
            f"{chooser} by it, and the images that measure a run must not choose: "
            f"{VAL}{metric.name}"
        )
    return None


def _chooser(sweep: Sweep) -> str:
    """What of the sweep chooses by its metric; "" where nothing does."""
    if sweep.method == "bayes":
        return "bayes proposes points"
    if sweep.early_stop is not None:
        return "early_terminate stops trials"
    if sweep.tryout is not None:
        return "x-tryout-seeds keeps the best setting"
    target = None if sweep.metric is None else sweep.metric.target
    return "" if target is None else "target ends the sweep"


def _alone(judge: Judge) -> Iterator[str]:
    """What is wrong with the first point, and with it under each value of each parameter. Where the
    first point is wrong itself, parameters at fault are left out of it to see what else is.
    """
    sweep = judge.sweep
    first = grid_point(sweep, 0)
    told: dict[str, None] = dict.fromkeys(_findings(judge, first))
    wrong = {name for name in first if any(f": {name}: " in finding for finding in told)}
    if not any(name.rpartition(".")[2] in CHOOSING for name in wrong):
        first = {name: value for name, value in first.items() if name not in wrong}
    for parameter, choices in zip(sweep.parameters, sweep.choices(), strict=True):
        for value in choices[0 if wrong else 1 : MOST_VALUES]:
            told |= dict.fromkeys(_findings(judge, {**first, parameter.name: value}))
    yield from told


def _together(judge: Judge, count: int) -> Iterator[Event]:
    """What is wrong with combinations; and points that are one configuration."""
    seen: dict[str, int] = {}
    bad: Counter[str] = Counter()
    firsts: dict[str, Parameters] = {}
    yield {"of": count}
    for n in range(count):
        point = grid_point(judge.sweep, n)
        try:
            digest = judge.counted(point)
        except ConfigError as error:
            for finding in error.findings:
                firsts.setdefault(finding, point)
            bad.update(error.findings)
            continue
        finally:
            if n % TELL_EVERY == TELL_EVERY - 1 or n == count - 1:
                yield {"done": n + 1}
        if digest in seen:
            other = seen[digest]
            text = _equal(judge.sweep, other, n)
            firsts.setdefault(text, point)
            bad[text] += 1
        seen.setdefault(digest, n)
    if not bad:
        yield {"places": judge.places}
        if count == judge.sweep.size():
            yield from ({"finding": told} for told in judge.unknown_arms())
    for finding, times in list(bad.items())[:MOST_TOLD]:
        more = f", and in {times - 1} more" if times > 1 else ""
        yield {"finding": f"{finding} (in the point {_words(firsts[finding])}{more})"}
    if len(bad) > MOST_TOLD:
        yield {"finding": f"{judge.sweep.path}: {len(bad) - MOST_TOLD} more of this kind"}


def _equal(sweep: Sweep, one: int, other: int) -> str:
    first, second = grid_point(sweep, one), grid_point(sweep, other)
    differing = [name for name in first if first[name] != second[name]]
    place = next(p.place for p in sweep.parameters if p.name == differing[-1])
    values = (_words({name: p[name] for name in differing}) for p in (first, second))
    return (
        f"{place.place}: points {one} and {other} are one configuration: {' and '.join(values)} "
        "differ in nothing; leave one out"
    )


def _drawn(judge: Judge, count: int) -> Iterator[Event]:
    """Draws fail one by one, as trials; the sweep is refused where all do."""
    points = first_points(dataclasses.replace(judge.sweep, method="random"), count)
    yield {"of": len(points)}
    reasons = {}
    for n, point in enumerate(points):
        try:
            judge.counted(point)
        except ConfigError as error:
            reasons[n] = error.findings
        if n % TELL_EVERY == TELL_EVERY - 1 or n == len(points) - 1:
            yield {"done": n + 1}
    if points and len(reasons) == len(points):
        yield from ({"finding": finding} for finding in reasons[0])
    elif judge.sweep.method == "random":  # a bayes sweep will draw others
        for n, why in reasons.items():
            yield {"invalid": point_key(points[n]), "why": "\n".join(why)}


def _findings(judge: Judge, point: Parameters) -> Sequence[str]:
    try:
        judge.digest(point)
    except ConfigError as error:
        return error.findings
    return ()


def _words(point: Parameters) -> str:
    """A point on one line; names of files in full."""
    return " ".join(
        f"{name}={value if isinstance(value, str) else shown(value)}"
        for name, value in point.items()
    )


def _token(value: object) -> str:
    return f"{type(value).__name__} {value!r}"


def _tell(event: Event) -> None:
    print(json.dumps(event), flush=True)


def also_wrong(path: Path) -> Iterator[str]:
    """What is wrong with the parameters of a file that cannot be run for another reason."""
    sweep = readable_part(path)
    if sweep is None:
        return
    yield from filter(None, (_metric_finding(sweep),))
    if sweep.method == "grid":
        yield from _alone(Judge(sweep))
    else:
        yield from _findings(Judge(sweep), first_points(sweep, 1)[0])


def main(asked: Iterable[str]) -> None:
    """Judge each file's points, or a faulty file's parameters, and each point of the last file."""
    judge: Judge | None = None
    for line in asked:
        question = json.loads(line)
        if isinstance(question, list) and question[1] == FAULTY:
            for told in also_wrong(Path(question[0])):
                _tell({"finding": told})
            _tell({"end": True})
        elif isinstance(question, list):
            sweep = read_sweep(Path(question[0]))
            for event in judged(sweep, question[1]):
                _tell(event)
            _tell({"end": True})
            judge = Judge(sweep)
        else:
            assert judge is not None, "a point of no file"
            _tell({"why": judge.why(question)})


if __name__ == "__main__":
    main(sys.stdin)
