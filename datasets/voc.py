"""Data in PASCAL VOC's layout: one XML file an image.

A flat folder, or a devkit with a folder a year.

flat     root/{Annotations,JPEGImages,ImageSets[/Main]};          splits "train", "a+b"
devkit   root/VOC2007/{Annotations,JPEGImages,ImageSets/Main};    splits "2007/train+2012/train"
"""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from datasets import index, voc_xml
from datasets.columns import Columns, pack_text
from datasets.dataset import Dataset
from datasets.decoding import image_size
from datasets.errors import DataError, nearest
from datasets.opening import judged
from datasets.policy import BadLabel, Mark, Policy

Split = Literal["train", "val", "test"]
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_LINE = re.compile(r"(\S(?:.*\S)?)\s+(-1|0|1)")  # the devkit's per-class lists: stem and verdict


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
        columns = index.cached(
            index.digest(key, asdict(policy), classes),
            partial(judged, raw, str(root), classes, policy),
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
                    f"{root}: classes: no object of class {name!r} in any split;"
                    f"{nearest(name, found)}"
                    f" (found: {known})"
                )
        return self.classes if self.classes is not None else tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a split: paths are relative to the data root."""

    image_id: str
    annotation: str
    image: str


def read_split(root: Path, split: str, role: str) -> list[Entry]:
    """The images of `split` ("trainval", "2007/trainval+2012/trainval").

    DataError when it is missing or empty.

    An image listed twice counts once. Where two folders use the same name, ids become
    `folder/name`.
    """
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; point `root` at a folder in VOC layout,"
            " or fetch one: python -m experiments data --help"
        )
    stems: dict[tuple[str, str], None] = {}
    for part in split.split("+"):
        folder, name = _folder(root, part.strip())
        for stem in _stems(root, folder, name, role):
            stems[folder, stem] = None
    if not stems:
        raise DataError(
            f"{root}: split {split!r} ({role}) is empty; it must name at least one image"
        )
    clash = len({stem for _, stem in stems}) < len(stems)
    folders = {folder for folder, _ in stems}
    images = {folder: _images(root / folder / "JPEGImages") for folder in folders}
    return [
        Entry(
            image_id=f"{folder}/{stem}" if clash else stem,
            annotation=os.path.join(folder, "Annotations", f"{stem}.xml"),
            image=os.path.join(folder, "JPEGImages", images[folder].get(stem, f"{stem}.jpg")),
        )
        for folder, stem in stems
    ]


def _folder(root: Path, part: str) -> tuple[str, str]:
    """`2007/trainval` to (`VOC2007`, `trainval`); a bare name belongs to the root itself."""
    folder, slash, name = part.rpartition("/")
    if not slash:
        return "", name
    choices = [f"VOC{folder}", folder]
    for choice in choices:
        if (root / choice).is_dir():
            return choice, name
    raise DataError(f"{root}: split {part!r} needs the folder {choices[0]} or {choices[1]} there")


def _stems(root: Path, folder: str, name: str, role: str) -> list[str]:
    sets = root / folder / "ImageSets"
    for path in (sets / "Main" / f"{name}.txt", sets / f"{name}.txt"):
        if path.is_file():
            break
    else:
        known = sorted(path.stem for path in sets.rglob("*.txt"))
        raise DataError(
            f"{sets / 'Main' / name}.txt: no such split ({role});{nearest(name, known)}"
            f" (found: {', '.join(known[:12]) or 'none'})"
        )
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file in UTF-8") from None
    return [stem for number, line in enumerate(lines, 1) if (stem := _stem(path, number, line))]


def _stem(path: Path, number: int, line: str) -> str | None:
    line = line.strip()
    listed = _LINE.fullmatch(line)
    if listed:
        if listed[2] == "-1":  # a per-class list's negatives
            return None
        line = listed[1]
    stem, ending = os.path.splitext(line)
    stem = stem if ending.lower() in (*_IMAGE_ENDINGS, ".xml") else line
    if stem.startswith("/") or ".." in stem.split("/") or "\0" in stem:
        raise DataError(f"{path}, line {number}: {line!r} leads out of the data folder")
    return stem


def _images(folder: Path) -> dict[str, str]:
    """File name by stem, for every image of the folder: endings differ in spelling."""
    try:
        names = sorted(os.listdir(folder), reverse=True)  # .jpg wins over .png
    except OSError:
        return {}
    split = (os.path.splitext(name) for name in names)
    return {stem: stem + ending for stem, ending in split if ending.lower() in _IMAGE_ENDINGS}


def _raw(root: Path, split: str, role: str, first_pixel: int) -> tuple[Columns, str]:
    """Labels as written, and their content key."""
    entries = read_split(root, split, role)
    try:
        stamps = [index.stamp(root / entry.annotation) for entry in entries]
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename}: no such annotation, but split {split!r} names it"
        ) from None
    listed = [[entry.image_id, entry.annotation, entry.image] for entry in entries]
    read: dict[str, list[bytes]] = {}

    def content() -> str:
        read["files"] = [voc_xml.read_bytes(root / entry.annotation) for entry in entries]
        hashes = b"".join(hashlib.sha256(data).digest() for data in read["files"])
        return index.digest("voc", first_pixel, listed, hashes)

    def build() -> Columns:
        files = read.get("files") or [voc_xml.read_bytes(root / e.annotation) for e in entries]
        return _parse(root, entries, files, first_pixel)

    stamp_key = index.digest("voc", first_pixel, str(root.resolve()), listed, stamps)
    key = index.content_key(stamp_key, content)
    return index.cached(key, build), key


def _parse(
    root: Path, entries: Sequence[Entry], files: Sequence[bytes], first_pixel: int
) -> Columns:
    parsed = [
        voc_xml.parse(data, root / entry.annotation)
        for entry, data in zip(entries, files, strict=True)
    ]
    names = sorted({name for raw in parsed for name in raw.names})
    number = {name: i for i, name in enumerate(names)}
    sizes = [_size(root, entry, raw) for entry, raw in zip(entries, parsed, strict=True)]
    corners = np.array([c for raw in parsed for c in raw.corners], np.float64).reshape(-1, 4)
    boxes = corners + np.array([-first_pixel] * 2 + [1 - first_pixel] * 2)
    extent = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    counts = [len(raw.names) for raw in parsed]
    arrays = {
        "first": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "size_hw": np.array(sizes, np.int32).reshape(-1, 2),
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
    return Columns(
        arrays, {"names": names, "as_written": [first_pixel] * 2 + [first_pixel - 1] * 2}
    )


def _size(root: Path, entry: Entry, raw: voc_xml.Raw) -> tuple[int, int]:
    if raw.height and raw.width:
        return raw.height, raw.width
    try:
        return image_size(root / entry.image)
    except DataError:
        return 0, 0  # unknown; nothing can be said about boxes outside
