"""mmengine's Runner, quietened and started from objects; every work-around for it stands in this
file, but for its imports (`__init__.py`).

Verified with mmengine 0.10.7 on torch 2.14: see docs/decisions/0003.

The training loop: one iteration is one update of the weights, whatever is accumulated.
"""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Runner
from mmengine.utils import ManagerMixin
from mmengine.visualization import Visualizer
from torch import Tensor, nn

from datasets.sample import Batch
from detectors.base import AnyDetector
from experiments.config.train import Train
from experiments.engine import distributed
from experiments.engine.arithmetic import to_device
from experiments.engine.distributed import world, wrapper_settings
from experiments.engine.frames import Frame, labels_of, output_of
from experiments.engine.hooks import COUNTED, Stop
from experiments.record.parts import Arithmetic
from losses.base import LossTerms


class _ToDevice(nn.Module):
    """Takes the place of mmengine's data preprocessor, which casts only its own containers."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        super().__init__()
        self._arithmetic = arithmetic
        self.register_buffer("where", torch.zeros(0), persistent=False)

    where: Tensor

    def forward(self, data: dict[str, object], training: bool = False) -> dict[str, object]:
        batch = data["batch"]
        if isinstance(batch, Frame):  # made where it is used
            return data
        assert isinstance(batch, Batch)
        return data | {"batch": to_device(batch, self.where.device, self._arithmetic)}


class StepModel(BaseModel):
    """Forward and loss of one batch; keeps the last batch's terms for the log."""

    def __init__(self, detector: AnyDetector, arithmetic: Arithmetic) -> None:
        super().__init__(data_preprocessor=_ToDevice(arithmetic))
        self.detector = detector

    def forward(self, batch: Batch | Frame, images_seen: int, mode: str = "loss") -> LossTerms:
        """The terms of the loss; `images_seen` counts training images before this batch."""
        if mode != "loss":
            raise ValueError(f"mode: only 'loss' is run through the Runner, found {mode!r}")
        self.detector.images_seen = images_seen
        return self.detector.loss(output_of(self.detector, batch), labels_of(batch))

    def parse_losses(self, losses: LossTerms) -> tuple[Tensor, dict[str, Tensor]]:
        """What to differentiate, and the row of the curves; mmengine would look for names."""
        row = {"loss": losses.total, "loss_classification": losses.classification}
        row |= {"loss_box": losses.box, COUNTED: losses.foreground.float()}
        if losses.objectness is not None:
            row["loss_objectness"] = losses.objectness
        return losses.total, row


