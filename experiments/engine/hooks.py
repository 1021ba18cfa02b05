"""What happens around each iteration: schedules, rows of the record, what is due at intervals.

Why a training ends before its last iteration: signals, a budget, or nothing left to gain.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType
from typing import Protocol

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from detectors.base import AnyDetector
from experiments.config.train import LearningRate
from experiments.ending import handled_by
from experiments.engine import distributed
from losses.base import ScheduledLoss

Row = dict[str, float | None]
COUNTED = "foreground"  # summed over ranks; the terms of the loss are their mean


def detector_of(runner: Runner) -> AnyDetector:
    """The detector inside the runner's model, wrapped for several processes or not."""
    model = getattr(runner.model, "module", runner.model)
    detector: AnyDetector = model.detector
    return detector


class ScheduleHook(Hook):
    """Puts learning rate, gamma and alpha in force before each iteration, from the iteration alone.

    Nothing is counted here, so a resumed run has the same values as one that never stopped, on
    every rank. `follow` lets them follow a time budget too, whose clock all sittings share.
    """

    priority = "VERY_HIGH"

    def __init__(self, loss: ScheduledLoss, learning_rate: LearningRate) -> None:
        self._loss = loss
        self._learning_rate = learning_rate
        self._used: Callable[[], float] | None = None
        self.in_force: dict[str, float] = {}

    def follow(self, used: Callable[[], float]) -> None:
        """Be as far as this share of the time budget, where that is further than the iterations."""
        self._used = used

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Set the values for the update numbered `batch_idx`."""
        # the last update is at 1, or a ramp to the end would never reach it
        last = max(1, runner.max_iters - 1)
        progress = batch_idx / last
        if self._used is not None:  # one clock for all ranks
            progress = min(1.0, max(progress, distributed.shared(self._used())))
        detector_of(runner).classification_loss = self._loss.at(progress)
        warm = batch_idx >= self._learning_rate.warmup_iterations
        place = max(batch_idx, round(progress * last)) if warm else batch_idx
        factor = self._learning_rate.factor(place, runner.max_iters)
        groups = runner.optim_wrapper.optimizer.param_groups
        for group in groups:
            group["lr"] = group["initial_lr"] * factor
        # The record speaks of the rate of the newly built layers, the largest of the groups.
        rate = max(group["lr"] for group in groups)
        self.in_force = {"progress": progress, "lr": rate} | self._loss.values(progress)


RowSink = Callable[[Row], None]  # takes the rows of the curves, in order


class RowHook(Hook):
    """One row an iteration. Values stay on the device until `flush_every` rows are read at once,
    save the first row of a sitting: whoever waits for it learns at once that training has begun.
    """

    priority = "NORMAL"

    def __init__(
        self, schedule: ScheduleHook, sinks: list[RowSink], flush_every: int, batch_images: int
    ) -> None:
        self._schedule = schedule
        self._sinks = sinks
        self._flush_every = flush_every
        self._batch_images = batch_images
        self._waiting: list[tuple[Row, dict[str, torch.Tensor]]] = []
        self._last = 0.0
        self._first = True
        self.seconds = 0.0  # spent in training iterations, over all sittings

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self._last = time.perf_counter()

    def pause(self) -> None:
        """Leave the time since the last row out: it was not training."""
        self._last = time.perf_counter()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Keep the row of the update that just ended."""
        now = time.perf_counter()
        spent, self._last = now - self._last, now
        self.seconds += spent
        row: Row = {
            "iteration": batch_idx + 1,
            **self._schedule.in_force,
            "seconds": round(self.seconds, 4),
            "images_per_second": round(self._batch_images / spent, 2),
        }
        self._waiting.append((row, dict(outputs or {})))
        if self._first:
            self._first = False
            self.flush()
            self.pause()  # what listens to rows may be slow to open
        elif len(self._waiting) >= self._flush_every:
            self.flush()

    def after_train(self, runner: Runner) -> None:
        """Leave nothing behind."""
        self.flush()

    def flush(self) -> None:
        """Read the waiting values and hand the rows on; ranks do it at the same iterations."""
        if not self._waiting:
            return
        names = sorted(self._waiting[0][1])
        values_RV = torch.stack(
            [torch.stack([out[name].double() for name in names]) for _, out in self._waiting]
        )
        values_RV = distributed.summed(values_RV.cpu())
        for (row, _), values in zip(self._waiting, values_RV.tolist(), strict=True):
            read: Row = {
                name: value if name == COUNTED else value / distributed.world()
                for name, value in zip(names, values, strict=True)
            }
            for sink in self._sinks:
                sink(row | read)
        self._waiting.clear()


class EveryHook(Hook):
    """Calls `action(iteration)` every `interval` updates, and after the last one if `at_end`."""

    priority = "LOW"

    def __init__(self, interval: int, action: Callable[[int], None], *, at_end: bool) -> None:
        self._interval = interval
        self._action = action
        self._at_end = at_end

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: object = None,
    ) -> None:
        """Act when the interval is full."""
        done = batch_idx + 1
        if done % self._interval == 0 or (self._at_end and done == runner.max_iters):
            self._action(done)


class Stop(IntEnum):
    """The reasons, the one that outweighs others last; ranks follow the highest of any."""

    NONE = 0
    PATIENCE = 1  # validations stopped getting better
    SECONDS = 2  # the time is used up
    SIGNAL = 3  # SIGTERM, Ctrl-C, a closed terminal


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
    """Signals to end raise Interrupted, in this process and not in those that it starts."""
    own = os.getpid()

    def give_up(number: int, frame: FrameType | None) -> None:
        if os.getpid() == own:
            raise Interrupted(signal.Signals(number).name)

    with handled_by(give_up):
        yield


@contextmanager
def stop_on_signals(loop: Stoppable) -> Iterator[None]:
    """Signals to end ask the loop to stop after its iteration; a second one acts at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        loop.stop = Stop.SIGNAL
        signal.signal(number, old[number])

    with handled_by(ask) as old:
        yield
