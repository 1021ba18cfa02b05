"""`python -m experiments sweep`: run a sweep file, look at it, retry what failed, stop it."""

import argparse
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.errors import ConfigError, UsageError
from experiments.sweep.command import expand, written
from experiments.sweep.coordinator import Coordinator, Options, shown
from experiments.sweep.cost import make_plan, runs_below, told
from experiments.sweep.executors.warm import ENV, warm_words
from experiments.sweep.ledger import Ledger, holder, read_events
from experiments.sweep.proposals import first_points, require_optuna
from experiments.sweep.space import (
    Check,
    Parameters,
    Sweep,
    check_points,
    grid_points,
    read_sweep,
)
from experiments.sweep.state import COPY, TRIALS, State, fold, open_state
from experiments.sweep.table import (
    LiveTable,
    PlainLines,
    counts,
    rendered,
    row,
    status_json,
    varying_names,
)
from experiments.tracking.owed import send_owed
from experiments.verbs.sweep_elsewhere import add_elsewhere, chosen_executor, create_on_wandb, pull

# What every trial imports sooner or later, seconds of each. torch's compiler is not among it.
TRAINING = (
    "experiments.compiler_on_demand:install",
    *(
        "experiments.run.training",
        "experiments.run.measuring",
        "experiments.tracking.pictures",
        "wandb",
    ),
)
MOST_LOOKED_AT = 32  # points of a sweep that proposes them, before anything starts
INTERRUPTED = 130  # the shell's status for a process ended by Ctrl-C
DESCRIPTION = """\
Run every point of a sweep file (W&B's schema) on this machine, without account or network.

  sweep FILE           run it, or go on with it: finished trials are never run again, half-trained
                       ones continue from their checkpoint
  sweep plan FILE      trials, hours and disk on --jobs workers, and which difference its seeds show
  sweep extend FILE    the same after FILE has changed: its new points join the old trials
  sweep status DIR     every trial and how far it is, also while it runs
  sweep retry DIR      run again what failed, and whatever is still open
  sweep stop DIR       ask a running sweep to save and end, like Ctrl-C in its terminal
  sweep pull ID        bring the records of a sweep on W&B's server (ENTITY/PROJECT/ID) here

With --backend wandb the sweep is created on W&B's server, and --agents N of it run here; with
--executor ray its trials run on a Ray cluster.
"""
EPILOG = """\
examples:
  python -m experiments sweep sweep.yaml --jobs 2
  python -m experiments sweep sweep.yaml --dry-run            # the points, and one command line
  python -m experiments sweep status runs/sweep

A parameter is a dotted name of the configuration (loss.gamma), or `config` for a whole file; a
value may be a mapping, such as {name: focal, gamma: 2.0, alpha: 0.25}. An unknown name is
refused before any trial starts. Exit status: 0 all done, 1 some trials failed, 2 nothing could
be run, 130 interrupted (give the same command to go on). The same file runs under `wandb sweep`
and `wandb agent`.
"""
ACTIONS = ("run", "extend", "plan", "status", "retry", "stop", "pull")


def check_run(overrides: Parameters) -> None:
    """Build the configuration of one trial of `train`; raises ConfigError if there is none."""
    from experiments.config.run import load_config  # imports torch: some seconds, once

    values = dict(overrides)
    config = values.pop("config", None)
    if not isinstance(config, str):
        raise ConfigError(
            "config: no recipe: add '--config FILE' to the command, or a parameter 'config'"
        )
    load_config(Path(config), [f"{name}={written(value)}" for name, value in values.items()])


