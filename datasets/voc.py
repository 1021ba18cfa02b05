"""Data in PASCAL VOC's layout: one XML file an image.

A flat folder, or a devkit with a folder a year.

flat     root/{Annotations,JPEGImages,ImageSets[/Main]};          splits "train", "a+b"
devkit   root/VOC2007/{Annotations,JPEGImages,ImageSets/Main};    splits "2007/train+2012/train"
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from datasets import index, voc_xml
from datasets.dataset import Dataset, Split
from datasets.errors import DataError, nearest
from datasets.headers import image_headers
from datasets.index import Columns, pack_text
from datasets.policy import BadLabel, Mark, Policy, judged
from datasets.voc_splits import Entry, read_split


@dataclass(frozen=True, slots=True)
class VOC:
    """A VOC-layout folder.

    `classes` None: every class found in any of the splits, in alphabetical order.
    """

    root: str
    train: str = "2007/trainval+2012/trainval"
    val: str = "2007/test"
    test: str = "2007/test"
    classes: tuple[str, ...] | None = None
    difficult: Mark = "ignore"  # neither rewarded nor punished; or left out; or like any other
    bad_label: BadLabel = "fix"  # mend or leave out with a report; leave out; or stop
    min_box_px: float = 0.0  # shorter side in the original image; smaller boxes are left out
    first_pixel: Literal[0, 1] = (
        1  # what the files call the first pixel; both corners are inclusive
    )

    def __post_init__(self) -> None:
        """Refuse impossible values; ValueError begins with the field's name."""
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes: each may be named once, found {list(self.classes)}")
        if self.min_box_px < 0:
            raise ValueError(f"min_box_px: must be >= 0, found {self.min_box_px}")

    def open(self, split: Split) -> Dataset:
        """Read one split's labels (or their cached index).

        DataError says what is missing or wrong, and where.
        """
        root = Path(self.root).expanduser()
        raw, key = _raw(root, getattr(self, split), split, self.first_pixel)
        classes = self._classes(root, raw)
        policy = Policy(self.difficult, "ignore", self.bad_label, self.min_box_px, inclusive=True)
        headers = image_headers(root, raw)
        columns = index.cached(
            index.digest(key, headers.meta["key"], asdict(policy), classes),
            partial(judged, raw, headers, str(root), classes, policy),
        )
        return Dataset(root, columns)

    def _classes(self, root: Path, raw: Columns) -> tuple[str, ...]:
        found = set(raw.meta["names"])
        if self.classes is not None and found.issuperset(self.classes):
            return self.classes
        for split in ("train", "val", "test"):
            found |= set(_raw(root, getattr(self, split), split, self.first_pixel)[0].meta["names"])
        for name in self.classes or ():
            if name not in found:
                known = ", ".join(sorted(found))
                raise DataError(
                    f"{root}: classes: no object of class {name!r} in any split"
                    f"{nearest(name, found)}"
                    f" (found: {known})"
                )
        return self.classes if self.classes is not None else tuple(sorted(found))


def _raw(root: Path, split: str, role: str, first_pixel: int) -> tuple[Columns, str]:
    """Labels as written, and their content key."""
    entries = read_split(root, split, role)
    try:
        stamps = [index.stamp(f"{root}/{entry.annotation}") for entry in entries]
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename}: no such annotation, but split {split!r} names it"
        ) from None
    listed = "\n".join(f"{e.image_id}\t{e.annotation}\t{e.image}\t{e.present}" for e in entries)
    read: dict[str, list[bytes]] = {}

    def content() -> str:
        read["files"] = [voc_xml.read_bytes(root / entry.annotation) for entry in entries]
        hashes = b"".join(hashlib.sha256(data).digest() for data in read["files"])
        return index.digest("voc", first_pixel, listed, hashes)

    def build() -> Columns:
        files = read.get("files") or [voc_xml.read_bytes(root / e.annotation) for e in entries]
        parsed = [
            voc_xml.parse(data, root / entry.annotation)
            for entry, data in zip(entries, files, strict=True)
        ]
        return raw_columns(root, entries, parsed, first_pixel)

    stamp_key = index.digest("voc", first_pixel, str(root.resolve()), listed, stamps)
    key = index.content_key(stamp_key, content)
    return index.cached(key, build), key


def raw_columns(
    root: Path, entries: Sequence[Entry], parsed: Sequence[voc_xml.Raw], first_pixel: int
) -> Columns:
    """Labels as written, one entry an image, in the project's coordinates; input of `judge`."""
    names = sorted({name for raw in parsed for name in raw.names})
    number = {name: i for i, name in enumerate(names)}
    corners = np.array([c for raw in parsed for c in raw.corners], np.float64).reshape(-1, 4)
    boxes = corners + np.array([-first_pixel] * 2 + [1 - first_pixel] * 2)
    extent = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    counts = [len(raw.names) for raw in parsed]
    arrays = {
        "first": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "size_hw": np.array([_size(raw) for raw in parsed], np.int32).reshape(-1, 2),
        "boxes": boxes.astype(np.float32),
        "name": np.array([number[n] for raw in parsed for n in raw.names], np.int32),
        "difficult": np.array([d for raw in parsed for d in raw.difficult], np.uint8),
        "crowd": np.zeros(len(boxes), np.uint8),
        "area": (extent[:, 0] * extent[:, 1]).astype(np.float32),
        "object": np.array([i + 1 for count in counts for i in range(count)], np.int64),
    }
    texts = {
        "image_id": [entry.image_id for entry in entries],
        "image": [entry.image for entry in entries],
        "source": [entry.annotation for entry in entries],
    }
    for field, values in texts.items():
        arrays[field], arrays[f"{field}_ends"] = pack_text(values)
    return Columns(arrays, {"names": names, "first_pixel": first_pixel})


def _size(raw: voc_xml.Raw) -> tuple[int, int]:
    return (raw.height, raw.width) if raw.height and raw.width else (0, 0)
