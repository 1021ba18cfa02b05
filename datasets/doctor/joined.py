"""All splits of a data set as one, for questions about the whole of it.

An image that several splits name with the same label file is one row. Shapes: I images, N objects.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from datasets.index import Array, Columns, pack_text, source_of, texts
from datasets.written import Written

_PER_IMAGE = ("size_hw", "written_hw", "turn", "deep", "bytes")
_PER_OBJECT = ("boxes", "difficult", "crowd", "area", "object")
_TEXTS = ("image_id", "image", "source")


@dataclass(frozen=True, slots=True)
class Joined:
    """`labels` are columns as `headers.with_sizes` gives them, with `source` and `place`."""

    labels: Columns
    rows: Mapping[str, Array]  # by split: the row of each of its images
    splits: list[frozenset[str]]  # of each row
    unread: list[int]  # rows whose label file can't be read

    @property
    def image_N(self) -> Array:
        """The row of the image of each object."""
        return np.repeat(np.arange(len(self.splits)), np.diff(self.labels["first"]))


def join(written: Mapping[str, Written]) -> Joined:
    """Labels of all splits, with the images' own sizes."""
    names = list(dict.fromkeys(name for one in written.values() for name in one.names))
    number = {name: place for place, name in enumerate(names)}
    row_of: dict[tuple[str, str, str], int] = {}
    member_of: dict[int, set[str]] = defaultdict(set)
    rows: dict[str, Array] = {}
    arrays: dict[str, list[Array]] = defaultdict(list)
    words: dict[str, list[str]] = defaultdict(list)
    for split, one in written.items():
        labels = one.sized()
        own = _texts(labels)
        keys = list(zip(own["source"], own["image"], own["image_id"], strict=True))
        fresh = np.array([key not in row_of for key in keys], np.bool_)
        for key in keys:
            member_of[row_of.setdefault(key, len(row_of))].add(split)
        rows[split] = np.array([row_of[key] for key in keys], np.int64)
        _add(arrays, labels, fresh, np.array([number[name] for name in one.names], np.int32))
        for field, values in own.items():
            words[field] += [v for v, new in zip(values, fresh, strict=True) if new]
    joined = {field: np.concatenate(parts) for field, parts in arrays.items()}
    joined["first"] = np.concatenate([[0], np.cumsum(joined.pop("counts"))]).astype(np.int64)
    for field in _TEXTS:
        joined[field], joined[f"{field}_ends"] = pack_text(words[field])
    meta = {"names": names, **_same(written, "first_pixel"), **_same(written, "fractions")}
    meta["words"] = {k: v for one in written.values() for k, v in _words(one).items()}
    unread = {
        int(rows[split][place])
        for split, one in written.items()
        for place in one.raw.meta.get("unread", ())
    }
    splits = [frozenset(member_of[row]) for row in range(len(row_of))]
    return Joined(Columns(joined, meta), rows, splits, sorted(unread))


def _words(one: Written) -> Mapping[str, str]:
    words: Mapping[str, str] = one.raw.meta.get("words", {})
    return words


def _same(written: Mapping[str, Written], field: str) -> dict[str, object]:
    """A word of `meta` that all splits of a layout share."""
    found = [one.raw.meta[field] for one in written.values() if field in one.raw.meta]
    return {field: found[0]} if found else {}


def _texts(labels: Columns) -> dict[str, list[str]]:
    count = len(labels["first"]) - 1
    own = {field: texts(labels, field) for field in ("image_id", "image")}
    if "source" in labels.arrays:
        return own | {"source": texts(labels, "source")}
    return own | {"source": [source_of(labels, 0)] * count}


def _add(arrays: dict[str, list[Array]], labels: Columns, fresh_I: Array, number: Array) -> None:
    counts_I = np.diff(labels["first"])
    fresh_N = np.repeat(fresh_I, counts_I)
    for field in _PER_IMAGE:
        arrays[field].append(labels[field][fresh_I])
    for field in _PER_OBJECT:
        arrays[field].append(labels[field][fresh_N])
    place = "place" if "place" in labels.arrays else "object"
    arrays["place"].append(labels[place][fresh_N])
    name_N = labels["name"][fresh_N]
    known = np.append(number, -1).astype(np.int32)  # -1, of a nameless object, finds the last
    arrays["name"].append(known[name_N])
    arrays["counts"].append(counts_I[fresh_I])
