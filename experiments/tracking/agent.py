"""A trial of `wandb agent` ends when its agent is gone: SIGTERM to the agent reaches nobody else.

The agent gives each trial a process group of its own and passes signals on only with
`--forward-signals`, so a killed agent would leave its trial to train on for a sweep that has
counted it as crashed.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.tracking.settings import RUN, in_sweep

POLL_SECONDS = 1.0
PROC = Path("/proc")


@contextmanager
def ended_with_agent() -> Iterator[None]:
    """Under an agent: SIGTERM to this process once the agent is gone, as if it had passed it on."""
    if not in_sweep():
        yield
        return
    agent = agent_of(os.getpid())
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(agent, over), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def agent_of(pid: int) -> int:
    """The nearest parent of process `pid` that was not started for this run: the agent, behind any
    launcher such as torchrun. Where /proc does not tell, the parent.
    """
    mark = f"{RUN}={os.environ.get(RUN, '')}".encode()
    above = pid
    while True:
        fields = _stat(above)
        above = int(fields[1]) if fields else 0
        try:
            variables = (PROC / str(above) / "environ").read_bytes().split(b"\0")
        except OSError:
            return os.getppid()
        if mark not in variables:
            return above


def start_of(pid: int) -> str:
    """When a process started, as /proc counts it: tells it from a later one of its id. "" where it
    does not run, or /proc does not tell.
    """
    fields = _stat(pid)
    return fields[19] if fields is not None and fields[0] not in "ZX" else ""


def _watch(agent: int, over: threading.Event) -> None:
    while not over.wait(POLL_SECONDS):
        if not _alive(agent):
            print("wandb agent is gone: this trial saves its state and ends", file=sys.stderr)
            os.kill(os.getpid(), signal.SIGTERM)
            return


def _alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    if not PROC.is_dir():
        return os.getppid() == pid
    fields = _stat(pid)
    return fields is not None and fields[0] not in "ZX"


def _stat(pid: int) -> list[str] | None:
    """State, parent and more of a process, where /proc tells."""
    try:
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
