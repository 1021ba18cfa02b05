"""Trials and their state: a pure fold over the ledger's events.

pending -> running -> finished | failed | stopped; running -> pending again after a failed attempt
that will be retried, or after an interruption, in the same folder. pending -> passed where another
setting of its arm was better in the tryout.

Opens a sweep's folder: a new one gets its points, an old one must be the same sweep.
"""

import os
import shlex
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, Literal

from experiments.config.located import read_located, read_text
from experiments.config.resolve import BASE, named_recipe
from experiments.errors import ConfigError, UsageError
from experiments.record.files import SWEEP_FILE, write_text
from experiments.record.follow import (
    Progress,
    final_metric,
    in_force,
    log_tail,
    number,
    read_record,
)
from experiments.record.origin import file_hash
from experiments.sweep.executors.processes import start_mark
from experiments.sweep.ledger import Event, Ledger, holder
from experiments.sweep.space import Sweep, grid_points, point_key

FORMAT = 1
Status = Literal["pending", "running", "finished", "failed", "stopped", "passed"]
MOST_LOOKED_AT = 1_000  # trials, for what tells one from others
ENDED = ("finished", "failed", "stopped", "passed")
TRIALS = "trials"
SHELLS = 128  # added to a signal's number by a shell, for the exit status of what it ended
ERROR_LETTERS = 1200  # of a crashed trial's words that the ledger keeps; the log has them all


@dataclass(frozen=True, slots=True)
class Trial:
    """One point and what has become of it so far."""

    n: int
    key: str
    parameters: dict[str, Any]
    arm: int  # trials of one arm differ in their seed only, where the sweep proposes its points
    status: Status = "pending"
    attempts: int = 0  # times it was started
    failures: int = 0  # failed attempts since it was first started, or last asked for by `retry`
    pid: int | None = None
    mark: str | None = None  # when that process started, so that a reused id is not mistaken for it
    host: str | None = None
    started: float | None = None  # seconds since the epoch, of the last start
    seconds: float = 0.0  # over all attempts
    metric: float | None = None
    iteration: int = 0  # the last one seen when it was interrupted
    error: str | None = None
    over: float | None = None  # the seconds it was given, where it was ended for having used them
    losses: int = 0  # of its node, one after the other, since it last came further
    resolved: dict[str, Any] = field(default_factory=dict)  # swept keys as its record has them
    kind: str | None = None  # trials of one kind run at one pace; None where nobody looked
    tape: str | None = None  # the first of a tape's trials writes it, the others replay it

    @property
    def told(self) -> dict[str, Any]:
        """Its parameters as they were in force, where its record says so, else as asked for."""
        return self.parameters | self.resolved

    @property
    def over_told(self) -> str:
        """That its time was up, in words; nothing where it was not."""
        if self.over is None:
            return ""
        return f"used up its {self.over / 3600:.3g} h after {self.iteration:,} iterations"

    def folder(self, sweep_folder: Path) -> Path:
        """Where the trial keeps its record, its checkpoints and its log."""
        return sweep_folder / TRIALS / f"{self.n:04d}-{self.key}"

    @property
    def ended(self) -> bool:
        """Whether it will not run again by itself."""
        return self.status in ENDED


