"""Tapes of W&B's sweeps: one folder a sweep, beside the runs of its agents on this machine.

Nobody here knows when the server has no more points, so a tape goes when its agents are gone: with
the verb that started them, or else with the next run beside it.
"""

import os
import sys
from pathlib import Path

from experiments.record import tapes as disk
from experiments.tracking.agent import agent_of, start_of
from experiments.tracking.settings import SWEEP, in_sweep

AGENTS = "agents"  # of those that have used a tape: process id, start, machine; one a line


def place(runs: Path) -> Path | None:
    """Where the tapes of the sweep that this process is a trial of lie; None outside of one."""
    return runs / f"{disk.FOLDER}-{os.environ[SWEEP]}" if in_sweep() else None


def register(root: Path) -> None:
    """Note that this trial's agent uses the tapes at `root`, and remove what other agents left.

    Does nothing outside of a W&B sweep. Raises OSError.
    """
    if place(root.parent) != root:
        return
    remove_left(root.parent, but=root)
    root.mkdir(parents=True, exist_ok=True)
    agent = agent_of(os.getpid())
    with (root / AGENTS).open("a", encoding="utf-8") as file:
        file.write(f"{agent} {start_of(agent)} {os.uname().nodename}\n")


def remove_left(runs: Path, but: Path | None = None) -> None:
    """Remove tapes that were left by agents of this machine that are gone."""
    for listed in runs.glob(f"{disk.FOLDER}-*/{AGENTS}"):
        if listed.parent == but or any(map(_alive, listed.read_text(encoding="utf-8").split("\n"))):
            continue
        freed = disk.remove(listed.parent) / 1e9
        print(f"{listed.parent}: its agents are gone, {freed:.2f} GB removed", file=sys.stderr)


def _alive(line: str) -> bool:
    """Whether the agent runs; one of another machine may."""
    words = line.split()
    if len(words) != 3:
        return False
    pid, start, machine = words
    return machine != os.uname().nodename or start_of(int(pid)) == start
