"""Configuration to objects: the one place where the rooms meet."""

import dataclasses
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from datasets.dataset import Dataset, Split
from datasets.errors import DataError
from datasets.loading import InMemory, Samples, Shrunk, test_loader, train_loader
from datasets.sample import Batch
from datasets.sampling import Order, orientation, repeat_factors
from detectors.base import AnyDetector
from experiments.config.run import RunConfig, plain_config
from experiments.engine import distributed
from experiments.engine.fit import Task
from experiments.engine.machine import loader_processes
from experiments.record.parts import Arithmetic, Data
from experiments.record.parts import Split as Described
from losses.base import ScheduledLoss


@dataclass(frozen=True, slots=True)
class Splits:
    """The data sets of a run; the measured one is `test` or `val`, as the recipe says. `val`: what
    validations measure and choose by, None where that is the measured one or there is none.
    """

    train: Dataset
    measured: Dataset
    measured_name: Split
    val: Dataset | None = None

    @property
    def named(self) -> dict[str, Dataset]:
        """Those that there are, by name."""
        found = {"train": self.train, "val": self.val, self.measured_name: self.measured}
        return {name: dataset for name, dataset in found.items() if dataset is not None}


def open_splits(config: RunConfig) -> Splits:
    """Open the training split and the one to measure on."""
    data, split = config.data, config.evaluate.split
    return Splits(data.open("train"), data.open(split), split)


def require_objects(splits: Splits, root: str) -> None:
    """DataError for a split without one object to learn from, or to measure on."""
    for name, dataset in (("train", splits.train), (splits.measured_name, splits.measured)):
        objects, ignored = dataset.counts
        if not objects:
            problems, unknown = dataset.problems, dataset.unknown
            others = ", ".join(f"{label} {count}" for label, count in unknown.items())
            told = [f"{ignored} ignored (difficult, crowd)" if ignored else ""]
            told += [f"of classes nobody asked for: {others}" if others else ""]
            told += [f"{len(problems)} findings, the first: {problems[0]}" if problems else ""]
            why = "; ".join(part for part in told if part) or "its labels hold none"
            raise DataError(
                f"{root}: split {name}: not one usable object in {len(dataset)} images ({why})."
                f" python -m experiments doctor {root} says more"
            )


def describe(splits: Splits, shared: dict[str, int]) -> Data:
    """The splits for the record; `shared`: how many images two of them have in common."""
    told = [finding for dataset in splits.named.values() for finding in dataset.remarks]
    told += [finding for dataset in splits.named.values() for finding in dataset.problems]
    return Data(
        classes=splits.train.classes,
        problems=tuple(dict.fromkeys(map(str, told))),  # splits may share images
        shared=shared,
        **{name: _described(dataset) for name, dataset in splits.named.items()},
    )


def _described(dataset: Dataset) -> Described:
    objects, ignored = dataset.counts
    return Described(len(dataset), objects, ignored, dataset.content_hash())


def build_detector(config: RunConfig, classes: tuple[str, ...]) -> AnyDetector:
    """The detector, weights drawn from the run's seed; training puts its loss in force."""
    torch.manual_seed(config.seed)
    return config.detector.build(len(classes))


def without_weights(config: RunConfig) -> RunConfig:
    """The same network without reading weight files, for counting and for loading a checkpoint."""
    detector = config.detector
    changes: dict[str, object] = {}
    if detector.backbone.weights is not None:
        changes["backbone"] = replace(detector.backbone, weights=None)
    if detector.weights is not None:
        changes["weights"] = None
    return replace(config, detector=replace(detector, **changes)) if changes else config


class TrainingBatches:
    """Training batches of this rank by number. Images that the recipe keeps in memory are read when
    a stream of batches first needs them.
    """

    def __init__(self, config: RunConfig, dataset: Dataset, detector: AnyDetector) -> None:
        self._config, self._dataset = config, dataset
        self._multiple = detector.size_multiple
        self._kept: InMemory | None = None
        self._pipeline = config.input.train(
            config.train.iterations * config.train.accumulate,
            # each worker would keep a copy of its own
            keep=config.train.cache_images != "no" and loader_workers(config) == 0,
        )

    def stream(self, numbers: Iterable[int]) -> Iterable[Batch]:
        """Many batches, drawn from `numbers` as they are loaded."""
        cache = self._config.train.cache_images
        if self._kept is None and cache != "no":
            self._kept = InMemory(self._dataset, _longest(cache))
        return self._loaded(self._kept or self._dataset, numbers, loader_workers(self._config))

    def few(self, numbers: Iterable[int]) -> Iterable[Batch]:
        """Single batches, loaded in this process; no other images are read for them."""
        alone = Shrunk(self._dataset, _longest(self._config.train.cache_images))
        return self._loaded(self._kept or alone, numbers, 0)

    def _loaded(self, samples: Samples, numbers: Iterable[int], workers: int) -> Iterable[Batch]:
        batches = train_loader(
            samples,
            self._pipeline,
            distributed.share_of(self._config.train.batch_size),
            self._config.seed,
            workers,
            numbers=numbers,
            rank=distributed.rank(),
            world=distributed.world(),
            multiple=self._multiple,
            pin=torch.cuda.is_available(),
            order=_order(self._config, self._dataset),
        )
        return self._dataset.note_batches(batches)


def _longest(cache: int | str) -> int | None:
    return cache if isinstance(cache, int) else None


def batches_from(
    config: RunConfig, dataset: Dataset, detector: AnyDetector, start: int
) -> Iterable[Batch]:
    """Endless shuffled training batches of this rank, from the `start`-th on."""
    return TrainingBatches(config, dataset, detector).stream(itertools.count(start))


def _order(config: RunConfig, dataset: Dataset) -> Order:
    """The sequence of training images, a pure function of the configuration and the labels."""
    train, columns = config.train, dataset.columns
    repeats = None
    if train.repeat_threshold is not None:
        classes = len(dataset.classes)
        repeats = repeat_factors(
            columns["first"], columns["label"], classes, train.repeat_threshold
        )
    groups = orientation(dataset.sizes_I2) if train.group == "orientation" else None
    return Order(len(dataset), train.batch_size, config.seed, repeats, groups)


def batches_in_order(
    config: RunConfig,
    dataset: Dataset,
    detector: AnyDetector,
    numbers: Iterable[int] | None = None,
    workers: int | None = None,
) -> Iterable[Batch]:
    """Every image of a split once, in order, without augmentation; of several ranks, each takes
    its share. `numbers`: only these of the batches; `workers`: not as many as configured.
    """
    batches = test_loader(
        dataset,
        config.input.test(),
        config.evaluate.batch_size,
        loader_workers(config) if workers is None else workers,
        numbers=numbers,
        rank=distributed.rank(),
        world=distributed.world(),
        multiple=detector.size_multiple,
    )
    return dataset.note_batches(batches)


def loader_workers(config: RunConfig) -> int:
    """Processes that load images: as configured, else what suits the machine."""
    return loader_processes() if config.train.workers is None else config.train.workers


def fit_task(
    config: RunConfig, classes: tuple[str, ...], loss: ScheduledLoss, arithmetic: Arithmetic
) -> Task:
    """What the engine needs to know of a run; `loss` is the configured one, prepared."""
    return Task(
        train=config.train,
        optimizer=config.optimizer,
        learning_rate=config.learning_rate,
        loss=loss,
        arithmetic=arithmetic,
        seed=config.seed,
        context={
            "config": plain_config(config),
            "classes": list(classes),
            "arithmetic": dataclasses.asdict(arithmetic),
        },
    )