@dataclass(slots=True)
class State:
    """All trials by number, and what the last `open` event said of the sweep."""

    trials: dict[int, Trial] = field(default_factory=dict)
    opened: Event | None = None
    keys: set[str] = field(default_factory=set)
    draws: int = 0  # how many proposals were looked at, for points that are not listed beforehand
    quantiles: dict[int, dict[str, float]] = field(default_factory=dict)  # of each such arm

    def apply(self, event: Event) -> None:
        """Take one event in; raises UsageError on an event no version of this program writes."""
        kind = event["event"]
        if kind == "open":
            if event["format"] != FORMAT:
                raise UsageError(
                    f"the ledger has format {event['format']}; this one reads {FORMAT}"
                )
            self.opened = event
        elif kind == "point":
            n = event["n"]
            arm = event.get("arm", n)
            kind, tape = event.get("kind"), event.get("tape")
            self.trials[n] = Trial(n, event["key"], event["parameters"], arm, kind=kind, tape=tape)
            self.keys.add(event["key"])
            self.draws = max(self.draws, event.get("draw", -1) + 1)
            if "quantiles" in event:
                self.quantiles[arm] = event["quantiles"]
        else:
            self.trials[event["n"]] = _changed(self.trials[event["n"]], event)

    def with_status(self, *statuses: Status) -> list[Trial]:
        """Trials in any of the given states, by number."""
        return [trial for trial in self.trials.values() if trial.status in statuses]

    def varying(self, trial: Trial) -> dict[str, Any]:
        """The parameters that tell a trial from the others, as far as they are known."""
        some = [other.parameters for other in islice(self.trials.values(), MOST_LOOKED_AT)]
        found = {
            name: value
            for name, value in trial.parameters.items()
            if any(name not in other or other[name] != value for other in some)
        }
        return found or trial.parameters


def fold(events: Iterable[Event]) -> State:
    """The state that a ledger's events lead to."""
    state = State()
    for event in events:
        state.apply(event)
    return state


def state_of_records(folder: Path) -> State:
    """The state of a folder that was pulled: its trials' records, without a ledger of what led to
    them.
    """
    state = State()
    for n, path in enumerate(sorted((folder / TRIALS).iterdir())):
        record = read_record(path)
        if record is None:
            continue
        parameters = record.get("overrides") or {}
        state.apply({"event": "point", "n": n, "key": path.name, "parameters": parameters})
        status = {"finished": "finished", "failed": "failed"}.get(str(record.get("status")))
        seconds = record.get("seconds") or {}
        end = {"n": n, "seconds": number(seconds.get("total")) or 0.0, "metric": None}
        if status is None:
            state.apply({"event": "interruption", **end})
        else:
            resolved = in_force(parameters, record.get("config"))
            state.apply({"event": "end", "status": status, "resolved": resolved, **end})
    return state


def _changed(trial: Trial, event: Event) -> Trial:
    kind = event["event"]
    seconds = trial.seconds + event.get("seconds", 0.0)
    error = event.get("error")
    if kind == "start":
        return replace(
            trial,
            status="running",
            attempts=trial.attempts + 1,
            pid=event["pid"],
            mark=event["mark"],
            host=event["host"],
            started=event.get("time"),
            over=None,
        )
    if kind == "end":
        metric = event.get("metric")
        ended = replace(trial, status=event["status"], seconds=seconds, metric=metric, error=error)
        return replace(ended, resolved=event.get("resolved") or {})
    if kind == "failure":
        failures = trial.failures + 1
        return replace(trial, status="pending", failures=failures, seconds=seconds, error=error)
    if kind == "interruption":
        iteration = event.get("iteration", trial.iteration)
        losses = trial.losses + 1 if event.get("lost") else 0
        told = replace(trial, status="pending", seconds=seconds, iteration=iteration)
        return replace(told, losses=losses, over=event.get("over"))
    if kind == "retry":
        return replace(trial, status="pending", failures=0, error=None)
    raise UsageError(f"the ledger holds an event this program does not know: {kind!r}")


def unseen_end(trial: Trial, sweep_folder: Path, metric_key: str | None) -> Event:
    """What became of a trial whose sweep did not live to see it end, by its record: it finished,
    or was interrupted.
    """
    record = read_record(trial.folder(sweep_folder)) or {}
    if record.get("status") != "finished":
        return {"event": "interruption", "n": trial.n}
    metric = final_metric(record, metric_key)
    end = {"event": "end", "n": trial.n, "status": "finished", "metric": metric, "exit": 0}
    resolved = in_force(trial.parameters, record.get("config"))
    return {**end, "resolved": resolved, "seconds": total_seconds(record)}


