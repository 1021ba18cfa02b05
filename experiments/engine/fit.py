"""Train a detector from its newest checkpoint, or from the start, to the last iteration."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from detectors.base import AnyDetector
from experiments.config.train import LearningRate, Optimizer, Train
from experiments.engine import distributed
from experiments.engine.arithmetic import device_here, placed
from experiments.engine.averaging import Average
from experiments.engine.checkpoint import (
    Best,
    CheckpointWriter,
    best_good,
    load_checkpoint,
    newest_good,
    remove_leftovers,
)
from experiments.engine.guards import FileNames, FiniteHook
from experiments.engine.hooks import (
    BudgetHook,
    EveryHook,
    RowHook,
    RowSink,
    ScheduleHook,
    Stop,
    stop_on_signals,
)
from experiments.engine.machine import compile_parts
from experiments.engine.optimizer import build_optimizer
from experiments.engine.runner import StepModel, build_runner
from experiments.engine.update import Update
from experiments.record.parts import Arithmetic
from losses.base import ScheduledLoss

# The average spans a tenth of the updates so far until it spans 1 / (1 - ema) of them: a constant
# span would carry the untrained weights of a short run into its result.
EMA_WARMUP = 10

Validate = Callable[[AnyDetector, int], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Task:
    """What to fit: the parts of a run's configuration that the engine reads, its loss prepared."""

    train: Train
    optimizer: Optimizer
    learning_rate: LearningRate
    loss: ScheduledLoss
    arithmetic: Arithmetic
    seed: int
    context: dict[str, Any]  # stored in each checkpoint: what its weights are read with


