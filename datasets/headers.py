"""What image files say of themselves, read once for a data set: stored size, EXIF orientation.

Labels have their own idea of an image's size, which programs get wrong; the image's own wins, here
for training, measuring and the doctor alike. Shapes: I images.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from datasets import index
from datasets.errors import DataError, Finding
from datasets.index import Array, Columns, text_at
from datasets.pixels.header import Header, image_header
from datasets.pixels.orientation import UNDECIDED, turned_size, turns

_THREADS = 8  # of a slow disk each open waits; of a fast one the threads cost nothing
_CHUNK = 512


def image_headers(root: Path, names: Sequence[str]) -> Columns:
    """Arrays aligned with `names` (files relative to the root), kept until a file changes:

    `stored_hw` int32 [I, 2], as the pixels are stored, 0 where there is no readable image;
    `orientation` uint8 [I], EXIF's 1..8, 0 where the file has none; `deep` uint8 [I], 1 for grey of
    16 or 32 bit; `bytes` int64 [I], -1 where there is no file. `meta["key"]` names what they hold.
    """
    stamps = np.array([_stamp(f"{root}/{name}") for name in names], np.int64).reshape(-1, 3)
    key = index.digest(str(root.resolve()), "\n".join(names), stamps.tobytes())
    return index.cached(key, lambda: _read_all(root, names, stamps))


def with_sizes(raw: Columns, headers: Columns) -> Columns:
    """Labels as written, with the sizes of the images as they are used.

    Adds `written_hw`, the size that the labels state (0: none), `turn` uint8 [I], the EXIF
    orientation to apply to the pixels (1: as stored, 0: `undecided`), and `deep` and `bytes`
    (`image_headers`). `size_hw` becomes the image's own size, so turned; without an image it is the
    written one. Boxes that are fractions of the image (`meta["fractions"]`) become pixels, NaN
    where its size isn't known.
    """
    written, stored = raw["size_hw"], headers["stored_hw"]
    turn = turns(stored, headers["orientation"], written, raw["boxes"], raw["first"])
    own = turned_size(stored, turn)
    size = np.where((own > 0).all(1, keepdims=True), own, written).astype(np.int32)
    more = {"size_hw": size, "written_hw": written, "turn": turn}
    more |= {name: headers[name] for name in ("deep", "bytes")}
    if raw.meta.get("fractions"):
        more |= _in_pixels(raw, size)
    return Columns(raw.arrays | more, raw.meta)


def _in_pixels(raw: Columns, size_I2: Array) -> dict[str, Array]:
    known_I2 = np.where(size_I2 > 0, size_I2, np.nan)
    size_N2 = np.repeat(known_I2[:, ::-1], np.diff(raw["first"]), axis=0)
    boxes_N4 = (raw["boxes"] * np.tile(size_N2, 2)).astype(np.float32)
    extent_N2 = np.clip(boxes_N4[:, 2:] - boxes_N4[:, :2], 0, None)
    return {"boxes": boxes_N4, "area": np.nan_to_num(extent_N2.prod(1)).astype(np.float32)}


def undecided(raw: Columns) -> list[Finding]:
    """Images that EXIF turns and whose labels fit neither frame, of labels `with_sizes`."""
    found = []
    for row in np.flatnonzero(raw["turn"] == UNDECIDED).tolist():
        height, width = raw["size_hw"][row].tolist()
        stated = "x".join(map(str, raw["written_hw"][row].tolist()[::-1]))
        message = (
            f"EXIF turns it: {width}x{height} as stored, {height}x{width} upright, and its labels"
            f" say {stated}: they fit neither. State one of the two, or save the image without EXIF"
        )
        found.append(Finding(text_at(raw, "image", row), None, "undecided_turn", message))
    return found


def remarks(raw: Columns) -> list[Finding]:
    """What is done to the pixels of a set, labels `with_sizes`: no faults, but to be known."""
    deep, turned = np.flatnonzero(raw["deep"]), np.flatnonzero(raw["turn"] > 1)
    told = []
    if len(deep):
        what = "scaled to 8 bit, an image's darkest value to 0 and its brightest to 255"
        told.append(("deep_grey", deep, f"grey of 16 or 32 bit: {what}"))
    if len(turned):
        told.append(("turned", turned, "turned upright as EXIF says, which is how the labels lie"))
    return [
        Finding(text_at(raw, "image", int(rows[0])), None, kind, f"{len(rows)} such images: {what}")
        for kind, rows, what in told
    ]


def _read_all(root: Path, names: Sequence[str], stamps: Array) -> Columns:
    there = np.flatnonzero(stamps[:, 0] >= 0).tolist()
    chunks = [there[start : start + _CHUNK] for start in range(0, len(there), _CHUNK)]

    def read(rows: list[int]) -> list[Header]:
        return [_header(f"{root}/{names[row]}") for row in rows]

    with ThreadPoolExecutor(_THREADS) as pool:
        found = [header for chunk in pool.map(read, chunks) for header in chunk]
    values = np.zeros((len(names), 4), np.int32)
    values[there] = np.array(found, np.int32).reshape(-1, 4)
    arrays: dict[str, Array] = {
        "stored_hw": np.ascontiguousarray(values[:, :2]),
        "orientation": values[:, 2].astype(np.uint8),
        "deep": values[:, 3].astype(np.uint8),
        "bytes": np.ascontiguousarray(stamps[:, 0]),
    }
    return Columns(arrays, {"key": index.digest(values.tobytes(), stamps[:, 0].tobytes())})


def _header(path: str) -> Header:
    try:
        return image_header(path)
    except DataError:
        return Header(0, 0)  # said by name when it is decoded, and by the doctor


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return -1, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