def settle(state: State, folder: Path) -> None:
    """Take in what a killed sweep could not write down of its trials: none of them runs whose
    process is gone. A sweep that is alive knows better, as do trials of other machines.
    """
    if holder(folder) is not None:
        return
    for trial in state.with_status("running"):
        here = trial.pid is not None and trial.host == os.uname().nodename
        if here and trial.mark != start_mark(trial.pid or 0):
            state.apply(unseen_end(trial, folder, (state.opened or {}).get("metric")))


def failure_text(exit_code: int, record: Mapping[str, Any], folder: Path) -> str:
    """Why a trial counts as crashed, in its own words where it left some."""
    number = -exit_code if exit_code < 0 else exit_code - SHELLS  # as a shell between tells it
    if number in {*signal.Signals}:
        head = f"ended by {signal.Signals(number).name}"
        head += f" (exit status {exit_code})" if exit_code > 0 else ""
        if number == signal.SIGKILL:
            head += ", which the system sends where memory runs out"
    elif exit_code == 0:
        head = "exit status 0, but no finished record.json"
    else:
        head = f"exit status {exit_code}"
    error = record.get("error")
    if isinstance(error, Mapping):
        head += f": {error.get('type')}: {error.get('message')}"
    return f"{head}\n{log_tail(folder)[-ERROR_LETTERS:]}"


def total_seconds(record: Mapping[str, Any]) -> float:
    """What a run took by its record."""
    seconds = record.get("seconds")
    return (number(seconds.get("total")) or 0.0) if isinstance(seconds, Mapping) else 0.0


def open_state(
    ledger: Ledger,
    sweep: Sweep,
    folder: Path,
    *,
    extend: bool = False,
    places: Sequence[tuple[str, str | None]] = (),
    say: Callable[[str], None] = lambda text: None,
) -> State:
    """The state of `folder` for `sweep`, with all points of a grid registered.

    Raises UsageError where the folder holds another sweep; `extend` accepts a file that changed
    and adds its new points, keeping every trial there is, and says what has changed. `places`:
    kind and tape of each point.
    """
    state = fold(ledger.events)
    text = read_text(sweep.path)
    fingerprint = sweep.fingerprint()
    kept = folder / SWEEP_FILE
    if state.opened is None and kept.is_file() and read_text(kept) != text:
        raise UsageError(
            f"{kept}: is of no sweep that ran here, and would be lost; give another --out"
        )
    events: list[dict[str, Any]] = []
    recipes = recipe_hashes(sweep)
    known: Mapping[str, str] = (state.opened or {}).get("recipes") or {}
    edited = [name for name, digest in recipes.items() if known.get(name, digest) != digest]
    if edited and not extend:
        _refuse_edited(edited, folder)
    if edited:
        say(f"{', '.join(edited)}: has changed since; what has not begun runs by it as it is now")
    if state.opened is None or state.opened["fingerprint"] != fingerprint or edited:
        if state.opened is not None and not extend:
            _refuse_other(state, sweep, folder)
        if state.opened is not None and state.opened["fingerprint"] != fingerprint:
            say(f"extended: {changed(state, sweep)}")
        events.append(_opening(sweep, fingerprint, recipes))
    elif any(state.opened.get(key) != described(sweep)[key] for key in ("metric", "goal")):
        events.append(_opening(sweep, fingerprint, recipes))
    if state.opened is not None and state.opened.get("metric") != described(sweep)["metric"]:
        again = _measured_again(state, folder, sweep)
        events += again
        say(f"its metric was {state.opened.get('metric')}: {len(again)} trials are read again")
    if sweep.method == "grid":
        events += new_points(state, grid_points(sweep), places)
    if events or not kept.is_file() or read_text(kept) != text:
        write_text(kept, text)  # what decides no point may have changed: run_cap, metric, comments
    if events:
        ledger.append(*events)
        for event in events:
            state.apply(event)
    return state


def _opening(sweep: Sweep, fingerprint: str, recipes: Mapping[str, str]) -> dict[str, Any]:
    opening = {"event": "open", "format": FORMAT, "fingerprint": fingerprint}
    return {**opening, **described(sweep), **({"recipes": recipes} if recipes else {})}


