"""Which process is which, across restarts: an id means little without the time it started."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

RUN_DIR = "SOFTGAMMA_RUN_DIR"
POLL_SECONDS = 0.02
PROC = Path("/proc")


def start_mark(pid: int) -> str | None:
    """When process `pid` started, as a text to compare; None when it is gone or only a zombie."""
    if PROC.is_dir():
        fields = _stat(pid)
        return None if fields is None or fields[0] in "ZX" else f"{fields[19]}"
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    state, _, started = shown.partition(" ")
    return started.strip() if shown and not state.startswith("Z") else None


def end_orphan(pid: int, mark: str | None, run_folder: Path, grace_seconds: float) -> bool:
    """End a trial that a killed coordinator left: SIGTERM, wait, SIGKILL. True if one ran."""
    alive = mark is not None and start_mark(pid) == mark
    if alive:
        _signal(pid, signal.SIGTERM)
        limit = time.monotonic() + grace_seconds
        while start_mark(pid) == mark and time.monotonic() < limit:
            time.sleep(POLL_SECONDS)
        if start_mark(pid) == mark:
            kill_group(pid)
    for member in list(_members(run_folder)):
        _signal(member, signal.SIGKILL)
        alive = True
    return alive


def kill_group(pid: int) -> None:
    """SIGKILL to a whole process group; nothing happens if it is gone."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _members(run_folder: Path) -> Iterator[int]:
    """Processes whose environment names this trial's folder (its workers, where /proc tells)."""
    wanted = f"{RUN_DIR}={run_folder}".encode()
    for entry in PROC.glob("[0-9]*/environ") if PROC.is_dir() else ():
        try:
            if wanted in entry.read_bytes().split(b"\0"):
                yield int(entry.parent.name)
        except OSError:
            continue


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _stat(pid: int) -> list[str] | None:
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
