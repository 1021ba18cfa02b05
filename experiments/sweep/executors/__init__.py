"""Where trials run: an executor starts, watches and stops them, and decides nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt at a trial: its number, its command and the folder that it writes."""

    n: int
    command: Sequence[str]
    folder: Path
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class Started:
    """A task's process, held back until `release`; `mark` tells it from a later one of its id."""

    pid: int
    mark: str | None
    host: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a task; `exit_code` is negative where a signal ended it, `lost` says that its
    machine went with it.
    """

    n: int
    exit_code: int
    lost: bool = False


class Executor(Protocol):
    """What the coordinator asks of a place to run trials."""

    @property
    def slots(self) -> int:
        """How many tasks may run at once."""
        ...

    @property
    def running(self) -> tuple[int, ...]:
        """The tasks that were started and whose end `wait` has not told yet."""
        ...

    def ready(self) -> bool:
        """Whether tasks can be started now; it is asked again a moment later."""
        ...

    def start(self, task: Task) -> Started:
        """Make the process ready, but let it do nothing before `release`."""
        ...

    def release(self, n: int) -> None:
        """Let a started task go: it is in the ledger now."""
        ...

    def wait(self, seconds: float) -> list[Ended]:
        """Tasks that have ended, as soon as there are any, or none after `seconds`."""
        ...

    def stop(self, n: int) -> None:
        """Ask one task to save its state and end (SIGTERM); it is killed if it takes too long."""
        ...

    def kill(self) -> None:
        """End every task at once."""
        ...