def add_parsers(subparsers: Any, check: Check | None = check_run) -> None:
    """Add the `sweep` verb; `check` builds a trial's configuration, or raises ValueError."""
    parser = subparsers.add_parser(
        "sweep",
        help="run a sweep file (W&B's schema) offline, look at it, retry or stop it",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="run", help="default: run")
    parser.add_argument("path", type=Path, help="the sweep file to run, or a sweep's folder or ID")
    parser.add_argument("--jobs", type=_positive, default=1, metavar="N", help="trials at a time")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/NAME of the sweep")
    parser.add_argument("--dry-run", action="store_true", help="list the points, run nothing")
    parser.add_argument(
        "--retries", type=_natural, default=1, metavar="N", help="of a crashing trial (default 1)"
    )
    parser.add_argument(
        "--limit", type=_positive, metavar="N", help="end after N trials; the rest can follow later"
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=120.0,
        metavar="S",
        help="seconds a stopped trial has to save",
    )
    parser.add_argument(
        "--records", type=Path, default=Path("runs"), metavar="DIR", help="for plan: earlier runs"
    )
    parser.add_argument(
        "--cold", action="store_true", help="start each trial anew, without sharing its imports"
    )
    parser.add_argument("--json", action="store_true", help="status for programs")
    add_elsewhere(parser)
    parser.set_defaults(run=lambda arguments: main(arguments, check))


def main(arguments: argparse.Namespace, check: Check | None = None) -> int:
    """Carry out one `sweep` command; returns the exit status."""
    if arguments.action == "status":
        return status(arguments.path, as_json=arguments.json)
    if arguments.action == "stop":
        return stop(arguments.path)
    if arguments.action == "retry":
        return _retry(arguments, check)
    if arguments.action == "pull":
        return pull(str(arguments.path), arguments.out)
    sweep = read_sweep(arguments.path)
    if arguments.backend == "wandb":
        return create_on_wandb(sweep, arguments, check)
    if sweep.method == "bayes":
        require_optuna()
    if arguments.action == "plan":
        return plan(sweep, arguments.jobs, arguments.records)
    points = known_points(sweep, arguments.limit)
    if arguments.dry_run:
        _check(sweep, points, check)
        return _dry_run(sweep, points)
    return run(sweep, arguments.out or Path("runs") / sweep.name, points, arguments, check)


def run(
    sweep: Sweep,
    folder: Path,
    points: Sequence[Parameters],
    arguments: argparse.Namespace,
    check: Check | None,
) -> int:
    """Check `points`, then run `sweep` in `folder`, from its start or from where it was left."""
    if sweep.size() is None and arguments.limit is None:
        raise UsageError(
            f"{sweep.path}: a {sweep.method} sweep has no end of its own; give run_cap in the file "
            "or --limit N"
        )
    console = Console(stderr=True)
    preload = () if arguments.cold else preloads(sweep)
    with Ledger(folder) as ledger, chosen_executor(arguments, preload) as executor:
        _check(sweep, points, check)  # while the warm process does its imports
        state = open_state(ledger, sweep, folder, extend=arguments.action == "extend")
        if arguments.action == "retry":
            _reopen_failed(ledger, state)
        options = Options(arguments.retries, arguments.limit, arguments.grace)
        with LiveTable(console) if console.is_terminal else PlainLines(console) as watcher:
            watcher.said(f"sweep {sweep.name}: {counts(state)}, in {folder}")
            coordinator = Coordinator(
                sweep, folder, ledger, state, executor, watcher, options, check
            )
            coordinator.run()
    send_owed((folder / TRIALS).iterdir())
    return _told(coordinator, console, arguments)


def preloads(sweep: Sweep) -> tuple[str, ...]:
    """What a warm process imports for the trials of `sweep`, if they are our own runs."""
    words = warm_words([*map(_without_macro, sweep.command)])
    return TRAINING if words is not None and words[0] == "experiments" else ()


def _without_macro(word: str) -> str:
    return {"${env}": ENV, "${interpreter}": sys.executable}.get(word, word)


def _check(sweep: Sweep, points: Sequence[Parameters], check: Check | None) -> None:
    if check is not None:
        check_points(sweep, points, check)


