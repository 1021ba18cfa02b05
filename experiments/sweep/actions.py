"""What is done with a sweep: run it, look at it, retry what failed, stop it.

Each gives the exit status of its verb: 0 all done, 1 some trials failed, 130 interrupted.
"""

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from experiments.config.located import dotted
from experiments.errors import ConfigError, UsageError
from experiments.record.files import SWEEP_FILE
from experiments.sweep.checking import MOST_DRAWS, Checker
from experiments.sweep.command import expand, not_found
from experiments.sweep.coordinator import Coordinator, Options
from experiments.sweep.cost import Known, validations_of
from experiments.sweep.cost import told as cost_told
from experiments.sweep.executors import Executor
from experiments.sweep.executors.local import LocalExecutor
from experiments.sweep.executors.warm import preloads
from experiments.sweep.ledger import FILE as LEDGER
from experiments.sweep.ledger import Ledger, holder, read_events
from experiments.sweep.plan import cost_of_sweep, make_plan, results_below, told
from experiments.sweep.proposals import first_points, require_optuna
from experiments.sweep.space import Parameters, Sweep, grid_points, shown
from experiments.sweep.state import TRIALS, State, fold, open_state, settle, state_of_records
from experiments.sweep.sweep_file import read_sweep
from experiments.sweep.table import (
    MOST_DRAWN,
    LiveTable,
    PlainLines,
    Teller,
    by_choice,
    counts,
    left_of,
    listed,
    rendered,
    row,
    status_json,
    varying_names,
)
from experiments.sweep.tryout import Tryout

OF_ONE_RUN = ("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_SWEEP_ID")
MOST_POINTS = 100_000  # of a sweep that is run
MOST_SHOWN = 1_000  # points that --dry-run lists
PIPE = 1_000  # columns of what is no terminal
INTERRUPTED = 130  # the shell's status for a process ended by Ctrl-C


@dataclass(frozen=True, slots=True)
class Place:
    """Where trials run: `jobs` at a time, as processes here or on a Ray cluster.

    A stopped trial has `grace` seconds to save; `cold`: each trial starts anew, without sharing
    its imports.
    """

    jobs: int = 1
    grace: float = 120.0
    cold: bool = False
    executor: Literal["local", "ray"] = "local"
    ray_address: str = "auto"
    trial_cpus: float = 1
    trial_gpus: float = 0
    carry: tuple[str, ...] = ()  # names of variables that travel to nodes, or their beginnings

    def executing(self, *sweeps: Sweep) -> AbstractContextManager[Any]:
        """The executor for the trials of these sweeps, one sweep after the other."""
        if self.executor == "local":
            warm = (
                ()
                if self.cold
                else next(filter(None, (preloads(sweep.command) for sweep in sweeps)), ())
            )
            return LocalExecutor(self.jobs, self.grace, warm)
        from experiments.sweep.executors.ray import RayExecutor

        return RayExecutor(
            self.jobs,
            self.grace,
            address=self.ray_address,
            cpus=self.trial_cpus,
            gpus=self.trial_gpus,
            carry=self.carry,
        )


@dataclass(frozen=True, slots=True)
class Running:
    """How a sweep is run.

    `extend`: its file has changed, and its new points join the old trials; `retry`: what failed
    runs again. `lent` executes it in place of an executor of its own, and stays open; `checked`
    has judged its points already.
    """

    place: Place = field(default_factory=Place)
    options: Options = field(default_factory=Options)
    extend: bool = False
    retry: bool = False
    lent: Executor | None = None
    checked: Checker | None = None


def run(sweep: Sweep, folder: Path, how: Running) -> int:
    """Check the points of `sweep`, then run it in `folder`, from its start or where it was left."""
    options = how.options
    leave_outer_run()
    refuse_endless(sweep, options.limit)
    if (missing := nothing_to_run(sweep)) is not None:
        raise UsageError(missing)
    console = Teller()
    with (
        Ledger(folder) as ledger,
        nullcontext(how.lent) if how.lent else how.place.executing(sweep) as executor,
        how.checked or Checker(sweep, shown_progress()) as checker,
    ):
        if not how.retry and how.checked is None:  # its points were judged when they began
            checker.check(looked_at(sweep, options.limit))  # beside the warm process's imports
        if sweep.method == "bayes":
            require_optuna()
        said: list[str] = []
        state = open_state(
            ledger, sweep, folder, extend=how.extend, places=checker.places, say=said.append
        )
        if how.retry:
            _reopen_failed(ledger, state)
        with LiveTable(console) if console.is_terminal else PlainLines(console) as watcher:
            for text in said:
                watcher.said(text)
            watcher.said(f"sweep {sweep.name}: {counts(state)}, in {folder}")
            coordinator = Coordinator(
                sweep, folder, ledger, state, executor, watcher, options, checker.why
            )
            coordinator.run()
    return _told(coordinator, console)


def leave_outer_run() -> None:
    """Drop W&B's variables of one run: every trial is a run of its own."""
    for name in [name for name in OF_ONE_RUN if os.environ.pop(name, "")]:
        print(f"{name} is left aside: every trial is a run of its own", file=sys.stderr)


