"""The label files of a split as columns, kept by their content. Boxes stay fractions.

An image without a label file, or with an empty one, is an image without objects. Shapes: N objects.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets import index
from datasets.errors import DataError
from datasets.formats import yolo_text
from datasets.formats.findings import Findings, as_written, packed
from datasets.formats.yolo_layout import Layout
from datasets.formats.yolo_lists import Entry
from datasets.index import Array, Columns, pack_text

Contents = list[bytes | DataError | None]  # of each file, why there is none, or that there is none


def read_labels(
    layout: Layout, entries: Sequence[Entry], alone: Sequence[str] = ()
) -> tuple[Columns, str]:
    """Labels as written (`datasets/written.py` tells the columns), and their content key.

    `alone`: text files without an image, of which those that hold objects are named.
    `meta["unread"]` are the images whose label file can't be read: they have no objects.
    """
    root, told = layout.root, (layout.names, layout.keypoints)
    files = [*(entry.label for entry in entries), *alone]
    stamps = [_stamp(f"{root}/{file}") for file in files]
    listed = "\n".join([*(f"{entry.image_id}\t{entry.label}" for entry in entries), *alone])
    contents: Contents = []

    def read() -> Contents:
        if not contents:
            contents.extend(_content(root / file) for file in files)
        return contents

    def content() -> str:
        hashes = b"".join(
            hashlib.sha256(
                str(data).encode() if isinstance(data, DataError) else data or b"none"
            ).digest()
            for data in read()
        )
        return index.digest("yolo", *told, listed, hashes)

    stamp_key = index.digest("yolo", *told, str(root.resolve()), listed, stamps)
    key = index.content_key(stamp_key, content)

    def build() -> Columns:
        findings = Findings()
        rest = zip(alone, read()[len(entries) :], strict=True)
        texts = [(file, data) for file, data in rest if data and isinstance(data, bytes)]
        _note_alone(layout, texts, findings)
        return _columns(layout, entries, read()[: len(entries)], findings)

    return index.cached(key, build), key


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        return index.stamp(path)
    except OSError:
        return -1, 0, 0


def _content(path: Path) -> bytes | DataError | None:
    try:
        with path.open("rb") as file:
            return file.read(yolo_text.MOST_BYTES + 1)
    except OSError as error:
        if not os.path.lexists(path):
            return None
        return DataError(f"can't be read: {error.strerror}")


def _note_alone(layout: Layout, files: Sequence[tuple[str, bytes]], findings: Findings) -> None:
    for file, data in files:
        try:
            lines, _ = yolo_text.parse(data, layout.names, keypoints=layout.keypoints)
        except DataError:
            continue  # a text of another kind
        objects = max(len(lines), yolo_text.rows_like_labels(data))
        if objects:
            words = "1 object" if objects == 1 else f"{objects} objects"
            what = f"labels of an image that isn't there; not used: {words}"
            findings.add(file, None, "missing_image", what, lost=objects)


def _columns(
    layout: Layout,
    entries: Sequence[Entry],
    contents: Contents,
    findings: Findings,
) -> Columns:
    unread: list[int] = []
    lines: list[yolo_text.Line] = []
    counts: list[int] = []
    words: dict[str, str] = {}
    image_of: dict[str, str] = {}
    for row, (entry, data) in enumerate(zip(entries, contents, strict=True)):
        if image_of.setdefault(entry.label, entry.image) != entry.image and data is not None:
            what = "labels of several images that differ in their ending; read for each of them"
            findings.count(entry.label, None, "twin_images", what)
        found: list[yolo_text.Line] = []
        if data is None:
            what = "an image without a label file; read as one without objects"
            findings.count(entry.image, None, "no_label_file", what)
        else:
            try:
                if isinstance(data, DataError):
                    raise data
                found, faults = yolo_text.parse(data, layout.names, keypoints=layout.keypoints)
                _note(entry.label, faults, findings)
            except DataError as error:
                findings.add(entry.label, None, "broken_labels", str(error))
                unread.append(row)
        lines += found
        words |= {as_written(entry.label, f.number): f.words for f in found if f.words}
        counts.append(len(found))
    names, lines = _merged(layout, lines, findings)
    arrays = _objects(lines, counts)
    for field, values in {
        "image_id": [entry.image_id for entry in entries],
        "source": [entry.label for entry in entries],
    }.items():
        arrays[field], arrays[f"{field}_ends"] = pack_text(values)
    meta = {"names": names, "fractions": True, "unread": unread, "lost": findings.lost}
    return Columns(arrays, meta | {"findings": packed(findings.all()), "words": words})


def _merged(
    layout: Layout, lines: list[yolo_text.Line], findings: Findings
) -> tuple[list[str], list[yolo_text.Line]]:
    """Names, each once, and lines with their numbers; where nobody names classes, numbers do."""
    most = max((line.label for line in lines), default=-1)
    names = layout.names or tuple(str(number) for number in range(most + 1))
    once = list(dict.fromkeys(names))
    if len(once) < len(names):
        place = [once.index(name) for name in names]
        name = next(name for name in once if names.count(name) > 1)
        told = ", ".join(str(number) for number, other in enumerate(names) if other == name)
        what = f"names: {name!r} is there {names.count(name)} times, read as one: {told}"
        findings.add(layout.source, None, "category_twice", what)
        lines = [line._replace(label=place[line.label]) for line in lines]
    return once, lines


def _note(name: str, faults: Sequence[yolo_text.Fault], findings: Findings) -> None:
    for fault in faults:
        if fault.kind == "bad_row":
            findings.add(name, fault.number, fault.kind, fault.message, lost=1)
        else:
            findings.count(name, fault.number, fault.kind, fault.message)


def _objects(lines: Sequence[yolo_text.Line], counts: Sequence[int]) -> dict[str, Array]:
    number = len(lines)
    return {
        "first": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "size_hw": np.zeros((len(counts), 2), np.int32),
        "boxes": np.array([line.box for line in lines], np.float64).reshape(-1, 4),
        "name": np.array([line.label for line in lines], np.int32),
        "difficult": np.zeros(number, np.uint8),
        "crowd": np.zeros(number, np.uint8),
        "area": np.zeros(number, np.float32),
        "object": np.array([line.number for line in lines], np.int64),
    }
