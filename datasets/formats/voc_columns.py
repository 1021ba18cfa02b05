"""The XML files of a split as columns, kept by their content.

Boxes become the project's: 0-based, x2 and y2 exclusive. Shapes: N objects, I images.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets import index
from datasets.errors import DataError
from datasets.formats import voc_xml
from datasets.formats.findings import Findings, as_written, packed
from datasets.formats.voc_lists import Entry
from datasets.index import Array, Columns, pack_text

Contents = list[bytes | DataError]  # of each file, or why there is none


def read_labels(
    root: Path, entries: Sequence[Entry], first_pixel: int, findings: Findings
) -> tuple[Columns, str]:
    """Labels as written (`datasets/written.py` tells the columns), and their content key.

    `findings` come in with what the lists had, which is kept with the labels. `meta["unread"]` are
    the images whose file can't be read: they have no objects.
    """
    stamps = [_stamp(f"{root}/{entry.annotation}") for entry in entries]
    listed = "\n".join(f"{entry.image_id}\t{entry.annotation}" for entry in entries)
    noted = packed(findings.all())
    contents: Contents = []

    def read() -> Contents:
        if not contents:
            contents.extend(_content(f"{root}/{entry.annotation}") for entry in entries)
        return contents

    def content() -> str:
        hashes = b"".join(_digest(data) for data in read())
        return index.digest("voc", first_pixel, listed, noted, hashes)

    def build() -> Columns:
        return _columns(root, entries, read(), first_pixel, findings)

    stamp_key = index.digest("voc", first_pixel, str(root.resolve()), listed, noted, stamps)
    key = index.content_key(stamp_key, content)
    return index.cached(key, build), key


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        return index.stamp(path)
    except OSError:
        return -1, 0, 0


def _content(path: str) -> bytes | DataError:
    try:
        return voc_xml.read_bytes(path)
    except DataError as error:
        return error


def _digest(data: bytes | DataError) -> bytes:
    return hashlib.sha256(data if isinstance(data, bytes) else b"none").digest()


def _columns(
    root: Path,
    entries: Sequence[Entry],
    contents: Contents,
    first_pixel: int,
    findings: Findings,
) -> Columns:
    parsed, unread = [], []
    for row, entry in enumerate(entries):
        data, contents[row] = contents[row], b""  # 60 MB of VOC, not held beside what they say
        raw = _parsed(root, entry.annotation, data, findings)
        parsed.append(raw or voc_xml.NOTHING)
        if raw is None:
            unread.append(row)
        elif raw.odd or raw.more or not raw.width or not raw.height:
            _note(entry.annotation, raw, findings)
    arrays, names = _objects(parsed, first_pixel)
    arrays["size_hw"] = np.array([_size(raw) for raw in parsed], np.int32).reshape(-1, 2)
    columns = {
        "image_id": [entry.image_id for entry in entries],
        "source": [entry.annotation for entry in entries],
        "filename": [raw.filename for raw in parsed],
    }
    for field, values in columns.items():
        arrays[field], arrays[f"{field}_ends"] = pack_text(values)
    meta = {"names": names, "first_pixel": first_pixel, "unread": unread, "lost": findings.lost}
    words = {
        as_written(entry.annotation, place + 1): text
        for entry, raw in zip(entries, parsed, strict=True)
        for place, text in raw.words.items()
    }
    return Columns(arrays, meta | {"findings": packed(findings.all()), "words": words})


def _parsed(
    root: Path, name: str, data: bytes | DataError, findings: Findings
) -> voc_xml.Raw | None:
    path = f"{root}/{name}"  # a Path takes longer to make than its file to read
    try:
        if isinstance(data, DataError):
            raise data
        return voc_xml.parse(data, path)
    except DataError as error:
        kind = "broken_labels" if Path(path).is_file() else "missing_labels"
        findings.add(name, None, kind, str(error).removeprefix(f"{path}: "))
        return None


def _note(name: str, raw: voc_xml.Raw, findings: Findings) -> None:
    if not (raw.width and raw.height):
        findings.count(name, None, "missing_size", "says no size; the image's own is used")
    for place, boxes in raw.more.items():
        what = f"has {boxes} bndbox, of which the first is used: an object has one"
        findings.add(name, place + 1, "bad_row", what, lost=boxes - 1)
    for place, word in raw.odd.items():
        if word:
            what = f"difficult is {word!r}, neither yes nor no; read as 0"
            findings.count(name, place + 1, "odd_flag", what)
        else:
            findings.count(name, place + 1, "missing_difficult", "has no difficult; read as 0")


def _objects(parsed: Sequence[voc_xml.Raw], first_pixel: int) -> tuple[dict[str, Array], list[str]]:
    names = sorted({name for raw in parsed for name in raw.names if name})
    number = {name: i for i, name in enumerate(names)}
    corners_N4 = np.array([c for raw in parsed for c in raw.corners], np.float64).reshape(-1, 4)
    boxes_N4 = corners_N4 + np.array([-first_pixel] * 2 + [1 - first_pixel] * 2)
    extent_N2 = np.clip(boxes_N4[:, 2:] - boxes_N4[:, :2], 0, None)
    counts_I = [len(raw.names) for raw in parsed]
    arrays: dict[str, Array] = {
        "first": np.concatenate([[0], np.cumsum(counts_I)]).astype(np.int64),
        "boxes": boxes_N4.astype(np.float32),
        "name": np.array([number.get(n, -1) for raw in parsed for n in raw.names], np.int32),
        "difficult": np.array([d for raw in parsed for d in raw.difficult], np.uint8),
        "crowd": np.zeros(len(boxes_N4), np.uint8),
        "area": (extent_N2[:, 0] * extent_N2[:, 1]).astype(np.float32),
        "object": np.array([i + 1 for count in counts_I for i in range(count)], np.int64),
    }
    return arrays, names


def _size(raw: voc_xml.Raw) -> tuple[int, int]:
    return (raw.height, raw.width) if raw.height and raw.width else (0, 0)
