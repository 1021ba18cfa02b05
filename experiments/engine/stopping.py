"""Why a training ends before its last iteration: signals, a budget, or nothing left to gain."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType
from typing import Any, Protocol

from mmengine.hooks import Hook
from mmengine.runner import Runner

from experiments.engine.hooks import RowHook

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop(IntEnum):
    """The reasons, the one that outweighs others last; ranks follow the highest of any."""

    NONE = 0
    PATIENCE = 1  # validations stopped getting better
    SECONDS = 2  # the time is used up
    SIGNAL = 3  # SIGTERM or Ctrl-C


class Stoppable(Protocol):
    """What can be asked to stop after its iteration."""

    stop: Stop


class BudgetHook(Hook):
    """Asks the loop to stop once so many seconds were spent in iterations, over all sittings."""

    priority = "VERY_LOW"

    def __init__(self, rows: RowHook, seconds: float | None) -> None:
        self._rows = rows
        self._seconds = seconds

    @property
    def used_up(self) -> bool:
        """Whether nothing is left."""
        return self._seconds is not None and self._rows.seconds >= self._seconds

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        """Look at the clock."""
        if self.used_up:
            runner.train_loop.stop = max(runner.train_loop.stop, Stop.SECONDS)


class Interrupted(BaseException):
    """A signal outside the loop, or a second one in it: the run ends at once and records that."""


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """SIGTERM and SIGINT raise Interrupted, in this process and not in those that it starts."""
    own = os.getpid()

    def give_up(number: int, frame: FrameType | None) -> None:
        if os.getpid() == own:
            raise Interrupted(signal.Signals(number).name)

    with _handled_by(give_up):
        yield


@contextmanager
def stop_on_signals(loop: Stoppable) -> Iterator[None]:
    """SIGTERM and SIGINT ask the loop to stop after its iteration; a second one acts at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        loop.stop = Stop.SIGNAL
        signal.signal(number, old[number])

    with _handled_by(ask) as old:
        yield


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[dict[int, Any]]:
    """Give what handled the signals before; only a main thread can handle any."""
    old: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        old = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield old
    finally:
        for number, before in old.items():
            signal.signal(number, before)
