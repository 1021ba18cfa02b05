"""Trials as processes of this machine, each in a session of its own with its cores and GPUs."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from experiments.sweep.executors import Ended, Started, Task
from experiments.sweep.processes import kill_group, start_mark
from experiments.sweep.progress import LOG

POLL_SECONDS = 0.01
# The shell waits for a word on its standard input before it becomes the trial, under the same
# process id. If the coordinator dies before the ledger knows of the process, the input closes and
# nothing has run.
GATE = 'IFS= read -r go && [ "$go" = go ] && exec "$@" </dev/null; exit 1'
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(slots=True)
class _Running:
    process: "subprocess.Popen[bytes]"
    slot: int
    kill_at: float | None = None


class LocalExecutor:
    """Up to `jobs` trials at once; a stopped one has `grace_seconds` to save before SIGKILL."""

    def __init__(self, jobs: int, grace_seconds: float = 120.0) -> None:
        self._jobs = jobs
        self._grace_seconds = grace_seconds
        self._running: dict[int, _Running] = {}
        self._gpus = visible_gpus()

    @property
    def slots(self) -> int:
        """How many tasks may run at once."""
        return self._jobs

    @property
    def running(self) -> tuple[int, ...]:
        """The tasks that were started and whose end `wait` has not told yet."""
        return tuple(self._running)

    def start(self, task: Task) -> Started:
        """Start the task's process behind its gate; raises OSError where that is impossible."""
        slot = min(set(range(self._jobs)) - {run.slot for run in self._running.values()})
        with (task.folder / LOG).open("ab", buffering=0) as log:
            log.write(f"\n--- {' '.join(task.command)}\n".encode())
            process = subprocess.Popen(
                ["/bin/sh", "-c", GATE, "sh", *task.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._share(slot), **task.environment},
                start_new_session=True,
            )
        self._running[task.n] = _Running(process, slot)
        return Started(process.pid, start_mark(process.pid), os.uname().nodename)

    def release(self, n: int) -> None:
        """Open the gate of a started task."""
        pipe = self._running[n].process.stdin
        assert pipe is not None
        try:
            pipe.write(b"go\n")
            pipe.close()
        except BrokenPipeError:
            return  # it was killed at the gate; wait() will report its end

    def wait(self, seconds: float) -> list[Ended]:
        """Tasks that have ended; their whole process group is gone when this returns them."""
        limit = time.monotonic() + seconds
        while True:
            ended = [self._reap(n) for n, run in list(self._running.items()) if _over(run)]
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
        running.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to every trial's process group."""
        for running in self._running.values():
            kill_group(running.process.pid)

    def _reap(self, n: int) -> Ended:
        running = self._running.pop(n)
        kill_group(running.process.pid)  # workers that outlived their trial
        if running.process.stdin is not None:
            running.process.stdin.close()
        return Ended(n, running.process.returncode)

    def _kill_the_late(self) -> None:
        for running in self._running.values():
            if running.kill_at is not None and time.monotonic() > running.kill_at:
                kill_group(running.process.pid)

    def _share(self, slot: int) -> dict[str, str]:
        threads = str(max(1, len(os.sched_getaffinity(0)) // self._jobs))
        share = {name: threads for name in THREADS if name not in os.environ}
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


def _over(running: _Running) -> bool:
    return running.process.poll() is not None
