"""mmengine's Runner, quietened and started from objects; every work-around for it stands in this
file, but for its imports (`__init__.py`).

Verified with mmengine 0.10.7 on torch 2.14: see docs/decisions/0003.
"""

import logging
import warnings
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.utils import ManagerMixin
from mmengine.visualization import Visualizer

from experiments.engine.distributed import world, wrapper_settings
from experiments.engine.loop import UpdateLoop
from experiments.engine.step_model import StepModel

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
    *,
    seed: int,
    iterations: int,
    accumulate: int,
    batch_size: int,
) -> Runner:
    """A Runner whose loop is `UpdateLoop` and whose hooks are only those given."""
    with warnings.catch_warnings():
        # FileClient and the visualiser's missing backends: deprecations inside mmengine itself.
        warnings.simplefilter("ignore")
        return QuietRunner(
            model=model,
            work_dir=str(folder / "mmengine"),
            train_dataloader=loader,
            train_cfg={
                "type": UpdateLoop,
                "iterations": iterations,
                "accumulate": accumulate,
                "batch_size": batch_size,
            },
            optim_wrapper=optimizer,
            default_hooks=dict(NO_DEFAULT_HOOKS),
            custom_hooks=hooks,
            launcher="none" if world() == 1 else "pytorch",
            cfg={} if world() == 1 else {"model_wrapper_cfg": wrapper_settings()},
            log_level=logging.getLevelName(logging.ERROR),
            randomness={"seed": seed},
            experiment_name=folder.name,
        )
