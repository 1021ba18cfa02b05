"""Which process is which, across restarts: an id means little without the time it started."""

import functools
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

POLL_SECONDS = 0.02
PROC = Path("/proc")


def start_mark(pid: int) -> str | None:
    """When process `pid` started, as a text to compare; None when it is gone or only a zombie."""
    if PROC.is_dir():
        fields = _stat(pid)
        return None if fields is None or fields[0] in "ZX" else f"{_boot()}-{fields[19]}"
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    state, _, started = shown.partition(" ")
    return started.strip() if shown and not state.startswith("Z") else None


def end_orphan(pid: int, mark: str | None, grace_seconds: float) -> bool:
    """End a trial that a killed coordinator left: SIGTERM, wait, SIGKILL. True if one ran.

    Its workers go too: what is left of the session that it led.
    """
    if mark is None or start_mark(pid) not in (mark, None):
        return False  # another process has that id by now
    alive = start_mark(pid) == mark
    if alive:
        _signal(pid, signal.SIGTERM)
        limit = time.monotonic() + grace_seconds
        while start_mark(pid) == mark and time.monotonic() < limit:
            time.sleep(POLL_SECONDS)
        if start_mark(pid) == mark:
            kill_group(pid)
    for member in list(_session(pid, mark)):
        _signal(member, signal.SIGKILL)
        alive = True
    return alive


def kill_group(pid: int) -> None:
    """SIGKILL to a whole process group; nothing happens if it is gone."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _session(leader: int, mark: str) -> Iterator[int]:
    """Living processes of the session that `leader` began in this boot, where /proc tells.

    The system gives a session's number to nobody else while any of its processes lives.
    """
    boot, _, _ = mark.rpartition("-")
    for entry in PROC.glob("[0-9]*") if PROC.is_dir() and boot == _boot() else ():
        fields = _stat(int(entry.name))
        if fields is not None and fields[3] == str(leader) and fields[0] not in "ZX":
            yield int(entry.name)


@functools.cache
def _boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return ""


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
