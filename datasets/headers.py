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
from datasets.decoding import image_header
from datasets.errors import DataError
from datasets.index import Array, Columns, texts

_THREADS = 8  # of a slow disk each open waits; of a fast one the threads cost nothing
_CHUNK = 512
_TURNED = (5, 6, 7, 8)  # EXIF orientations that lay an upright photo on its side


def image_headers(root: Path, raw: Columns) -> Columns:
    """Arrays aligned with the images of `raw`, kept until a file changes:

    `stored_hw` int32 [I, 2], as the pixels are stored, 0 where there is no readable image;
    `orientation` uint8 [I], EXIF's 1..8, 0 where the file has none; `bytes` int64 [I], -1 where
    there is no file. `meta["key"]` names what they hold.
    """
    names = texts(raw, "image")
    stamps = np.array([_stamp(f"{root}/{name}") for name in names], np.int64).reshape(-1, 3)
    key = index.digest(str(root.resolve()), raw["image"].tobytes(), stamps.tobytes())
    return index.cached(key, lambda: _read_all(root, names, stamps))


def with_sizes(raw: Columns, headers: Columns) -> Columns:
    """Labels as written, with the sizes of the images as they are used.

    Adds `written_hw`, the size that the labels state (0: none), and `turn` uint8 [I], the EXIF
    orientation to apply to the pixels (1: as stored). `size_hw` becomes the image's own size, so
    turned; where there is no image it is the written one.
    """
    written, stored = raw["size_hw"], headers["stored_hw"]
    turn = _turns(written, stored, headers["orientation"])
    own = np.where(np.isin(turn, _TURNED)[:, None], stored[:, ::-1], stored)
    size = np.where((own > 0).all(1, keepdims=True), own, written).astype(np.int32)
    more = {"size_hw": size, "written_hw": written, "turn": turn}
    return Columns(raw.arrays | more, raw.meta)


def _turns(written_I2: Array, stored_I2: Array, orientation_I: Array) -> Array:
    """EXIF orientation is applied unless the labels state the size as stored."""
    on_side = np.isin(orientation_I, _TURNED) & (stored_I2[:, 0] != stored_I2[:, 1])
    as_stored = on_side & (written_I2 == stored_I2).all(1)
    turn: Array = np.where(on_side & ~as_stored, orientation_I, 1).astype(np.uint8)
    return turn


def _read_all(root: Path, names: Sequence[str], stamps: Array) -> Columns:
    there = np.flatnonzero(stamps[:, 0] >= 0).tolist()
    chunks = [there[start : start + _CHUNK] for start in range(0, len(there), _CHUNK)]

    def read(rows: list[int]) -> list[tuple[int, int, int]]:
        return [_header(root / names[row]) for row in rows]

    with ThreadPoolExecutor(_THREADS) as pool:
        found = [header for chunk in pool.map(read, chunks) for header in chunk]
    values = np.zeros((len(names), 3), np.int32)
    values[there] = np.array(found, np.int32).reshape(-1, 3)
    arrays: dict[str, Array] = {
        "stored_hw": np.ascontiguousarray(values[:, :2]),
        "orientation": values[:, 2].astype(np.uint8),
        "bytes": np.ascontiguousarray(stamps[:, 0]),
    }
    return Columns(arrays, {"key": index.digest(values.tobytes(), stamps[:, 0].tobytes())})


def _header(path: Path) -> tuple[int, int, int]:
    try:
        return image_header(path)
    except DataError:
        return 0, 0, 0  # said by name when it is decoded, and by the doctor


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return -1, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
