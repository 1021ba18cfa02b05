"""Data sets to batches, in worker processes or without.

What each batch holds doesn't depend on which.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch.utils.data import DataLoader

from datasets.errors import DataError
from datasets.pixels.threads import in_order
from datasets.placement import compose, place_boxes, plan, render
from datasets.sample import Annotation, Batch, Sample, collate
from datasets.sampling import BatchSampler, Draw, Order
from datasets.transforms import FILL, Pipeline, mix


class Samples(Protocol):
    """What a loader needs of a data set."""

    classes: tuple[str, ...]

    def __len__(self) -> int: ...  # noqa: D105
    def __getitem__(self, index: int) -> Sample: ...  # noqa: D105
    def annotation(self, index: int) -> Annotation: ...  # noqa: D102


class InMemory:
    """A data set whose decoded images stay in memory, made before workers start so that they share
    its pages.

    `longest`: larger images are scaled down once to this longer side (pixels), boxes along with
    them; `placement` tells, and `original_hw` stays the file's. BCCD's 205 training images take 189
    MB whole, 46 MB at 316 px.
    """

    def __init__(self, samples: Samples, longest: int | None = None, threads: int = 2) -> None:
        self.classes = samples.classes
        self._samples = samples
        self._kept = list(
            in_order(partial(_shrunk, samples, longest), range(len(samples)), threads)
        )

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Sample:
        return self._kept[index]

    def annotation(self, index: int) -> Annotation:
        """Labels in the original image."""
        return self._samples.annotation(index)

    @property
    def bytes(self) -> int:
        """Memory of the pixels."""
        return sum(sample.image_CHW.numel() for sample in self._kept)


class Shrunk:
    """What `InMemory` would give, made anew at each visit: for a few images of many."""

    def __init__(self, samples: Samples, longest: int | None = None) -> None:
        self.classes = samples.classes
        self._samples, self._longest = samples, longest

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        return _shrunk(self._samples, self._longest, index)

    def annotation(self, index: int) -> Annotation:
        """Labels in the original image."""
        return self._samples.annotation(index)


def _shrunk(samples: Samples, longest: int | None, index: int) -> Sample:
    sample = samples[index]
    height, width = sample.image_CHW.shape[1:]
    if longest is None or max(height, width) <= longest:
        return sample
    scale = longest / max(height, width)
    canvas_hw = (max(1, round(height * scale)), max(1, round(width * scale)))
    step = plan((0.0, 0.0, float(width), float(height)), canvas_hw, (height, width))
    return replace(
        sample,
        image_CHW=render(sample.image_CHW, step, FILL),
        boxes_N4=place_boxes(sample.boxes_N4, step.placement),
        placement=compose(sample.placement, step.placement),
    )


class _Transformed(torch.utils.data.Dataset[Sample]):
    """Draw to network input, in whatever process."""

    def __init__(self, samples: Samples, pipeline: Pipeline, seed: int) -> None:
        self.samples, self.pipeline, self.seed = samples, pipeline, seed

    def __getitem__(self, draw: Draw) -> Sample:
        size = self.pipeline.size_of_batch(draw.batch, self.seed)
        return self.pipeline(self.samples[draw.image], mix(self.seed, draw.image, draw.visit), size)


def train_loader(
    samples: Samples,
    pipeline: Pipeline,
    batch_size: int,
    seed: int,
    workers: int = 0,
    *,
    start_batch: int = 0,
    numbers: Iterable[int] | None = None,
    rank: int = 0,
    world: int = 1,
    multiple: int = 1,
    pin: bool = False,
    order: Order | None = None,
) -> Iterable[Batch]:
    """Endless batches of `batch_size` images for this rank, from global batch `start_batch` on;
    or those of `numbers`, which are asked for as batches are loaded.

    Batch k is a pure function of (seed, k, rank, world): neither the number of workers nor where
    the run was resumed matters. `multiple`: height and width are padded to a multiple of it.
    `order` replaces the plain shuffle (its batch must be batch_size * world). Errors of workers are
    raised here and name the file.
    """
    order = order or Order(len(samples), batch_size * world, seed)
    if order.batch != batch_size * world:
        raise ValueError(f"order: its batch must be {batch_size * world}, found {order.batch}")
    wanted = itertools.count(start_batch) if numbers is None else numbers
    sampler = BatchSampler(order, wanted, rank, world)
    return _loader(_Transformed(samples, pipeline, seed), sampler, workers, multiple, pin)


def test_loader(
    samples: Samples,
    pipeline: Pipeline,
    batch_size: int,
    workers: int = 0,
    *,
    numbers: Iterable[int] | None = None,
    rank: int = 0,
    world: int = 1,
    multiple: int = 1,
    pin: bool = False,
) -> Iterable[Batch]:
    """Each image once, in order; rank r of w takes every w-th. The last batch may be short.

    `numbers`: only these of the batches, from 0.
    """
    draws = [Draw(index, 0, 0) for index in range(rank, len(samples), world)]
    batches = [draws[i : i + batch_size] for i in range(0, len(draws), batch_size)]
    wanted = batches if numbers is None else (batches[number] for number in numbers)
    return _loader(_Transformed(samples, pipeline, 0), wanted, workers, multiple, pin)


test_loader.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test


def _loader(
    data: _Transformed,
    batches: Iterable[list[Draw]],
    workers: int,
    multiple: int,
    pin: bool,
) -> Iterable[Batch]:
    loader: DataLoader[Any] = DataLoader(
        data,
        batch_sampler=cast(Iterable[list[int]], batches),
        num_workers=workers,
        collate_fn=partial(collate, multiple=multiple),
        worker_init_fn=_single_thread if workers else None,
        pin_memory=pin,
        # A DataLoader draws a base seed from here, for workers that we don't let draw anything: it
        # must not move the global generator, or training would differ with the number of times a
        # loader is opened.
        generator=torch.Generator().manual_seed(0),
    )
    return _Batches(loader)


class _Batches:
    """The loader as an iterable of `Batch`."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self._loader)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except DataError as error:
                raise _in_own_words(error) from None
            yield cast(Batch, batch)

    def __len__(self) -> int:
        return len(self._loader)


def _in_own_words(error: DataError) -> DataError:
    """The error as it was raised: a DataLoader puts a worker's whole traceback in its message."""
    mark = f"{type(error).__module__}.{type(error).__name__}: "
    return type(error)(str(error).rpartition(mark)[2].strip())


def _single_thread(_: int) -> None:
    torch.set_num_threads(1)  # workers are the parallelism; more threads than cores only wait
