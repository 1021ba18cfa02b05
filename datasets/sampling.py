"""Which images make the k-th batch: a pure function of (seed, k), so a run resumes anywhere and
ranks agree.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from datasets.index import Array
from datasets.transforms import mix

# Batches whose images are grouped by shape together: enough to fill batches, few enough to mix.
_WINDOW = 32


class Draw(NamedTuple):
    """One sample of a batch."""

    image: int  # its index in the data set
    visit: int  # how often the image came before, in whole passes
    batch: int  # global number of the batch


@dataclass(frozen=True, eq=False)
class Order:
    """The endless sequence of images: shuffled passes, optionally with repeats and grouped by
    shape.

    `repeats_I`: how often each image comes in a pass, fractions rounded at random without bias (see
    `repeat_factors`). `groups_I`: images of one group share batches as far as possible (see
    `orientation`).
    """

    images: int
    batch: int  # over all ranks
    seed: int
    repeats_I: Array | None = None
    groups_I: Array | None = None

    def batch_draws(self, number: int) -> list[Draw]:
        """The images of one global batch."""
        start = number * self.batch
        places: Sequence[int] = range(start, start + self.batch)
        if self.groups_I is not None:
            places = _window(self, number // _WINDOW)[number % _WINDOW]
        return [self._draw(place, number) for place in places]

    @property
    def pass_length(self) -> int:
        """Draws in one pass over the data."""
        return self.images if self.repeats_I is None else max(1, round(float(self.repeats_I.sum())))

    def _draw(self, place: int, batch: int) -> Draw:
        number, within = divmod(place, self.pass_length)
        indices, visits = _pass(self, number)
        return Draw(int(indices[within]), int(visits[within]), batch)


@lru_cache(maxsize=4)
def _pass(order: Order, number: int) -> tuple[Array, Array]:
    chance = np.random.default_rng(mix(order.seed, number, 1))
    if order.repeats_I is None:
        indices, nth = np.arange(order.images), np.zeros(order.images, np.int64)
        most = 1
    else:
        ends = np.cumsum(order.repeats_I) * (order.pass_length / order.repeats_I.sum())
        marks = np.floor(ends + chance.random() + 1e-9).astype(np.int64)
        counts = np.diff(marks, prepend=0)
        counts[-1] += order.pass_length - counts.sum()
        indices = np.repeat(np.arange(order.images), counts)
        nth = np.concatenate([np.arange(count) for count in counts])
        most = int(np.ceil(order.repeats_I.max())) + 1
    shuffled = chance.permutation(len(indices))
    return indices[shuffled], number * most + nth[shuffled]


@lru_cache(maxsize=4)
def _window(order: Order, window: int) -> list[list[int]]:
    """Places of each batch in a window: sorted by group inside it, then the batches shuffled."""
    assert order.groups_I is not None
    first = window * _WINDOW * order.batch
    places = range(first, first + _WINDOW * order.batch)
    groups = [int(order.groups_I[order._draw(place, 0).image]) for place in places]
    ordered = np.array(places)[np.argsort(groups, kind="stable")]
    batches = ordered.reshape(_WINDOW, order.batch)
    shuffled = np.random.default_rng(mix(order.seed, window, 2)).permutation(_WINDOW)
    return [batches[row].tolist() for row in shuffled]


class BatchSampler:
    """Lists of draws of one rank, for the batches of these numbers.

    What a DataLoader takes as `batch_sampler`.
    """

    def __init__(self, order: Order, numbers: Iterable[int], rank: int = 0, world: int = 1) -> None:
        self.order, self.numbers, self.rank, self.world = order, numbers, rank, world

    def __iter__(self) -> Iterator[list[Draw]]:
        """Rank r of w takes every w-th draw: each rank then meets the same mix of shapes."""
        for number in self.numbers:
            yield self.order.batch_draws(number)[self.rank :: self.world]


def orientation(sizes_I2: Array) -> Array:
    """Group 0 for images taller than wide, 1 for the others: padding is least when they don't share
    a batch.
    """
    groups: Array = (sizes_I2[:, 1] >= sizes_I2[:, 0]).astype(np.int64)
    return groups


def repeat_factors(first: Array, labels_N: Array, classes: int, threshold: float) -> Array:
    """How often each image comes in a pass so that rare classes are seen (Gupta et al.

    2019, arXiv:1908.03195, section 5).

    max(1, sqrt(threshold / f_c)) for the rarest class c of the image, f_c the fraction of images
    with it. `first` are the rows where each image's labels begin, and the end.
    """
    images = len(first) - 1
    image_N = np.repeat(np.arange(images), np.diff(first))
    present = np.zeros((images, classes), np.bool_)
    present[image_N, labels_N] = True
    fraction_K = np.maximum(present.mean(0), 1 / max(1, images))
    repeat_K = np.maximum(1.0, np.sqrt(threshold / fraction_K))
    factors: Array = np.where(present, repeat_K, 1.0).max(1)
    return factors