def refuse_endless(sweep: Sweep, limit: int | None) -> None:
    """Refuse a sweep without an end of its own, and one that would end with nobody alive."""
    if sweep.size() is None and limit is None:
        raise UsageError(
            f"{sweep.path}: a {sweep.method} sweep has no end of its own; give run_cap in the file "
            "or --limit N"
        )
    refuse_huge(sweep)


def refuse_huge(sweep: Sweep) -> None:
    """Refuse more points than anybody runs; they are counted, never listed."""
    size = sweep.size()
    if size is not None and size > MOST_POINTS:
        raise UsageError(
            f"{sweep.path}: {size:,} points, and {MOST_POINTS:,} are the most that are run; give "
            "run_cap, fewer values, or method random"
        )


def nothing_to_run(sweep: Sweep) -> str | None:
    """That what its trials are started by is not on this machine; None where it is."""
    told = not_found(sweep.command, sweep.program)
    node = sweep.tree.keys.get("command") or sweep.tree.keys["program"]
    return None if told is None else node.said(told)


def _warn_of_missing(sweep: Sweep) -> None:
    if (missing := nothing_to_run(sweep)) is not None:
        print(f"warning: {missing}; here it would not run", file=sys.stderr)


def kept_sweep(folder: Path) -> Sweep:
    """The sweep of a folder, by the file that it keeps and the name that it began with."""
    sweep = read_sweep(folder / SWEEP_FILE)
    opened = (fold(read_events(folder)).opened if (folder / LEDGER).is_file() else None) or {}
    named = "name" in sweep.tree.keys or "sweep" not in opened
    return sweep if named else replace(sweep, name=str(opened["sweep"]))


def check(sweep: Sweep) -> None:
    """Refuse a sweep whose trials cannot be run, with all that is wrong with it."""
    with Checker(sweep, shown_progress()) as checker:
        checker.check()


def looked_at(sweep: Sweep, limit: int | None) -> int | None:
    """How many points are judged beforehand: all of a grid, of another sweep those to be run."""
    if sweep.method == "grid" or limit is None:
        return None
    return limit if sweep.run_cap is None else min(limit, sweep.run_cap)


def shown_progress() -> Callable[[int, int], None] | None:
    """Shows on a terminal how far the check of the points is."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        end = "\n" if done == total else ""
        print(f"\rchecking configurations: {done} of {total}", end=end, file=sys.stderr, flush=True)

    return show


def default_folder(sweep: Sweep) -> Path:
    """`runs/NAME` of the sweep."""
    return Path("runs") / sweep.name


def plan(sweep: Sweep, limit: int | None, known: Known, records: Sequence[Path]) -> int:
    """Print what the sweep will cost and can show, from what is `known` and the runs on record."""
    refuse_huge(sweep)
    _warn_of_missing(sweep)
    count = looked_at(sweep, limit)
    with Checker(sweep, shown_progress()) as checker:
        checker.check(count)
    points = _points(sweep, limit)
    if sweep.size() is None:
        print(f"{sweep.path} has no end of its own; of its first {len(points)} draws:")
    metric = sweep.metric.name if sweep.metric else None
    cost = cost_of_sweep(sweep, points, checker.trials, known)
    validations = max((validations_of(dotted(each.config)) for each in checker.trials), default=0)
    results = list(results_below(records, metric))
    for line in told(make_plan(sweep, points, cost, results, validations), sweep, known.jobs):
        print(line)
    return 0


def _points(sweep: Sweep, limit: int | None) -> Sequence[Parameters]:
    """All points of a grid; of another sweep the draws that are looked at."""
    if sweep.method == "grid":
        return list(grid_points(sweep))
    count = looked_at(sweep, limit) or sweep.size() or MOST_DRAWS
    return first_points(replace(sweep, method="random"), count)


def dry_run(sweep: Sweep, limit: int | None, known: Known) -> int:
    """Print the points, their time and one command line; raises ConfigError for what `sweep`
    refuses.
    """
    refuse_huge(sweep)
    _warn_of_missing(sweep)
    size = sweep.size()
    with Checker(sweep, shown_progress()) as checker:
        checker.check(looked_at(sweep, limit))
    if sweep.method == "grid":
        points = list(islice(grid_points(sweep), limit or MOST_SHOWN))
    else:
        points = first_points(sweep, min(size or limit or MOST_DRAWS, limit or MOST_SHOWN))
    for n, point in enumerate(points):
        why = checker.known(point)
        print(f"{n:4d}  {shown(point)}" + (f"  cannot be run: {why}" if why else ""))
    if size is not None and size > len(points):
        print(f" ...  and {size - len(points):,} more")
    roles = [f"{p.name}: {p.role or 'role not given'}" for p in sweep.parameters]
    print(f"{'endless' if size is None else f'{size:,}'} points; {', '.join(roles)}")
    cost = cost_of_sweep(sweep, _points(sweep, limit), checker.trials, known)
    print(*cost_told(cost, known.jobs), sep="\n")
    words = [w for w in sweep.command if w != "${args_json_file}"]
    print("command:", shlex.join(expand(words, sweep.program, points[0], Path("."))))
    return 0


def status(folder: Path, *, as_json: bool = False) -> int:
    """Print every trial of a sweep's folder; returns 1 if any failed."""
    pulled = not (folder / LEDGER).is_file() and (folder / TRIALS).is_dir()
    state = state_of_records(folder) if pulled else fold(read_events(folder))
    settle(state, folder)
    if as_json:
        json.dump(status_json(state, str(folder)), sys.stdout, indent=1)
        print()
    else:
        _print_status(state, folder)
    return 1 if state.with_status("failed") else 0


