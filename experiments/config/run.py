"""A whole run as frozen values, read strictly from a YAML recipe and dotted overrides.

Each room keeps the settings of its own choices; this file puts them together and reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from datasets import DATASETS
from datasets.transforms import FITS, Transforms
from detectors import ASSIGNERS, BACKBONES, DETECTORS, REGIONS
from experiments.config.strict import Choice, Reader
from experiments.config.yaml_source import read_source
from experiments.engine.optimizer import LearningRate, Optimizer
from losses import LOSSES, NORMALISERS, SCHEDULES
from losses.base import ScheduledLoss


class DataSettings:
    """Marks a field that one row of `datasets.DATASETS` fills."""


class DetectorSettings:
    """Marks a field that one row of `detectors.DETECTORS` fills."""


BestMetric = Literal[
    "voc07_map", "voc_area_map", "coco_ap", "coco_ap50", "coco_ap75", "coco_ap_small"
]


@dataclass(frozen=True, slots=True)
class Train:
    """How long, how much at a time, and in which arithmetic."""

    iterations: int = 1000  # updates of the weights
    batch_size: int = 8  # images a forward pass and process
    accumulate: int = 1  # forward passes an update
    precision: Literal["float32", "bfloat16", "float16"] = "float32"  # float16: on a GPU only
    channels_last: bool = True
    compile: bool = False  # torch.compile of the network's parts
    deterministic: bool = False  # refuse operations that vary from run to run on a GPU
    threads: int | None = None  # of a CPU; null: the cores that loader processes leave
    match_gradient: bool = False  # scale the loss: at step 0 its gradient is as long as CE's
    ema: float | None = None  # momentum of the old average, for example 0.998; null: none
    group: Literal["none", "orientation"] = "none"  # batches of images of one shape: less padding
    repeat_threshold: float | None = None  # LVIS: repeat images of classes in fewer than this part
    workers: int | None = None  # loader processes; null: none on 2 cores, else up to 8
    cache_images: int | Literal["whole", "no"] = (
        "no"  # in memory: as they are, or at most n px long
    )
    validate_every: int | None = None  # iterations; null: not during training
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2  # the last ones, to go on from
    keep_best: int = 1  # and those of the best validations, to detect with
    best_metric: BestMetric = "voc07_map"  # what best means, also for patience
    measure: Literal["last", "best"] = "last"  # the weights that are measured at the end
    patience: int | None = None  # stop after so many validations without a better one
    seconds: float | None = None  # stop after so much time in iterations, validations not counted
    nonfinite: Literal["stop", "skip"] = "stop"  # what a loss that is no number does
    nonfinite_limit: int = 10  # updates that skip may leave out
    timeout: float = 1800.0  # seconds that ranks wait for one another
    log_every: int = 20  # iterations between flushes of the curves; every iteration has its row

    def __post_init__(self) -> None:
        for name in ("iterations", "batch_size", "accumulate", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be >= 1, found {getattr(self, name)}")
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
        if not self.timeout > 0:
            raise ValueError(f"timeout: must be > 0, found {self.timeout}")
        if self.patience is not None and self.validate_every is None:
            raise ValueError("patience: counts validations; set train.validate_every too")
        if self.measure == "best" and (self.validate_every is None or self.keep_best == 0):
            raise ValueError("measure: best needs train.validate_every, and train.keep_best >= 1")


@dataclass(frozen=True, slots=True)
class Evaluate:
    """How a trained detector is measured."""

    batch_size: int = 8
    split: Literal["val", "test"] = "test"


@dataclass(frozen=True, slots=True)
class Tracking:
    """Weights & Biases as a mirror of the record; the record itself never depends on it."""

    wandb: Literal["offline", "online", "off"] = "offline"
    project: str = "softgamma"


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything that decides a run's result, and how it is followed."""

    data: DataSettings
    detector: DetectorSettings
    loss: ScheduledLoss
    input: Transforms
    optimizer: Optimizer = field(default_factory=Optimizer)
    learning_rate: LearningRate = field(default_factory=LearningRate)
    train: Train = field(default_factory=Train)
    evaluate: Evaluate = field(default_factory=Evaluate)
    tracking: Tracking = field(default_factory=Tracking)
    arm: str | None = None  # the name in tables; null: detector and loss
    seed: int = 0

    def __post_init__(self) -> None:
        if self.train.measure == "best" and self.evaluate.split == "val":
            raise ValueError(
                "train: measure: best is chosen on val, so val cannot measure it; set "
                "evaluate.split to test"
            )


_DATA = Choice("name", DATASETS)
_DETECTOR = Choice("name", DETECTORS)
_LOSS = Choice("name", LOSSES)
_READER = Reader(
    (_DATA, _DETECTOR, _LOSS, Choice("name", BACKBONES), Choice("name", NORMALISERS))
    + (Choice("name", ASSIGNERS),)
    + (Choice("schedule", SCHEDULES), Choice("preset", REGIONS), Choice("mode", FITS)),
    {DataSettings: _DATA, DetectorSettings: _DETECTOR, ScheduledLoss: _LOSS},
)


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run that `path` and `key=value` overrides describe; raises ConfigError."""
    source = read_source(path, overrides)
    config: RunConfig = _READER.read(RunConfig, source.values, source.where)
    return config


def read_config(values: dict[str, Any]) -> RunConfig:
    """The run in a plain mapping, as a record or a checkpoint keeps it."""
    config: RunConfig = _READER.read(RunConfig, values, lambda key: "stored config")
    return config


def plain_config(config: RunConfig) -> dict[str, Any]:
    """The whole run as JSON-ready values, every default visible."""
    plain: dict[str, Any] = _READER.plain(config)
    return plain


def config_text(config: RunConfig) -> str:
    """The whole run as YAML that `load_config` reads back."""
    return yaml.safe_dump(plain_config(config), sort_keys=False, width=100)


def arm_name(config: RunConfig) -> str:
    """The arm's name: as configured, else detector and loss with its parameters in force."""
    if config.arm is not None:
        return config.arm
    plain = plain_config(config)
    loss = plain["loss"]
    words = [plain["detector"]["name"], loss["name"].replace("_", "-")]
    for name in ("alpha", "gamma"):
        value = loss.get(name)
        if isinstance(value, dict):
            ends = f"{value.get('start', '')}-{value.get('end', '')}".strip("-")
            words.append(f"{name} {value['schedule']} {ends}".strip())
        elif value is not None:
            words.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} by class")
    return " ".join(words)
