"""Train a detector from its newest checkpoint, or from the start, to the last iteration."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from mmengine.hooks import Hook
from mmengine.model import MomentumAnnealingEMA
from mmengine.runner import Runner

from detectors.base import AnyDetector
from experiments.engine.checkpoint import newest_good
from experiments.engine.hooks import (
    CheckpointWriter,
    EveryHook,
    FiniteHook,
    RowHook,
    RowSink,
    ScheduleHook,
)
from experiments.engine.optimizer import (
    AutocastOptimWrapper,
    LearningRate,
    Optimizer,
    build_optimizer,
)
from experiments.engine.runner import build_runner
from experiments.engine.step_model import StepModel
from losses.base import ScheduledLoss

# The average spans a tenth of the updates so far until it spans 1 / (1 - ema) of them: a constant
# span
# would carry the untrained weights of a short run into its result.
EMA_WARMUP = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """What to fit and for how long; counts are in updates of the weights."""

    iterations: int
    batch_size: int
    accumulate: int
    seed: int
    optimizer: Optimizer
    learning_rate: LearningRate
    loss: ScheduledLoss
    bfloat16: bool
    channels_last: bool
    ema: float | None
    validate_every: int | None
    checkpoint_every: int
    keep_checkpoints: int
    log_every: int
    context: dict[str, Any]  # stored in each checkpoint: config and classes


@dataclass(frozen=True, slots=True)
class Fitted:
    """A detector after training; `finished` is False when a signal ended it early."""

    detector: AnyDetector
    finished: bool
    iteration: int
    seconds: float


class _AverageHook(Hook):
    """Moves the exponential average of the weights after each update."""

    priority = "ABOVE_NORMAL"

    def __init__(self, average: MomentumAnnealingEMA, detector: AnyDetector) -> None:
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
        plan: Plan,
        *,
        sinks: list[RowSink],
        validate: Callable[[AnyDetector, int], None],
    ) -> None:
        """`loader_from(k)` yields batches from the k-th on; `validate(detector, iteration)`
        records.
        """
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        memory = torch.channels_last if plan.channels_last else torch.contiguous_format
        self._detector = detector.to(device, memory_format=memory)  # type: ignore[call-overload]
        self._plan = plan
        self._validate = validate
        self._checkpoints = folder / "checkpoints"
        self._average = (
            None
            if plan.ema is None
            else MomentumAnnealingEMA(
                detector, momentum=1 - plan.ema, gamma=EMA_WARMUP, update_buffers=True
            )
        )
        self._optimizer = build_optimizer(plan.optimizer, detector)
        self._schedule = ScheduleHook(plan.loss, plan.learning_rate)
        self._rows = RowHook(
            self._schedule, sinks, plan.log_every, plan.batch_size * plan.accumulate
        )
        self._random: torch.Tensor | None = None
        self._start = self._restore()
        self._runner = build_runner(
            StepModel(detector, plan.channels_last),
            loader_from(self._start * plan.accumulate),
            self._wrapper(),
            self._hooks(),
            folder,
            seed=plan.seed,
            iterations=plan.iterations,
            accumulate=plan.accumulate,
            batch_size=plan.batch_size,
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
        if self._random is not None:
            torch.set_rng_state(self._random)  # after the Runner, which seeds as it is built
        with _stop_on_signals(loop):
            self._runner.train()
        if loop.iteration < self._plan.iterations and self._writer.written != loop.iteration:
            self._writer(loop.iteration)
        return Fitted(
            self._measured(),
            loop.iteration >= self._plan.iterations,
            loop.iteration,
            self._rows.seconds,
        )

    def _measured(self) -> AnyDetector:
        """The detector to evaluate: the averaged one where there is an average."""
        return self._detector if self._average is None else cast(AnyDetector, self._average.module)

    def _wrapper(self) -> AutocastOptimWrapper:
        clip = self._plan.optimizer.clip_norm
        return AutocastOptimWrapper(
            bfloat16=self._plan.bfloat16,
            optimizer=self._optimizer,
            accumulative_counts=self._plan.accumulate,
            clip_grad=None if clip is None else {"max_norm": clip},
        )

    def _hooks(self) -> list[Hook]:
        plan = self._plan
        self._writer = CheckpointWriter(
            self._checkpoints, plan.keep_checkpoints, self._state, self._rows.flush
        )
        hooks: list[Hook] = [self._schedule, FiniteHook(), self._rows]
        if self._average is not None:
            hooks.append(_AverageHook(self._average, self._detector))
        hooks.append(EveryHook(plan.checkpoint_every, self._writer, at_end=True))
        if plan.validate_every is not None:
            hooks.append(EveryHook(plan.validate_every, self._validate_now, at_end=False))
        return hooks

    def _validate_now(self, iteration: int) -> None:
        self._rows.flush()
        detector = self._measured()
        with torch.random.fork_rng():
            self._validate(detector, iteration)
        self._detector.train()
        self._rows.pause()

    def _state(self) -> dict[str, Any]:
        return {
            "iteration": self._runner.train_loop.iteration,
            "detector": self._detector.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "seconds": self._rows.seconds,
            "in_force": dict(self._schedule.in_force),
            "context": self._plan.context,
        }

    def _restore(self) -> int:
        found = newest_good(self._checkpoints)
        if found is None:
            return 0
        path, state = found
        print(f"continuing from {path} (iteration {state['iteration']})", flush=True)
        self._detector.load_state_dict(state["detector"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._random = state["random"]
        self._rows.seconds = float(state["seconds"])
        return int(state["iteration"])


@contextmanager
def _stop_on_signals(loop: Any) -> Iterator[None]:
    """SIGTERM and SIGINT ask the loop to stop after its iteration; a second one acts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        loop.stop_requested = True
        signal.signal(number, old[number])

    old: dict[int, Any] = {
        number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)
    }
    for number in old:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
