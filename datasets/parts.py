"""A split that is a part of another: a seeded share of the training images, held back from them to
choose by where there is no validation split. And which images two splits share.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from datasets import index
from datasets.dataset import Dataset, Split
from datasets.errors import DataError
from datasets.index import Array, Columns, pack_text, text_at, texts

_HEAD = 4096  # bytes that tell nearly all images of one size apart


@dataclass(frozen=True, slots=True)
class Part:
    """`part` (0..1) of the images of `of`, by `seed`: the same images on every machine, whatever
    the run's seed.
    """

    part: float
    of: Literal["train"] = "train"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible values; ValueError begins with the field's name."""
        if not 0 < self.part < 1:
            raise ValueError(f"part: must lie between 0 and 1, found {self.part}")


Val = str | Part | None


def labels_of(val: Val, split: Split) -> Split:
    """The split whose labels hold those of `split`; DataError where there is no val."""
    if split != "val" or isinstance(val, str):
        return split
    if val is None:
        raise DataError(
            "data.val: null, so there is nothing to choose or validate by; name a split that is "
            "not the test's, or hold a tenth of train back: data.val='{part: 0.1, of: train}'"
        )
    return val.of


def parted(dataset: Dataset, val: Val, split: Split) -> Dataset:
    """`dataset` as it is, or where `val` is a part of it: that part as val, the rest as train."""
    if not isinstance(val, Part) or split == "test":
        return dataset
    columns = dataset.columns

    def build() -> Columns:
        held_I = _held_back(columns, val)
        if not 0 < held_I.sum() < len(held_I):
            raise DataError(
                f"{dataset.root}: data.val: {val.part} of {len(held_I)} training images leaves one "
                "side empty"
            )
        return _of(columns, held_I if split == "val" else ~held_I, findings=split == "train")

    if columns.path is None:
        return Dataset(dataset.root, build())
    key = index.digest("part", columns.path.name, asdict(val), split)
    return Dataset(dataset.root, index.cached(key, build))


def shared_images(one: Dataset, other: Dataset) -> int:
    """How many images of `one` have the bytes of an image of `other`, whatever they are called."""
    sizes = np.intersect1d(one.columns["bytes"], other.columns["bytes"])
    sizes = sizes[sizes > 0]
    theirs: dict[tuple[int, bytes], list[Path]] = defaultdict(list)
    for path, size in _of_sizes(other, sizes):
        theirs[size, _head(path)].append(path)
    return sum(
        any(_same(path, found) for found in theirs.get((size, _head(path)), ()))
        for path, size in _of_sizes(one, sizes)
    )


def _held_back(columns: Columns, val: Part) -> Array:
    """Which images are held back: those whose name has the lowest digests."""
    names = texts(columns, "image_id")
    digests = [hashlib.sha256(f"{val.seed}/{name}".encode()).digest()[:8] for name in names]
    order = np.argsort(np.array([int.from_bytes(d, "big") for d in digests], np.uint64))
    held_I = np.zeros(len(names), np.bool_)
    held_I[order[: round(val.part * len(names))]] = True
    return held_I


def _of(columns: Columns, kept_I: Array, *, findings: bool) -> Columns:
    """The rows of some images and of their objects; the flaws of all stay with one side."""
    counts = np.diff(columns["first"])
    kept_N = np.repeat(kept_I, counts)
    arrays = {}
    for name, array in columns.arrays.items():
        if name == "first":
            arrays[name] = np.concatenate([[0], np.cumsum(counts[kept_I])]).astype(np.int64)
        elif f"{name}_ends" in columns.arrays:
            told = [text_at(columns, name, row) for row in np.flatnonzero(kept_I).tolist()]
            arrays[name], arrays[f"{name}_ends"] = pack_text(told)
        elif not name.endswith("_ends"):
            arrays[name] = array[kept_I if name in _PER_IMAGE else kept_N]
    meta = dict(columns.meta) if findings else {**columns.meta, "findings": [], "unknown": {}}
    return Columns(arrays, meta)


_PER_IMAGE = ("size_hw", "turn", "bytes")


def _of_sizes(dataset: Dataset, sizes: Array) -> Iterator[tuple[Path, int]]:
    columns = dataset.columns
    for row in np.flatnonzero(np.isin(columns["bytes"], sizes)).tolist():
        yield dataset.root / text_at(columns, "image", row), int(columns["bytes"][row])


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(_HEAD)).digest()


def _same(one: Path, other: Path) -> bool:
    return one == other or one.read_bytes() == other.read_bytes()
