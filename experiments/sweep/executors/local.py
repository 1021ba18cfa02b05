"""Trials as processes of this machine, each in a session of its own with its cores and GPUs."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from experiments.record.follow import LOG
from experiments.record.origin import JOBS, core_count
from experiments.sweep.command import search_path
from experiments.sweep.executors import Ended, Started, Task
from experiments.sweep.executors.processes import kill_group, start_mark
from experiments.sweep.executors.warm import WarmProcess

POLL_SECONDS = 0.01
# The shell waits for a word on its standard input before it becomes the trial, under the same
# process id. If the coordinator dies before the ledger knows of the process, the input closes and
# nothing has run.
GATE = 'IFS= read -r go && [ "$go" = go ] && exec "$@" </dev/null; exit 1'
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Child(Protocol):
    """A started process, cold or warm."""

    pid: int

    def release(self) -> None:
        """Open its gate."""
        ...

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        ...

    def close(self) -> None:
        """Let go of what is held for it."""
        ...


class ColdChild:
    """A trial started from its command line."""

    def __init__(self, task: Task, environment: dict[str, str], log: int) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", GATE, "sh", *task.command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def release(self) -> None:
        """Open its gate."""
        pipe = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(b"go\n")
            pipe.close()
        except BrokenPipeError:
            return  # it was killed at the gate; poll() will tell

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.poll()

    def close(self) -> None:
        """Close its gate, which is open no more."""
        if self._process.stdin is not None:
            self._process.stdin.close()


class ForkedChild:
    """A trial forked from the warm process."""

    def __init__(self, warm: WarmProcess, n: int, pid: int) -> None:
        self._warm, self._n, self.pid = warm, n, pid

    def release(self) -> None:
        """Open its gate."""
        self._warm.release(self._n)

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._warm.poll(self._n)

    def close(self) -> None:
        """Drop what the warm process knows of it."""
        self._warm.forget(self._n)


@dataclass(slots=True)
class _Running:
    child: Child
    slot: int
    kill_at: float | None = None


class LocalExecutor:
    """Up to `jobs` trials at once; a stopped one has `grace_seconds` to save before SIGKILL.

    `preload` names modules that a warm process imports once for all trials; none: all start cold.
    """

    def __init__(
        self, jobs: int, grace_seconds: float = 120.0, preload: Sequence[str] = ()
    ) -> None:
        self._jobs = jobs
        self._grace_seconds = grace_seconds
        self._running: dict[int, _Running] = {}
        self._gpus = visible_gpus()
        self._warm = WarmProcess(preload, self._threads()) if preload else None

    @property
    def slots(self) -> int:
        """How many tasks may run at once."""
        return self._jobs

    @property
    def running(self) -> tuple[int, ...]:
        """The tasks that were started and whose end `wait` has not told yet."""
        return tuple(self._running)

    def ready(self) -> bool:
        """False while the warm process is still importing."""
        return self._warm is None or self._warm.ready()

    def start(self, task: Task) -> Started:
        """Start the task's process behind its gate; raises OSError where that is impossible."""
        slot = min(set(range(self._jobs)) - {run.slot for run in self._running.values()})
        environment = {**os.environ, "PATH": search_path(), **self._share(slot), **task.environment}
        with (task.folder / LOG).open("ab", buffering=0) as log:
            log.write(f"\n--- {shlex.join(task.command)}\n".encode())
            child = self._child(task, environment, log.fileno())
        self._running[task.n] = _Running(child, slot)
        return Started(child.pid, start_mark(child.pid), os.uname().nodename)

    def release(self, n: int) -> None:
        """Open the gate of a started task."""
        self._running[n].child.release()

    def wait(self, seconds: float) -> list[Ended]:
        """Tasks that have ended; their whole process group is gone when this returns them."""
        limit = time.monotonic() + seconds
        while True:
            codes = {n: running.child.poll() for n, running in self._running.items()}
            ended = [self._reaped(n, code) for n, code in codes.items() if code is not None]
            self._kill_the_late()
            if ended or time.monotonic() >= limit:
                return ended
            time.sleep(min(POLL_SECONDS, max(0.0, limit - time.monotonic())))

    def stop(self, n: int) -> None:
        """SIGTERM to the trial's first process, which knows how to end its workers."""
        running = self._running.get(n)
        if running is None or running.kill_at is not None:
            return
        running.kill_at = time.monotonic() + self._grace_seconds
        if running.child.poll() is None:
            os.kill(running.child.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to every trial's process group."""
        for running in self._running.values():
            kill_group(running.child.pid)

    def close(self) -> None:
        """End the warm process, if there is one."""
        if self._warm is not None:
            self._warm.close()

    def __enter__(self) -> "LocalExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _child(self, task: Task, environment: dict[str, str], log: int) -> Child:
        if self._warm is not None:
            forked = self._warm.spawn(task, environment, log)
            if forked is not None:
                return ForkedChild(self._warm, task.n, forked.pid)
        return ColdChild(task, environment, log)

    def _reaped(self, n: int, code: int) -> Ended:
        running = self._running.pop(n)
        kill_group(running.child.pid)  # workers that outlived their trial
        running.child.close()
        return Ended(n, code)

    def _kill_the_late(self) -> None:
        for running in self._running.values():
            if running.kill_at is not None and time.monotonic() > running.kill_at:
                kill_group(running.child.pid)

    def _threads(self) -> dict[str, str]:
        count = str(max(1, core_count() // self._jobs))
        return {name: count for name in THREADS if name not in os.environ}

    def _share(self, slot: int) -> dict[str, str]:
        share = {**self._threads(), JOBS: str(self._jobs)}
        if self._gpus:
            each = max(1, len(self._gpus) // self._jobs)
            first = slot * each % len(self._gpus)
            share["CUDA_VISIBLE_DEVICES"] = ",".join(self._gpus[first : first + each])
        return share


def visible_gpus() -> tuple[str, ...]:
    """The GPUs this process may use, as CUDA_VISIBLE_DEVICES names them, without asking CUDA."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name.strip() for name in named.split(",") if name.strip() not in ("", "-1"))
    numbers = sorted(int(path.name[6:]) for path in Path("/dev").glob("nvidia[0-9]*"))
    return tuple(str(number) for number in range(len(numbers)))