def stop(folder: Path) -> int:
    """Ask the sweep that runs in `folder` to save and end, and wait for it."""
    read_events(folder)
    pid = holder(folder)
    if pid is None:
        print(f"{folder}: no sweep is running here")
        return 0
    os.kill(pid, signal.SIGTERM)
    print(f"{folder}: asked process {pid} to stop; its trials save their state", flush=True)
    while holder(folder) == pid:
        time.sleep(0.1)
    print(f"{folder}: stopped")
    return 0


def retry(folder: Path, how: Running) -> int:
    """Run again what failed in `folder`, and whatever is still open."""
    failed = fold(read_events(folder)).with_status("failed")
    sweep = kept_sweep(folder)
    print(f"{folder}: {len(failed)} failed trials to run again", flush=True)
    return run(sweep, folder, replace(how, retry=True))


def _reopen_failed(ledger: Ledger, state: State) -> None:
    events = [{"event": "retry", "n": trial.n} for trial in state.with_status("failed")]
    if events:
        ledger.append(*events)
        for event in events:
            state.apply(event)


def _told(coordinator: Coordinator, console: Console) -> int:
    """Say how the sweep ended and how to go on; the exit status."""
    state, folder, sweep = coordinator.state, coordinator.folder, coordinator.sweep
    here = shlex.quote(str(folder))
    failed = state.with_status("failed")
    lines = [f"sweep {sweep.name}: {counts(state)}"]
    for trial in failed:
        lines.append(f"failed: trial {trial.n} ({shown(trial.parameters)})")
        log = coordinator.running_log(trial)
        lines.append(f"  log: {log}" if log.is_file() else f"  {trial.error}")
    if failed:
        lines.append(f"to run failed trials again: python -m experiments sweep retry {here}")
    late = [trial for trial in state.with_status("pending") if trial.over is not None]
    lines += [f"trial {trial.n} {trial.over_told}" for trial in late]
    if late:
        lines.append("to let them go on, give --trial-hours a larger number with the same command")
    if coordinator.interrupted or state.with_status("pending"):
        where = f" --out {here}" if folder != default_folder(sweep) else ""
        file = shlex.quote(str(sweep.path))
        lines.append(f"to go on where this stopped: python -m experiments sweep {file}{where}")
    for line in lines:
        with suppress(OSError):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if coordinator.interrupted:
        return INTERRUPTED
    return 1 if failed or late else 0


def _print_status(state: State, folder: Path) -> None:
    opened: Mapping[str, Any] = state.opened or {}
    rows = [row(trial, None, trial.seconds) for trial in state.trials.values()]
    for index, item in enumerate(rows):
        if item.trial.status == "running":
            rows[index] = _live_row(item.trial, folder, opened.get("metric"))
    path = folder / SWEEP_FILE
    try:
        sweep = read_sweep(path) if path.is_file() else None
    except ConfigError as error:  # of another version or another machine: the trials are told
        print(
            f"note: its file cannot be read here, and the time left not told: {error}",
            file=sys.stderr,
        )
        sweep = None
    pid = holder(folder)
    running = f"run by process {pid}" if pid else "not running now"
    if pid and sweep is not None:
        trials = state.trials.values()
        size, slots = sweep.size(), len(state.with_status("running"))
        waiting = Tryout(sweep).waiting(trials) if size is not None else None
        left = left_of(state, rows, waiting, max(0, (size or 0) - len(trials)), slots)
        running += "" if left is None else left.told
    caption = f"{folder}: {counts(state)}; {running}"
    metric = opened.get("metric") or "metric"
    # Of a pulled folder, as all our metrics want it.
    maximize = sweep is None or sweep.metric is None or sweep.metric.goal != "minimize"
    rows = by_choice(rows, maximize=maximize)
    if len(rows) > MOST_DRAWN:
        print(listed(rows, metric, varying_names(state), caption))
    else:
        names = varying_names(state)
        console = Console(markup=False)
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console.width = PIPE  # nothing is cut for `| grep` and files
        console.print(rendered(state, rows, metric, names, "", maximize=maximize))
        # Below the table and not its caption, which is as narrow: the folder can be copied.
        console.print(caption, highlight=False, soft_wrap=True)


def _live_row(trial: Any, folder: Path, metric: str | None) -> Any:
    from experiments.record.follow import Progress

    progress = Progress(trial.folder(folder), metric)
    progress.update()
    started = trial.started or time.time()
    return row(trial, progress, trial.seconds + max(0.0, time.time() - started))
