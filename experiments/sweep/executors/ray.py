"""Trials on a Ray cluster: an actor each, with the CPUs and GPUs that a trial asks for.

The ledger stays with the coordinator; Ray only places and runs. All nodes see the checkout, the
Python environment and the sweep's folder at the same paths (a shared file system), so logs, curves
and checkpoints are where the coordinator reads them, and a trial whose node died goes on from its
checkpoint on another. Needs the optional extra: `python -m pip install 'ray>=2.50,<3'`.
"""

import importlib
import importlib.util
import logging
import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.errors import UsageError
from experiments.record.follow import LOG
from experiments.sweep.executors import Ended, Started, Task, guardian, ray_runner

CARRIED = ("WANDB_", "SOFTGAMMA_", "OMP_", "MKL_", "PYTHONPATH")  # and those of --carry
CAPACITY_SECONDS = 1.0  # how long a count of the nodes is believed
LAST_GRACE_SECONDS = 30.0  # after the order to kill, before Ray drops the actor itself


def require_ray() -> Any:
    """The ray module; raises UsageError that says how to get it."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError(
            "--executor ray needs Ray, an optional extra: python -m pip install 'ray>=2.50,<3'"
        )
    return importlib.import_module("ray")


@dataclass(slots=True)
class _Running:
    actor: Any
    task: Task
    end: Any = None  # the reference to its exit code, once released
    kill_at: float | None = None
    killed: bool = False


class RayExecutor:
    """Up to `jobs` trials at once on the nodes of a cluster, as many as their resources allow."""

    def __init__(
        self,
        jobs: int,
        grace_seconds: float,
        *,
        address: str,
        cpus: float,
        gpus: float,
        carry: tuple[str, ...] = (),
    ) -> None:
        """Join the cluster at `address` ("auto": this machine's; "local": a new one here)."""
        self._ray = require_ray()
        self._jobs, self._grace_seconds = jobs, grace_seconds
        self._carried = (*CARRIED, *carry)
        self._needs = {"CPU": cpus, "GPU": gpus}
        self._running: dict[int, _Running] = {}
        self._counted: tuple[float, int] = (-CAPACITY_SECONDS, 0)
        try:
            self._ray.init(
                address=None if address == "local" else address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=False if address == "local" else None,
            )
        except Exception as error:  # Ray's own are plain where a node starts too slowly
            raise UsageError(
                f"--ray-address {address}: no Ray cluster ({error}); start one with 'ray start "
                "--head', or give --ray-address local"
            ) from error
        self._ray.cloudpickle.register_pickle_by_value(ray_runner)
        self._actors = self._ray.remote(ray_runner.Runner)

    @property
    def slots(self) -> int:
        """How many tasks may run at once, as the living nodes allow."""
        return min(self._jobs, self._capacity())

    @property
    def running(self) -> tuple[int, ...]:
        """The tasks that were started and whose end `wait` has not told yet."""
        return tuple(self._running)

    def ready(self) -> bool:
        """False while no node can take a trial."""
        return bool(self._running) or self._capacity() > 0

    def start(self, task: Task) -> Started:
        """Ask Ray for a place; the trial has no process before it is released."""
        actor = self._actors.options(
            num_cpus=self._needs["CPU"],
            num_gpus=self._needs["GPU"],
            max_concurrency=2,  # an order is heard while the trial runs
            max_restarts=0,
        ).remote()
        with (task.folder / LOG).open("ab", buffering=0) as log:
            log.write(f"\n--- {shlex.join(task.command)}\n".encode())
        self._running[task.n] = _Running(actor, task)
        return Started(0, None, "ray")

    def release(self, n: int) -> None:
        """Let the trial begin as soon as it has a place."""
        running = self._running[n]
        variables = os.environ.items()
        carried = {name: value for name, value in variables if name.startswith(self._carried)}
        running.end = running.actor.run.remote(
            str(Path(guardian.__file__).absolute()),
            list(running.task.command),
            str(running.task.folder),
            {**carried, **running.task.environment, "PWD": os.getcwd()},
            self._grace_seconds,
        )

    def wait(self, seconds: float) -> list[Ended]:
        """Tasks that have ended, as soon as there are any, or none after `seconds`."""
        ends = {running.end: n for n, running in self._running.items() if running.end is not None}
        self._kill_the_late()
        if not ends:
            time.sleep(seconds)
            return []
        ready, _ = self._ray.wait(list(ends), num_returns=1, timeout=seconds)
        if ready:
            ready, _ = self._ray.wait(list(ends), num_returns=len(ends), timeout=0)
        return [self._ended(ends[end]) for end in ready]

    def stop(self, n: int) -> None:
        """Ask the trial to save and end."""
        running = self._running.get(n)
        if running is not None and running.kill_at is None:
            running.kill_at = time.monotonic() + self._grace_seconds
            running.actor.order.remote("stop")

    def kill(self) -> None:
        """End every trial at once."""
        for running in self._running.values():
            running.kill_at = time.monotonic()
        self._kill_the_late()

    def close(self) -> None:
        """Leave the cluster; what still runs is asked to save and end by its guardian."""
        self._ray.shutdown()

    def __enter__(self) -> "RayExecutor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ended(self, n: int) -> Ended:
        running = self._running.pop(n)
        errors = self._ray.exceptions
        lost = False
        try:
            code = int(self._ray.get(running.end))
        except errors.RayTaskError as error:
            code = 1
            self._note(running.task, str(error.cause))
        except errors.RayError as error:
            code, lost = -9, True
            self._note(running.task, f"the trial's node or worker is gone: {type(error).__name__}")
        self._ray.kill(running.actor)  # gives its place to the next trial
        return Ended(n, code, lost)

    def _note(self, task: Task, text: str) -> None:
        with (task.folder / LOG).open("ab", buffering=0) as log:
            log.write(f"{text}\n".encode())

    def _kill_the_late(self) -> None:
        now = time.monotonic()
        for running in self._running.values():
            if running.kill_at is None or now < running.kill_at:
                continue
            if not running.killed:
                running.actor.order.remote("kill")
                running.killed = True
                running.kill_at = now + LAST_GRACE_SECONDS
            else:
                self._ray.kill(running.actor)

    def _capacity(self) -> int:
        """Trials that the living nodes can hold at once."""
        counted, count = self._counted
        if time.monotonic() - counted >= CAPACITY_SECONDS:
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            count = sum(self._held_by(resources) for resources in nodes)
            self._counted = (time.monotonic(), count)
        return count

    def _held_by(self, resources: dict[str, float]) -> int:
        wanted = {name: need for name, need in self._needs.items() if need > 0}
        held = [int(resources.get(name, 0) / need) for name, need in wanted.items()]
        return min(held, default=self._jobs)
