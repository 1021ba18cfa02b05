"""What a record is made of.

Percentages are 0..100, times are seconds, None is "undefined", never 0.
"""

from dataclasses import dataclass, field, fields
from typing import Literal

Point = dict[str, float | int | None]  # one point of the curves; "iteration" is always there


@dataclass(frozen=True, slots=True)
class Seconds:
    """Wall-clock time spent: `train` in iterations over all sittings, `evaluate` in the last
    measurement, `total` in the last sitting, which is less than `train` where a run was continued.
    """

    train: float = 0.0
    evaluate: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Peaks of the last sitting's first rank in MiB, since its process began: resident memory of
    the process and of its largest loader worker (shared pages count in both), and what torch
    allocated on the GPU. None: no worker, no GPU.
    """

    process_mib: float
    worker_mib: float | None = None
    gpu_mib: float | None = None


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine of a run; `gpus` are the devices it used, by name. `gflops`: billions of
    operations a second of a float32 matrix product as the run began; None where not measured.
    """

    cpu: str
    cores: int
    memory_gib: float | None
    gpus: tuple[str, ...] = ()
    gflops: float | None = None


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How the network was computed, `auto` answered for the machine; `why`: what that was told by.

    `channels_last` is the layout of maps in memory, `compile` torch.compile of the network's parts.
    """

    precision: Literal["float32", "bfloat16", "float16"]
    channels_last: bool
    compile: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Played:
    """Batches of one tape in the last sitting: read from it, computed and written to it, computed
    alone; `damaged` ones were there and had to be computed again.
    """

    replayed: int = 0
    written: int = 0
    computed: int = 0
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class Tape:
    """What a run took from tapes of its frozen backbone's outputs; `why`: why it had none."""

    why: str = ""
    keys: dict[str, str] = field(default_factory=dict)  # of each split, the start of its tape's key
    played: dict[str, Played] = field(default_factory=dict)  # of each split


@dataclass(frozen=True, slots=True)
class Split:
    """One split's size; `ignored` objects (difficult, crowds) are not among `objects`."""

    images: int
    objects: int
    ignored: int
    hash: str


@dataclass(frozen=True, slots=True)
class Data:
    """What was trained and measured on; `problems` are the flaws found while reading labels."""

    classes: tuple[str, ...]
    train: Split | None = None
    val: Split | None = None
    test: Split | None = None
    problems: tuple[str, ...] = ()
    shared: dict[str, int] = field(default_factory=dict)  # "train/test": images with equal bytes


@dataclass(frozen=True, slots=True)
class LossFacts:
    """What the loss took from the data before training; empty where it took nothing.

    `gradient_scale` makes the gradient at step 0 as long as cross-entropy's.
    """

    counted_images: int | None = None
    class_counts: dict[str, int] = field(default_factory=dict)
    class_weights: dict[str, float] = field(default_factory=dict)
    gradient_scale: float | None = None


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Average precisions of one class in percent; `difficult` objects are not among `objects`."""

    voc07_ap: float | None
    voc_area_ap: float | None
    coco_ap: float | None
    coco_ap50: float | None
    objects: int
    difficult: int
    detections: int


ROUNDING = 1e-6  # percent: a mean of hundreds may end a last digit beyond


@dataclass(frozen=True, slots=True)
class Metrics:
    """All numbers of one evaluation, in percent."""

    split: str
    voc07_map: float | None
    voc_area_map: float | None
    coco_ap: float | None
    coco_ap50: float | None
    coco_ap75: float | None
    coco_ap_small: float | None
    coco_ap_medium: float | None
    coco_ap_large: float | None
    per_class: dict[str, ClassMetrics]
    more: dict[str, float | None] = field(default_factory=dict)  # of evaluation/measures, by key

    def __post_init__(self) -> None:
        for name in NUMBERS:
            value = getattr(self, name)
            if value is not None and (value < -ROUNDING or value > 100 + ROUNDING):
                raise ValueError(f"{name}: expected percent from 0 to 100, found {value}")

    def value(self, name: str) -> float | None:
        """One number by its key; None where it is undefined, or this record has none."""
        return self.more[name] if name in self.more else getattr(self, name, None)


NUMBERS = tuple(
    each.name for each in fields(Metrics) if each.name not in ("split", "per_class", "more")
)


@dataclass(frozen=True, slots=True)
class Validation:
    """The numbers measured at one iteration of training."""

    iteration: int
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class CurveFile:
    """What of `curves.jsonl` the record's curves are: every `every`-th iteration, the first and the
    last. `rows` are the file's points, those trained again after a resume twice; `damaged` are
    lines that could not be read. In a compact record (`Compact`) each point is the mean of
    `averaged` points of those.
    """

    rows: int
    every: int = 1
    damaged: tuple[str, ...] = ()
    averaged: int = 1


@dataclass(frozen=True, slots=True)
class Compact:
    """What a record that was made small enough to be committed left out: `left_out` detections are
    counted, not `kept`; corners are whole `step` pixels (None: as they were). `detections` is the
    SHA-256 of the whole file.
    """

    kept: int
    left_out: int
    step: float | None
    detections: str


@dataclass(frozen=True, slots=True)
class File:
    """A file beside the record, or one that records share, and the SHA-256 of its bytes."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run did not finish; `where` is file:line of the innermost frame."""

    type: str
    message: str
    where: str