def recipe_hashes(sweep: Sweep) -> dict[str, str]:
    """File -> a hash of what it says, of all recipes of a sweep and the bases below them: an edit
    in the middle of a sweep would make two configurations of one arm. Files that cannot be read
    are left out: trials tell.
    """
    nodes = [sweep.fixed["config"]] if "config" in sweep.fixed else []
    for parameter in sweep.parameters:
        if parameter.name == "config":
            nodes += [parameter.located(v) for v in parameter.distribution.choices() or ()]
    found: dict[str, str] = {}
    waiting = []
    for node in nodes:
        with suppress(ConfigError):
            waiting.append(named_recipe(node)[0])
    while waiting:
        path = waiting.pop()
        if str(path) in found or not path.is_file():
            continue
        try:
            tree = read_located(path)
        except ConfigError:  # another program's, in a form of its own
            found[str(path)] = file_hash(path)[:8]
            continue
        found[str(path)] = point_key(tree.value)
        base = tree.value.get(BASE)
        waiting += [path.parent / base] if isinstance(base, str) else []
    return found


def _measured_again(state: State, folder: Path, sweep: Sweep) -> list[dict[str, Any]]:
    """Ends of the trials that have one, by a metric that the sweep did not have before."""
    name = sweep.metric.name if sweep.metric else None
    events = []
    for trial in state.with_status("finished", "stopped"):
        place = trial.folder(folder)
        metric = final_metric(read_record(place) or {}, name)
        if trial.status == "stopped":
            progress = Progress(place, name)
            progress.update()
            metric = progress.history[-1] if progress.history else None
        end = {"event": "end", "n": trial.n, "status": trial.status, "metric": metric}
        events.append({**end, "resolved": trial.resolved})
    return events


def described(sweep: Sweep) -> dict[str, Any]:
    """What `status` needs to know of a sweep without its file."""
    metric = sweep.metric
    return {
        "sweep": sweep.name,
        "method": sweep.method,
        "metric": metric and metric.name,
        "goal": metric and metric.goal,
        "roles": {p.name: p.role for p in sweep.parameters if p.role},
    }


def new_points(
    state: State,
    points: Iterable[dict[str, Any]],
    places: Iterable[tuple[str, str | None]] = (),
) -> list[dict[str, Any]]:
    """`point` events for those points that the state does not hold yet."""
    known = set(state.keys)
    events: list[dict[str, Any]] = []
    for parameters, place in zip(points, chain(places, repeat(None)), strict=False):
        key = point_key(parameters)
        if key not in known:
            known.add(key)
            n = len(state.trials) + len(events)
            told = {} if place is None else {"kind": place[0], "tape": place[1]}
            events.append({"event": "point", "n": n, "key": key, "parameters": parameters, **told})
    return events


def changed(state: State, sweep: Sweep) -> str:
    """What has changed of a sweep since its folder was begun."""
    there = {trial.key for trial in state.trials.values()}
    here = {point_key(point) for point in grid_points(sweep)} if sweep.method == "grid" else set()
    if here != there:
        return (
            f"{len(here - there)} points are new, {len(there - here)} of the folder's are not in "
            "it now"
        )
    if sweep.method != "grid":
        return "its command, method or parameters; trials that there are stay as they are"
    return "its points are the same, its command is not: what has not run yet runs by the new one"


def _refuse_edited(files: Sequence[str], folder: Path) -> None:
    raise UsageError(
        f"{folder}: {', '.join(files)} has changed since this sweep began: its other trials would "
        "be of another configuration than those that ran. Put it back as it was, give another "
        "--out for a sweep of its own, or accept it with 'sweep extend'"
    )


def _refuse_other(state: State, sweep: Sweep, folder: Path) -> None:
    raise UsageError(
        f"{folder}: {sweep.path} has changed since this sweep began ({changed(state, sweep)}). "
        "Give another --out for a sweep of its own, or keep all trials and add the new points: "
        f"python -m experiments sweep extend {shlex.quote(str(sweep.path))} --out "
        f"{shlex.quote(str(folder))}"
    )