@dataclass(frozen=True, slots=True)
class Fitted:
    """A detector after training, with the weights to measure; `stop` is why it ended early."""

    detector: AnyDetector
    iteration: int
    seconds: float
    stop: Stop

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train: all but a signal ends it for good."""
        return self.stop is not Stop.SIGNAL


class _AverageHook(Hook):
    """Moves the exponential average of the weights after each update."""

    priority = "ABOVE_NORMAL"

    def __init__(self, average: Average, detector: AnyDetector) -> None:
        self._average = average
        self._detector = detector

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        self._average.update_parameters(self._detector)


class Fit:
    """One training, resumable: `run` goes on from the newest good checkpoint in `folder`."""

    def __init__(
        self,
        detector: AnyDetector,
        loader_from: Callable[[int], Any],
        folder: Path,
        task: Task,
        *,
        sinks: list[RowSink],
        validate: Validate,
        file_names: FileNames = list,
    ) -> None:
        """`loader_from(k)` yields batches from the k-th on; `validate(detector, iteration)`
        records and returns the numbers; `file_names` gives the files of image ids, for messages.
        """
        train = task.train
        self._device = device_here()
        self._detector = placed(detector, self._device, task.arithmetic)
        self._task = task
        self._validate = validate
        self._checkpoints = folder / "checkpoints"
        self._average = _average(detector, train.ema)
        self._optimizer = build_optimizer(task.optimizer, detector)
        self._update = self._build_update()
        self._prepare_hooks(sinks, file_names)
        self._random: dict[str, torch.Tensor] = {}
        self._start = self._restore()
        if task.arithmetic.compile:
            compile_parts(detector)
        self._runner = build_runner(
            StepModel(detector, task.arithmetic),
            loader_from(self._start * train.accumulate),
            self._update,
            self._hooks(),
            folder,
            train,
            seed=task.seed,
        )

    @property
    def start(self) -> int:
        """The iteration that training goes on from."""
        return self._start

    def run(self) -> Fitted:
        """Train; SIGTERM and SIGINT end it after the iteration in hand, with a checkpoint."""
        loop = self._runner.build_train_loop(self._runner._train_loop)
        loop.iteration = self._start
        self._runner._train_loop = loop
        self._set_random()  # after the Runner, which seeds as it is built
        with stop_on_signals(loop):
            if self._validation_is_due():  # a kill came between checkpoint and validation
                self._validate_now(self._start)
            self._stop_where_nothing_is_left()
            self._train()
        if loop.iteration < self._task.train.iterations and self._writer.written != loop.iteration:
            self._writer(loop.iteration)
        stop = loop.stopped_by
        detector = self._averaged() if stop is Stop.SIGNAL else self._measured()
        return Fitted(detector, loop.iteration, self._rows.seconds, stop)

    def _train(self) -> None:
        try:
            self._runner.train()
            self._flush()
        except Exception:
            if distributed.world() == 1:  # ranks would wait for one another here
                with contextlib.suppress(OSError):
                    self._rows.flush()
            raise

    def _validation_is_due(self) -> bool:
        every = self._task.train.validate_every
        return every is not None and self._start % every == 0 and self._best.last < self._start

    def _averaged(self) -> AnyDetector:
        """The detector to validate: the averaged one where there is an average."""
        return self._detector if self._average is None else cast(AnyDetector, self._average.module)

    def _measured(self) -> AnyDetector:
        """The detector to measure at the end, with the weights of the best validation if so asked.

        Each rank reads the file that the first one chose.
        """
        detector = self._averaged()
        if self._task.train.measure == "best":
            found = best_good(self._checkpoints) if distributed.is_first() else None
            path = distributed.shared(None if found is None else found[0])
            if path is not None:
                self._load_weights(load_checkpoint(path))
        distributed.equalise(detector)
        return detector

    def _build_update(self) -> Update:
        task = self._task
        return Update(
            self._optimizer,
            arithmetic=task.arithmetic,
            accumulate=task.train.accumulate,
            clip_norm=task.optimizer.clip_norm,
            skip=task.train.nonfinite == "skip",
            device=self._device,
        )

    def _prepare_hooks(self, sinks: list[RowSink], file_names: FileNames) -> None:
        task, train = self._task, self._task.train
        self._schedule = ScheduleHook(task.loss, task.learning_rate)
        self._rows = RowHook(self._schedule, sinks, train.log_every, train.images_an_update)
        self._finite = FiniteHook(
            train,
            self._detector,
            file_names,
            check_every=train.log_every if self._device.type == "cuda" else 1,
        )
        self._budget = BudgetHook(self._rows, train.seconds)
        if train.progress == "time" and train.seconds is not None:
            budget = train.seconds
            self._schedule.follow(lambda: self._rows.seconds / budget)
        self._best = Best(
            self._checkpoints,
            train.best_metric,
            keep=train.keep_best,
            patience=train.patience,
            weights=self._weights,
        )
        self._writer = CheckpointWriter(
            self._checkpoints, train.keep_checkpoints, self._state, self._flush
        )

    def _hooks(self) -> list[Hook]:
        train = self._task.train
        hooks: list[Hook] = [self._schedule, self._finite, self._rows, self._budget]
        if self._average is not None:
            hooks.append(_AverageHook(self._average, self._detector))
        hooks.append(EveryHook(train.checkpoint_every, self._writer, at_end=True))
        if train.validate_every is not None:
            hooks.append(EveryHook(train.validate_every, self._validate_now, at_end=False))
        return hooks

    def _flush(self) -> None:
        """Bring the rows up to here on disk, unless one of them is no number."""
        self._finite.check()
        self._rows.flush()

    def _validate_now(self, iteration: int) -> None:
        self._flush()
        detector = self._averaged()
        distributed.equalise(detector)
        with torch.random.fork_rng():
            metrics = self._validate(detector, iteration)
        self._best(iteration, metrics)
        self._stop_where_nothing_is_left()
        self._detector.train()
        self._rows.pause()

    def _stop_where_nothing_is_left(self) -> None:
        loop = self._runner.train_loop
        for over, reason in (
            (self._best.exhausted, Stop.PATIENCE),
            (self._budget.used_up, Stop.SECONDS),
        ):
            if over:
                loop.stop = max(loop.stop, reason)

    def _weights(self) -> dict[str, Any]:
        return {
            "iteration": self._runner.train_loop.iteration,
            "detector": self._detector.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "context": self._task.context,
        }

    def _state(self) -> dict[str, Any]:
        scaler = self._update.scaler
        random = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state()
        return {
            **self._weights(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "random": random,
            "seconds": self._rows.seconds,
            "skipped": self._finite.skipped,
            "validated": [list(entry) for entry in self._best.history],
            "in_force": dict(self._schedule.in_force),
        }

    def _restore(self) -> int:
        """Take up the newest good checkpoint; the first rank chooses it for all."""
        found = None
        if distributed.is_first():
            remove_leftovers(self._checkpoints)
            found = newest_good(self._checkpoints)
        path = distributed.shared(None if found is None else found[0])
        if path is None:
            return 0
        state = load_checkpoint(path) if found is None else found[1]
        if distributed.is_first():
            print(f"continuing from {path} (iteration {state['iteration']})", flush=True)
        self._load_weights(state)
        self._optimizer.load_state_dict(state["optimizer"])
        if self._update.scaler is not None and state.get("scaler"):
            self._update.scaler.load_state_dict(state["scaler"])
        random = state["random"]  # a bare tensor in checkpoints of the first versions
        self._random = random if isinstance(random, dict) else {"cpu": random}
        self._rows.seconds = float(state["seconds"])
        self._finite.skipped = int(state.get("skipped", 0))
        self._best.history = [(int(entry[0]), entry[1]) for entry in state.get("validated", [])]
        return int(state["iteration"])

    def _load_weights(self, state: dict[str, Any]) -> None:
        self._detector.load_state_dict(state["detector"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])

    def _set_random(self) -> None:
        if "cpu" in self._random:
            torch.set_rng_state(self._random["cpu"])
        if "cuda" in self._random and self._device.type == "cuda":
            torch.cuda.set_rng_state(self._random["cuda"])


def _average(detector: AnyDetector, ema: float | None) -> Average | None:
    if ema is None:
        return None
    return Average(detector, momentum=1 - ema, gamma=EMA_WARMUP)
