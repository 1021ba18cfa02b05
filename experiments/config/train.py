"""How a run trains: length, batch, arithmetic, optimiser, learning rate.

Fields say in their metadata when they are read, and whether they decide the result (`free`: an
interrupted run may go on with another value).
"""

import bisect
import math
from dataclasses import dataclass, field
from typing import Literal

from experiments.config.schema import free, read_under, read_where, tag

BestMetric = Literal[
    "voc07_map", "voc_area_map", "coco_ap", "coco_ap50", "coco_ap75", "coco_ap_small"
]


@dataclass(frozen=True, slots=True)
class Train:
    """How long, how much at a time, and in which arithmetic."""

    iterations: int = 1000  # updates of the weights
    batch_size: int = 8  # images a forward pass, of all processes together
    accumulate: int = 1  # forward passes an update
    # auto: bfloat16 where the machine computes it, else float32; float16: on a GPU only.
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"  # layout of maps; auto: what trains faster
    compile: bool = False  # torch.compile of the network's parts
    deterministic: bool = False  # refuse operations that vary from run to run on a GPU
    threads: int | None = field(default=None, metadata=free())  # of a CPU; null: what workers leave
    match_gradient: bool = False  # scale the loss: at step 0 its gradient is as long as CE's
    ema: float | None = None  # momentum of the old average, for example 0.998; null: none
    group: Literal["none", "orientation"] = "none"  # batches of images of one shape: less padding
    repeat_threshold: float | None = None  # LVIS: repeat images of classes in fewer than this part
    # Processes that load; null: one core in eight, none below 8; beside a GPU up to 8.
    workers: int | None = field(default=None, metadata=free())
    # A frozen backbone's outputs are kept on disk for runs alike: those of sweeps; auto: any.
    tape: Literal["sweeps", "auto", "off"] = field(default="sweeps", metadata=free())
    cache_images: int | Literal["whole", "no"] = "no"  # in memory: as they are, or <= n px long
    validate_every: int | None = None  # iterations; null: not during training
    checkpoint_every: int = field(default=1000, metadata=free())
    keep_checkpoints: int = field(default=2, metadata=free())  # the last ones, to go on from
    keep_best: int = field(default=1, metadata=free())  # and the best ones, to detect with
    best_metric: BestMetric = "voc07_map"  # what best means, also for patience
    measure: Literal["last", "best"] = "last"  # the weights that are measured at the end
    patience: int | None = None  # stop after so many validations without a better one
    seconds: float | None = None  # stop after so much time in iterations, validations not counted
    # What schedules (gamma, alpha, learning rate) follow; time: the share of `seconds`, if it is
    # further than that of iterations, so that they end with the budget.
    progress: Literal["iterations", "time"] = "iterations"
    # What a loss that is no number does, and how many updates `skip` may leave out.
    nonfinite: Literal["stop", "skip"] = field(default="stop", metadata=free())
    nonfinite_limit: int = field(default=10, metadata=free())
    timeout: float = field(default=1800.0, metadata=free())  # seconds that ranks wait
    log_every: int = field(default=20, metadata=free())  # iterations between flushes of the curves

    @property
    def images_an_update(self) -> int:
        """Training images behind one update of the weights, over all processes."""
        return self.batch_size * self.accumulate

    def __post_init__(self) -> None:
        for name in ("iterations", "batch_size", "accumulate", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be >= 1, found {getattr(self, name)}")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers: must be >= 0 or null, found {self.workers}")
        if isinstance(self.cache_images, int) and self.cache_images < 1:
            raise ValueError(f"cache_images: must be >= 1 pixels, found {self.cache_images}")
        if self.repeat_threshold is not None and not 0 < self.repeat_threshold <= 1:
            raise ValueError(
                f"repeat_threshold: must lie in (0, 1] or be null, found {self.repeat_threshold}"
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema: must lie between 0 and 1, or be null, found {self.ema}")
        self._check_limits()

    def _check_limits(self) -> None:
        for name in ("threads", "patience", "validate_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: must be >= 1 or null, found {value}")
        for name in ("keep_best", "nonfinite_limit"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: must be >= 0, found {getattr(self, name)}")
        if self.keep_checkpoints < 1:
            raise ValueError(f"keep_checkpoints: must be >= 1, found {self.keep_checkpoints}")
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"seconds: must be > 0 or null, found {self.seconds}")
        if self.progress == "time" and self.seconds is None:
            raise ValueError("progress: time needs a budget of it; set train.seconds too")
        if not self.timeout > 0:
            raise ValueError(f"timeout: must be > 0, found {self.timeout}")
        if self.patience is not None and self.validate_every is None:
            raise ValueError("patience: counts validations; set train.validate_every too")
        if self.measure == "best" and (self.validate_every is None or self.keep_best == 0):
            raise ValueError("measure: best needs train.validate_every, and train.keep_best >= 1")


@dataclass(frozen=True, slots=True)
class Optimizer:
    """SGD or AdamW. `decay`: which parameters shrink; Darknet decays convolution weights only."""

    name: Literal["sgd", "adamw"] = field(default="sgd", metadata=tag())
    lr: float = 0.01  # per iteration of the whole (accumulated) batch
    momentum: float = field(default=0.9, metadata=read_under("name", "sgd"))
    betas: tuple[float, float] = field(default=(0.9, 0.999), metadata=read_under("name", "adamw"))
    weight_decay: float = 1e-4
    decay: Literal["all", "weights"] = "weights"  # weights: neither biases nor normalisation
    backbone_lr_factor: float = 1.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr: must be > 0, found {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: must lie in [0, 1), found {self.momentum}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: must lie in [0, 1), found {list(self.betas)}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay: must be >= 0, found {self.weight_decay}")
        if self.backbone_lr_factor < 0:
            raise ValueError(f"backbone_lr_factor: must be >= 0, found {self.backbone_lr_factor}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ValueError(f"clip_norm: must be > 0 or null, found {self.clip_norm}")


def _warms_up(iterations: int) -> bool:
    return iterations > 0


_WARM = read_where("warmup_iterations", _warms_up, "above 0")


@dataclass(frozen=True, slots=True)
class LearningRate:
    """Factor on `optimizer.lr` by iteration: a warm-up, then constant, steps or a cosine."""

    shape: Literal["constant", "steps", "cosine"] = field(
        default="cosine", metadata=tag(keeps=True)
    )
    warmup_iterations: int = 0
    warmup_power: float = field(default=1.0, metadata=_WARM)  # 1: linear; 4: Darknet's burn-in
    warmup_start: float = field(default=0.0, metadata=_WARM)  # factor at iteration 0
    # Fractions of training where the rate is multiplied by `step_factor`.
    steps: tuple[float, ...] = field(default=(), metadata=read_under("shape", "steps"))
    step_factor: float | tuple[float, ...] = field(  # one for all steps, or one each
        default=0.1, metadata=read_under("shape", "steps")
    )
    final: float = field(default=0.0, metadata=read_under("shape", "cosine"))  # the last factor

    def __post_init__(self) -> None:
        if self.shape == "steps" and not self.steps:
            raise ValueError("steps: needed for shape 'steps', for example [0.67, 0.89]")
        if any(not 0 < step < 1 for step in self.steps) or list(self.steps) != sorted(self.steps):
            raise ValueError(f"steps: rising fractions between 0 and 1, found {list(self.steps)}")
        for name in ("warmup_iterations", "warmup_start", "final"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: must be >= 0, found {getattr(self, name)}")
        each = self.step_factor if isinstance(self.step_factor, tuple) else None
        if each is not None and len(each) != len(self.steps):
            raise ValueError(
                f"step_factor: one number, or one for each of {len(self.steps)} steps, "
                f"found {len(each)}"
            )
        if self.warmup_power <= 0:
            raise ValueError(f"warmup_power: must be > 0, found {self.warmup_power}")
        for value in each or (self.step_factor,):
            if not isinstance(value, tuple) and value <= 0:
                raise ValueError(f"step_factor: must be > 0, found {value}")

    def factor(self, iteration: int, iterations: int) -> float:
        """The factor for the update numbered `iteration` (from 0) of `iterations`."""
        if iteration < self.warmup_iterations:
            ramp = float(((iteration + 1) / self.warmup_iterations) ** self.warmup_power)
            return self.warmup_start + (1 - self.warmup_start) * ramp
        if self.shape == "steps":
            # Rounded so that a fraction such as 2/3 of 90,000 means iteration 60,000 exactly.
            passed = [round(step * iterations) for step in self.steps]
            count = bisect.bisect_right(passed, iteration)
            if isinstance(self.step_factor, tuple):
                return math.prod(self.step_factor[:count])
            return float(self.step_factor**count)
        if self.shape == "cosine":
            rest = max(1, iterations - self.warmup_iterations)
            phase = (iteration - self.warmup_iterations) / rest
            return self.final + (1 - self.final) * (1 + math.cos(math.pi * phase)) / 2
        return 1.0
