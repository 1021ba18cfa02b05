"""A whole run as frozen values, read strictly from a YAML recipe and dotted overrides.

Each room keeps the settings of its own choices; this file puts them together and reads them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from datasets import DATASETS
from datasets.dataset import DataSettings
from datasets.transforms import FITS, Transforms
from detectors import ASSIGNERS, BACKBONES, DETECTORS, REGIONS
from detectors.base import DetectorSettings
from experiments.config.located import Located, dotted, located
from experiments.config.resolve import Word, parse_words, read_recipe, resolve
from experiments.config.schema import Choice, free
from experiments.config.strict import Reader
from experiments.config.train import LearningRate, Optimizer, Train
from experiments.config.words import arm_name, project_fault
from losses import LOSSES, NORMALISERS, SCHEDULES
from losses.base import ScheduledLoss


@dataclass(frozen=True, slots=True)
class Evaluate:
    """How a trained detector is measured."""

    batch_size: int = 8
    split: Literal["val", "test"] = "test"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size: must be >= 1, found {self.batch_size}")


@dataclass(frozen=True, slots=True)
class Tracking:
    """Weights & Biases as a mirror of the record; the record itself never depends on it."""

    wandb: Literal["auto", "online", "offline", "off"] = "auto"  # auto: online in a W&B sweep only
    entity: str | None = None  # null: the user's own; W&B's variables hold where a key is null
    project: str | None = None  # null: softgamma
    group: str | None = None  # null: the arm, or the sweep that is run here
    job_type: str | None = None  # null: train
    name: str | None = None  # null: the arm and the seed
    tags: tuple[str, ...] | None = None  # beside detector, data, loss and soft-gamma
    notes: str | None = None

    def __post_init__(self) -> None:
        if self.project is not None and (fault := project_fault(self.project)) is not None:
            raise ValueError(f"project: {fault}")


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
    tracking: Tracking = field(default_factory=Tracking, metadata=free())
    arm: str | None = field(default=None, metadata=free())  # in tables; null: detector and loss
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed: must lie in [0, 2**63), found {self.seed}")
        if self.arm is not None and not self.arm.strip():
            raise ValueError("arm: has no letter to be called by; null names it for its loss")
        if self.data.classes is not None:
            self.require_values_of(len(self.data.classes))
        if self.train.measure == "best" and self.evaluate.split == "val":
            raise ValueError(
                "train: measure: best is chosen on val, so val cannot measure it; set "
                "evaluate.split to test"
            )

    def require_values_of(self, classes: int) -> None:
        """Raise ValueError where a parameter of the loss has values for other classes than these.

        A detector with a softmax over its classes has the background as one more.
        """
        softmax = getattr(self.detector, "activation", "sigmoid") == "softmax"
        for name in ("alpha", "class_weights"):
            values = getattr(self.loss, name, None)
            fitting = {classes, classes + 1} if softmax else {classes}
            if isinstance(values, tuple) and len(values) not in fitting:
                raise ValueError(
                    f"loss.{name}: a value for each of {classes} classes is needed, found "
                    f"{len(values)}"
                )


FREE = "# free"
FREE_MEANS = "# free: an interrupted run may go on with another value; all else decides its result"
_DATA = Choice("name", DATASETS)
_DETECTOR = Choice("name", DETECTORS)
_LOSS = Choice("name", LOSSES)
_READER = Reader(
    (_DATA, _DETECTOR, _LOSS, Choice("name", BACKBONES), Choice("name", NORMALISERS))
    + (Choice("name", ASSIGNERS), Choice("schedule", SCHEDULES))
    + (Choice("preset", REGIONS, keeps=True), Choice("mode", FITS, keeps=True)),
    {DataSettings: _DATA, DetectorSettings: _DETECTOR, ScheduledLoss: _LOSS},
)
_TAGS = _READER.schema.tags(RunConfig)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A run, and in words what of its recipe the words over it have put out of force."""

    config: RunConfig
    notes: tuple[str, ...]


class Recipes:
    """Resolves words over recipes; each recipe is read once, so that a sweep's points are cheap."""

    def __init__(self) -> None:
        self._read: dict[Path, Located] = {}

    def resolve(self, recipe: Path | Mapping[str, Any], words: Iterable[Word] = ()) -> Resolved:
        """The run that `recipe` (a file, or what one holds) and words (`parse_words`, `words_of`)
        in any order describe.

        Raises ConfigError with all that one reading can tell.
        """
        source = resolve(self._tree(recipe), words, _TAGS)
        config = _READER.read(
            RunConfig, source.tree.value, source.where, kept=_is_a_records(recipe)
        )
        return Resolved(config, source.notes)

    def _tree(self, recipe: Path | Mapping[str, Any]) -> Located:
        if isinstance(recipe, Mapping):
            return located(dict(recipe), place=Path("recipe"))
        if recipe not in self._read:
            self._read[recipe] = read_recipe(recipe, _TAGS)
        return self._read[recipe]


def _is_a_records(recipe: Path | Mapping[str, Any]) -> bool:
    """Whether it is a whole configuration, with keys that nothing reads."""
    return not isinstance(recipe, Path) and {one.name for one in fields(RunConfig)} <= set(recipe)


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run that `path` and `key=value` overrides describe; raises ConfigError."""
    return Recipes().resolve(path, parse_words(overrides)).config


def read_config(values: Mapping[str, Any]) -> RunConfig:
    """The run in a plain mapping, as a record or a checkpoint keeps it."""
    config: RunConfig = _READER.read(RunConfig, values, lambda key: "stored config", kept=True)
    return config


def plain_config(config: RunConfig) -> dict[str, Any]:
    """The whole run as JSON-ready values, every default visible."""
    plain: dict[str, Any] = _READER.plain(config)
    return plain


def free_keys() -> frozenset[str]:
    """The dotted keys that do not decide a run's result: an interrupted one may go on with others.

    The data may lie elsewhere, since their contents are compared.
    """
    return frozenset((*_READER.schema.free(RunConfig), "data.root"))


def deciding(config: RunConfig) -> dict[str, Any]:
    """The dotted keys that decide a run's result, with their values."""
    free = free_keys()
    flat = dotted(plain_config(config))
    return {key: value for key, value in flat.items() if key not in free}


def config_text(config: RunConfig) -> str:
    """The whole run as YAML that `load_config` reads back, every key that is read.

    Keys in which an interrupted run may go on otherwise are marked.
    """
    text = yaml.safe_dump(_READER.plain(config, unread=False), sort_keys=False, width=100)
    keys: list[str] = []  # of the mappings around a line
    lines = []
    for line in text.splitlines():
        name, colon, _ = line.strip().partition(":")
        depth = (len(line) - len(line.lstrip())) // 2
        if colon and not line.lstrip().startswith("- "):
            keys[depth:] = [name]
        marked = colon and ".".join(keys) in free_keys()
        lines.append(f"{line}  {FREE}" if marked else line)
    return "\n".join((*lines, FREE_MEANS, ""))


def arm_of(config: RunConfig) -> str:
    """The arm's name: as configured, else in words."""
    return arm_name(plain_config(config))