class UpdateLoop(BaseLoop):
    """Runs to `iterations`, from wherever a checkpoint left it.

    mmengine's own loop skips data on resume by loading it all again and counts forward passes; here
    the loader is started at the right batch (`start_iteration`) and only updates are counted.
    """

    def __init__(self, runner: Runner, dataloader: Any, train: Train) -> None:
        super().__init__(runner, dataloader)
        self._iterations = train.iterations
        self._accumulate = train.accumulate
        self._images_a_batch = train.batch_size
        self._images_elsewhere = train.batch_size - distributed.share_of(train.batch_size)
        self.iteration = 0
        self.stop = Stop.NONE  # asked for here
        self.stopped_by = Stop.NONE  # agreed with the other ranks
        self.batches: Iterator[Batch | Frame] | None = None

    @property
    def iter(self) -> int:
        """The number of updates done, under the name mmengine's hooks use."""
        return self.iteration

    @property
    def max_iters(self) -> int:
        """The number of updates to do."""
        return self._iterations

    @property
    def epoch(self) -> int:
        """Training is counted in updates alone."""
        return 0

    @property
    def max_epochs(self) -> int:
        """One, for mmengine's hooks."""
        return 1

    @property
    def images_seen(self) -> int:
        """Training images behind the updates done so far, over all ranks."""
        return self.iteration * self._accumulate * self._images_a_batch

    def run(self) -> Any:
        """Train until done, or until `stop` is set on any rank, after a whole iteration."""
        self.runner.optim_wrapper.initialize_count_status(
            self.runner.model,
            self.iteration * self._accumulate,
            self._iterations * self._accumulate,
        )
        self.runner.call_hook("before_train")
        self.batches = iter(self.dataloader)
        self.runner.model.train()
        while self.iteration < self._iterations and not self._stopped():
            self._update()
        self.runner.call_hook("after_train")
        return self.runner.model

    def _stopped(self) -> bool:
        self.stopped_by = Stop(distributed.anywhere(self.stop))
        return self.stopped_by is not Stop.NONE

    def _update(self) -> None:
        assert self.batches is not None
        self.runner.call_hook("before_train_iter", batch_idx=self.iteration, data_batch=None)
        image_ids: list[str] = []
        # A detector adds its own batch to what was seen before; the joint batch counts as one.
        images_here = self.images_seen + self._images_elsewhere
        outputs: dict[str, Any] = {}
        for _ in range(self._accumulate):
            batch = next(self.batches)
            image_ids.extend(labels_of(batch).image_ids)
            terms = self.runner.model.train_step(
                {"batch": batch, "images_seen": images_here},
                optim_wrapper=self.runner.optim_wrapper,
            )
            images_here += self._images_a_batch
            for name, value in terms.items():
                parts = 1 if name == COUNTED else self._accumulate  # counts add up, terms are means
                outputs[name] = outputs.get(name, 0) + value.detach() / parts
        self.iteration += 1
        self.runner.call_hook(
            "after_train_iter",
            batch_idx=self.iteration - 1,
            data_batch=image_ids,
            outputs=outputs,
        )


NO_DEFAULT_HOOKS: dict[str, None] = {
    # Ours stand in their place: rows and checkpoints without pickled objects, schedules without
    # state.
    "runtime_info": None,
    "timer": None,
    "sampler_seed": None,
    "logger": None,
    "param_scheduler": None,
    "checkpoint": None,
}


class _NoCanvas(Visualizer):
    """Draws and keeps nothing; mmengine's opens a canvas of matplotlib, .5 s at each start."""

    def __init__(self, name: str = "none") -> None:
        ManagerMixin.__init__(self, name)
        self._vis_backends: dict[str, Any] = {}


class QuietRunner(Runner):
    """The Runner without its environment probe, which calls compilers and takes seconds at each
    start.
    """

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        pass

    def _init_model_weights(self) -> None:
        pass  # detectors initialise themselves; mmengine would warn about each module

    def build_visualizer(self, visualizer: object = None) -> Visualizer:
        """One that does nothing: the record and its mirror have the numbers."""
        return _NoCanvas()

    def dump_config(self) -> None:
        """Write nothing: the record holds the whole configuration."""


def build_runner(
    model: StepModel,
    loader: Any,
    optimizer: OptimWrapper,
    hooks: list[Hook],
    folder: Path,
    train: Train,
    *,
    seed: int,
) -> Runner:
    """A Runner whose loop is `UpdateLoop` and whose hooks are only those given."""
    with warnings.catch_warnings():
        # FileClient and the visualiser's missing backends: deprecations inside mmengine itself.
        warnings.simplefilter("ignore")
        return QuietRunner(
            model=model,
            work_dir=str(folder / "mmengine"),
            train_dataloader=loader,
            train_cfg={"type": UpdateLoop, "train": train},
            optim_wrapper=optimizer,
            default_hooks=dict(NO_DEFAULT_HOOKS),
            custom_hooks=hooks,
            launcher="none" if world() == 1 else "pytorch",
            cfg={} if world() == 1 else {"model_wrapper_cfg": wrapper_settings()},
            log_level=logging.getLevelName(logging.ERROR),
            randomness={"seed": seed},
            experiment_name=folder.name,
        )
