"""`sweep`: run a sweep file, look at it, retry what failed, stop it."""

import argparse
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.errors import UsageError
from experiments.verbs.arguments import (
    above_zero,
    add_known,
    add_tape,
    known_of,
    natural,
    not_below_zero,
    positive,
    records_of,
)

if TYPE_CHECKING:
    from experiments.sweep.actions import Running

TEACH = """\
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

  python -m experiments sweep sweep.yaml --jobs 2
  python -m experiments sweep sweep.yaml --dry-run            # the points, and one command line
  python -m experiments sweep status runs/sweep

A parameter is a dotted name of the configuration (loss.gamma), or `config` for a whole file; a
value may be a mapping, such as {name: focal, gamma: 2.0, alpha: 0.25}. An unknown name is
refused before any trial starts. Exit status: 0 all done, 1 some trials failed, 2 nothing could
be run, 130 interrupted (give the same command to go on). The same file runs under `wandb sweep`
and `wandb agent`.
"""
RUNS = Path("runs")  # where trials of `wandb agent` lie
OF_FOLDERS = ("status", "retry", "stop", "pull")
ACTIONS = ("run", "extend", "plan", "status", "retry", "stop", "pull")
# What each reads of the options.
RAYS = {"ray_address", "trial_cpus", "trial_gpus", "carry"}
TRIALS_HERE = {"jobs", "retries", "limit", "grace", "cold", "tape_gib", "trial_hours", "executor"}
A_RUN = TRIALS_HERE | {"out", "backend"}
A_LOOK = A_RUN | {"agents", "dry_run", "records", "no_probe"}  # at what a command would do
READ = {"status": {"json"}, "stop": set[str](), "pull": {"out"}, "retry": TRIALS_HERE}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `sweep` takes."""
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="run", help="what to do")
    parser.add_argument("path", type=Path, help="the sweep file to run, or a sweep's folder or ID")
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="trials at a time")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where trials go (default: runs/NAME of the sweep)"
    )
    parser.add_argument("--dry-run", action="store_true", help="list the points, run nothing")
    parser.add_argument(
        "--retries", type=natural, default=1, metavar="N", help="of a crashing trial"
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="end after N trials; the rest can follow later"
    )
    parser.add_argument(
        "--grace",
        type=not_below_zero,
        default=120.0,
        metavar="S",
        help="seconds a stopped trial has to save",
    )
    add_known(parser)
    parser.add_argument(
        "--cold", action="store_true", help="start each trial anew, without sharing its imports"
    )
    parser.add_argument("--json", action="store_true", help="status for programs")
    add_tape(parser)
    parser.add_argument(
        "--trial-hours",
        type=above_zero,
        metavar="H",
        help="a trial that has taken longer saves and ends; a larger number lets it go on "
        "(default: x-trial-hours of the file, else no bound)",
    )
    _add_elsewhere(parser)
    parser.set_defaults(given=partial(_given, parser))


def _add_elsewhere(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend",
        choices=("ledger", "wandb"),
        default="ledger",
        help="who owns the sweep: this process's ledger, or W&B's server",
    )
    parser.add_argument(
        "--agents",
        type=natural,
        default=0,
        metavar="N",
        help="with --backend wandb: agents to run here; others may run anywhere",
    )
    parser.add_argument(
        "--executor",
        choices=("local", "ray"),
        default="local",
        help="where trials run: as processes here, or on a Ray cluster (pip install ray)",
    )
    parser.add_argument(
        "--ray-address",
        default="auto",
        metavar="A",
        help="the cluster; auto: the one this machine belongs to; 'local' starts one here",
    )
    parser.add_argument(
        "--trial-cpus", type=float, default=1, metavar="N", help="of Ray, for one trial"
    )
    parser.add_argument(
        "--trial-gpus", type=float, default=0, metavar="N", help="of Ray, for one trial"
    )
    parser.add_argument(
        "--carry",
        action="append",
        default=[],
        metavar="NAME",
        help="with Ray: a variable, or how its name begins, that travels to the nodes; repeatable, "
        "besides WANDB_, SOFTGAMMA_, OMP_, MKL_ and PYTHONPATH",
    )


def run(arguments: argparse.Namespace) -> int:
    """Carry out one `sweep` command.

    Raises:
        ConfigError: the file or one of its points cannot be run.
        UsageError: the command cannot be carried out as given.
    """
    from experiments.sweep import actions
    from experiments.sweep.checking import read_whole
    from experiments.sweep.state import TRIALS
    from experiments.tracking.owed import send_owed
    from experiments.tracking.tapes import remove_left

    _refuse_unread(arguments)
    if arguments.action == "status":
        return actions.status(arguments.path, as_json=arguments.json)
    if arguments.action == "stop":
        return actions.stop(arguments.path)
    if arguments.action == "retry":
        status = actions.retry(arguments.path, _running(arguments))
        send_owed((arguments.path / TRIALS).iterdir())
        return status
    if arguments.action == "pull":
        from experiments.sweep.wandb import pull_told

        send_owed(sorted(RUNS.iterdir()) if RUNS.is_dir() else ())  # what an agent here kept back
        return pull_told(str(arguments.path), arguments.out)
    if arguments.path.is_dir():  # a sweep's folder: the file that it keeps, run there
        arguments.out = arguments.out or arguments.path
        sweep = actions.kept_sweep(arguments.path)
    else:
        sweep = read_whole(arguments.path)
    for warning in sweep.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if arguments.action == "plan":
        known = known_of(arguments, probe=True)
        return actions.plan(sweep, arguments.limit, known, records_of(arguments))
    if arguments.dry_run:
        return actions.dry_run(sweep, arguments.limit, known_of(arguments, probe=False))
    if arguments.backend == "wandb":
        from experiments.sweep.wandb import create_and_run

        actions.check(sweep)
        status = create_and_run(sweep, arguments.agents)
        remove_left(RUNS)  # its agents' tapes
        return status
    folder = arguments.out or actions.default_folder(sweep)
    status = actions.run(sweep, folder, _running(arguments))
    send_owed((folder / TRIALS).iterdir())
    return status


def _given(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[str]:
    """The options that are not as they are by themselves."""
    options = {name for names in (A_LOOK, RAYS, *READ.values()) for name in names}
    return sorted(name for name in options if getattr(arguments, name) != parser.get_default(name))


def _refuse_unread(arguments: argparse.Namespace) -> None:
    """Refuse words that what was asked for does not read."""
    looks = arguments.dry_run or arguments.action == "plan"
    if arguments.action in OF_FOLDERS:
        _refuse_for_folders(arguments)
    if str(arguments.path) in ACTIONS and not arguments.path.exists():
        raise UsageError(f"sweep {arguments.path}: give the sweep's file or its folder, too")
    if arguments.backend != "wandb" and arguments.agents:
        raise UsageError(
            "--agents goes with --backend wandb; --jobs N runs N trials at a time here"
        )
    if arguments.backend == "wandb" and not looks:
        if arguments.action == "extend":
            raise UsageError("W&B's server extends no sweep; run the file for a sweep of its own")
        given = [name for name in ("limit", "out", "trial_hours") if getattr(arguments, name)]
        given += ["jobs"] * (arguments.jobs > 1) + ["executor"] * (arguments.executor != "local")
        if given:
            option = given[0].replace("_", "-")
            raise UsageError(f"--{option} is of sweeps run here; W&B's agents do not read it")
    read = READ.get(arguments.action, A_LOOK if looks else A_RUN)
    if arguments.backend == "wandb" and not looks:
        read = {"backend", "agents"}
    for name in arguments.given(arguments):
        option = f"--{name.replace('_', '-')}"
        if name in RAYS and "executor" in read and arguments.executor != "ray":
            raise UsageError(f"{option} goes with --executor ray; trials here share this machine")
        if name not in read | RAYS or (name in RAYS and "executor" not in read):
            raise UsageError(f"{option} is not read by 'sweep {arguments.action}'; leave it out")


def _refuse_for_folders(arguments: argparse.Namespace) -> None:
    verb = f"sweep {arguments.action}"
    if arguments.dry_run:
        raise UsageError(f"{verb} does what it says; --dry-run goes with a sweep's file")
    if arguments.action != "pull" and arguments.path.is_file():
        folder = arguments.out or RUNS / arguments.path.stem
        raise UsageError(
            f"{arguments.path}: {verb} takes a sweep's folder, its --out or runs/NAME: "
            f"python -m experiments {verb} {shlex.quote(str(folder))}"
        )
    if arguments.action != "pull" and arguments.out is not None:
        raise UsageError(f"{verb} works in the folder that it is given; leave --out out")


def _running(arguments: argparse.Namespace) -> "Running":
    from experiments.sweep.actions import Place, Running
    from experiments.sweep.coordinator import Options

    place = Place(
        jobs=arguments.jobs,
        grace=arguments.grace,
        cold=arguments.cold,
        executor=arguments.executor,
        ray_address=arguments.ray_address,
        trial_cpus=arguments.trial_cpus,
        trial_gpus=arguments.trial_gpus,
        carry=tuple(arguments.carry),
    )
    gib = arguments.tape_gib
    if gib is None and place.executor == "ray":
        gib = 0.0  # a cluster's shared disk may be slower than computing
    return Running(
        place=place,
        options=Options(
            retries=arguments.retries,
            limit=arguments.limit,
            orphan_seconds=arguments.grace,
            trial_seconds=arguments.trial_hours and 3600 * arguments.trial_hours,
            tape_gib=gib,
        ),
        extend=arguments.action == "extend",
    )
