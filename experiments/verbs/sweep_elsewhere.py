"""The `sweep` verb beyond this machine: W&B's server, Ray's clusters, and results brought back."""

import argparse
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from experiments.sweep.executors.local import LocalExecutor
from experiments.sweep.space import Check, Sweep, check_points, grid_points

RUNS = Path("runs")  # where trials of `wandb agent` lie


def add_elsewhere(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where a sweep and its trials live."""
    group = parser.add_argument_group("beyond this machine")
    group.add_argument(
        "--backend",
        choices=("ledger", "wandb"),
        default="ledger",
        help="who owns the sweep: this process's ledger (default), or W&B's server",
    )
    group.add_argument(
        "--agents",
        type=int,
        default=0,
        metavar="N",
        help="with --backend wandb: agents to run here (default 0; others may run anywhere)",
    )
    group.add_argument(
        "--executor",
        choices=("local", "ray"),
        default="local",
        help="where trials run: as processes here (default), or on a Ray cluster (pip install ray)",
    )
    group.add_argument(
        "--ray-address",
        default="auto",
        metavar="A",
        help="the cluster (default: the one this machine belongs to); 'local' starts one here",
    )
    group.add_argument(
        "--trial-cpus", type=float, default=1, metavar="N", help="of Ray, a trial (default 1)"
    )
    group.add_argument(
        "--trial-gpus", type=float, default=0, metavar="N", help="of Ray, a trial (default 0)"
    )


def chosen_executor(
    arguments: argparse.Namespace, preload: Sequence[str]
) -> AbstractContextManager[Any]:
    """The executor that the options ask for."""
    if arguments.executor == "local":
        return LocalExecutor(arguments.jobs, arguments.grace, preload)
    from experiments.sweep.executors.ray import RayExecutor

    return RayExecutor(
        arguments.jobs,
        arguments.grace,
        address=arguments.ray_address,
        cpus=arguments.trial_cpus,
        gpus=arguments.trial_gpus,
    )


def create_on_wandb(sweep: Sweep, arguments: argparse.Namespace, check: Check | None) -> int:
    """Create the sweep on W&B's server, say how to run it, and run the agents asked for."""
    from experiments.sweep import wandb as server

    if check is not None and sweep.method == "grid":
        check_points(sweep, grid_points(sweep), check)
    path = server.create(sweep)
    print(f"run it from any checkout, as often as you like: wandb agent {path}")
    print(f"bring its results here: python -m experiments sweep pull {path}", flush=True)
    return server.run_agents(path, arguments.agents) if arguments.agents > 0 else 0


def pull(path: str, out: Path | None) -> int:
    """Bring a sweep's records back; returns 1 if a run brought none."""
    from experiments.sweep import wandb as server
    from experiments.tracking.owed import send_owed

    send_owed(sorted(RUNS.iterdir()) if RUNS.is_dir() else ())  # what an agent here kept back
    pulled = server.pull(path, out, say=print)
    print(
        f"{pulled.folder}: {len(pulled.brought)} runs pulled, {len(pulled.here)} were here, "
        f"{len(pulled.missing)} without a record"
    )
    if pulled.brought or pulled.here:
        print(f"their report: python -m experiments report {pulled.folder}")
    return 1 if pulled.missing else 0