def plan(sweep: Sweep, workers: int, records: Path) -> int:
    """Print what the sweep will cost and can show, from the runs on record below `records`."""
    if sweep.method == "grid":
        points = list(grid_points(sweep))
    else:
        points = first_points(replace(sweep, method="random"), sweep.run_cap or 1)
    runs = list(runs_below(records, sweep.metric.name if sweep.metric else None))
    for line in told(make_plan(sweep, points, runs, workers), sweep, workers):
        print(line)
    return 0


def status(folder: Path, *, as_json: bool = False) -> int:
    """Print every trial of a sweep's folder; returns 1 if any failed."""
    state = fold(read_events(folder))
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


def _retry(arguments: argparse.Namespace, check: Check | None) -> int:
    folder = arguments.path
    failed = fold(read_events(folder)).with_status("failed")
    sweep = read_sweep(folder / COPY)
    print(f"{folder}: {len(failed)} failed trials to run again", flush=True)
    return run(sweep, folder, [], arguments, check)


def _reopen_failed(ledger: Ledger, state: State) -> None:
    events = [{"event": "retry", "n": trial.n} for trial in state.with_status("failed")]
    if events:
        ledger.append(*events)
        for event in events:
            state.apply(event)


def _told(coordinator: Coordinator, console: Console, arguments: argparse.Namespace) -> int:
    """Say how the sweep ended and how to go on; the exit status."""
    state, folder = coordinator.state, coordinator.folder
    failed = state.with_status("failed")
    lines = [f"sweep {coordinator.sweep.name}: {counts(state)}"]
    for trial in failed:
        lines.append(f"failed: trial {trial.n} ({shown(trial.parameters)})")
        lines.append(f"  log: {coordinator.running_log(trial)}")
    if failed:
        lines.append(f"to run failed trials again: python -m experiments sweep retry {folder}")
    if coordinator.interrupted or state.with_status("pending"):
        where = f" --out {arguments.out}" if arguments.out else ""
        again = f"{coordinator.sweep.path}{where}"
        lines.append(f"to go on where this stopped: python -m experiments sweep {again}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if coordinator.interrupted:
        return INTERRUPTED
    return 1 if failed else 0


def known_points(sweep: Sweep, limit: int | None) -> list[dict[str, object]]:
    """All points of a grid; of another sweep, the first that it will propose."""
    if sweep.method == "grid":
        return list(grid_points(sweep))
    wanted = sweep.run_cap or limit or MOST_LOOKED_AT
    return first_points(sweep, min(wanted, MOST_LOOKED_AT))


def _dry_run(sweep: Sweep, points: Sequence[Mapping[str, object]]) -> int:
    for n, point in enumerate(points):
        print(f"{n:4d}  {shown(point)}")
    roles = [f"{p.name}: {p.role or 'role not given'}" for p in sweep.parameters]
    size = sweep.size()
    print(f"{'endless' if size is None else size} points; {', '.join(roles)}")
    words = [w for w in sweep.command if w != "${args_json_file}"]
    print("command:", shlex.join(expand(words, sweep.program, points[0], Path("."))))
    return 0


def _print_status(state: State, folder: Path) -> None:
    opened = state.opened or {}
    rows = [row(trial, None, trial.seconds) for trial in state.trials.values()]
    for index, item in enumerate(rows):
        if item.trial.status == "running":
            rows[index] = _live_row(item.trial, folder, opened.get("metric"))
    pid = holder(folder)
    running = f"run by process {pid}" if pid else "not running now"
    caption = f"{folder}: {counts(state)}; {running}"
    metric = opened.get("metric") or "metric"
    Console().print(rendered(state, rows, metric, varying_names(state), caption))


def _live_row(trial: Any, folder: Path, metric: str | None) -> Any:
    from experiments.record.follow import Progress

    progress = Progress(trial.folder(folder), metric)
    progress.update()
    started = trial.started or time.time()
    return row(trial, progress, trial.seconds + max(0.0, time.time() - started))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, found {text}")
    return number


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, found {text}")
    return number
