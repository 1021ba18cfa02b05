"""Where parsed annotations are kept between runs: small mapped files, named by what they were made
from.

Two steps, so that copied or touched data is not parsed again: a stamp (path, size and times of
every label file) leads to the content key (SHA-256 of the label files' bytes), and the content key
names the columns.

Named arrays in one file, memory-mapped: how parsed annotations are kept and shared.

Worker processes that open or inherit the same file share its pages; a pickled `Columns` is its
path, not its arrays. The file is a magic line, the length of a JSON header, the header (dtype,
shape and offset of each array, and free `meta`), then the arrays, each aligned to 64 bytes.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
MAGIC = b"softgamma columns 1\n"
_ALIGNMENT = 64  # a cache line; any dtype may be viewed in place


class Columns:
    """Read-only named arrays with a small JSON-able `meta`, in memory or mapped from `path`."""

    __slots__ = ("arrays", "meta", "path")

    def __init__(
        self, arrays: Mapping[str, Array], meta: Mapping[str, Any], path: Path | None = None
    ) -> None:
        self.arrays = dict(arrays)
        self.meta = dict(meta)
        self.path = path

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def __reduce__(self) -> tuple[Callable[..., "Columns"], tuple[Any, ...]]:
        if self.path is not None:
            return read_columns, (self.path,)
        return Columns, (self.arrays, self.meta)


def write_columns(path: Path, columns: Columns) -> None:
    """Write atomically (a reader sees the old file or the whole new one).

    OSError where the folder can't be written.
    """
    placed: dict[str, dict[str, Any]] = {}
    offset = 0
    for name, array in columns.arrays.items():
        placed[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "offset": offset}
        offset += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    header = json.dumps({"meta": columns.meta, "arrays": placed, "bytes": offset}).encode()
    start = len(MAGIC) + 8 + len(header)
    header += b" " * (-start % _ALIGNMENT)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(MAGIC + len(header).to_bytes(8, "little") + header)
            for array in columns.arrays.values():
                file.write(np.ascontiguousarray(array).tobytes())
                file.write(b"\0" * (-array.nbytes % _ALIGNMENT))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_columns(path: Path) -> Columns:
    """Map the file; ValueError or OSError when it is missing, cut short or not of this format."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{path}: not a columns file of this version")
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError(f"{path}: cut short")
        header = json.loads(file.read(length))
    start = len(MAGIC) + 8 + length
    if path.stat().st_size != start + header["bytes"]:
        raise ValueError(f"{path}: cut short")
    data = np.memmap(path, np.uint8, "r", start, (header["bytes"],)) if header["bytes"] else None
    arrays = {name: _view(data, place) for name, place in header["arrays"].items()}
    return Columns(arrays, header["meta"], path)


def _view(data: Array | None, place: dict[str, Any]) -> Array:
    dtype, shape = np.dtype(place["dtype"]), tuple(place["shape"])
    size = int(np.prod(shape)) * dtype.itemsize
    if data is None or size == 0:
        return np.zeros(shape, dtype)
    # A plain ndarray over the same pages: slicing a np.memmap costs some 10 times more.
    array: Array = np.asarray(data[place["offset"] : place["offset"] + size])
    array = array.view(dtype).reshape(shape)
    return array


def pack_text(texts: Sequence[str]) -> tuple[Array, Array]:
    """Strings as (utf-8 bytes, offsets of length n + 1): mapped text costs no Python object a
    string.
    """
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), np.concatenate([np.zeros(1, np.int64), ends])


def text_at(columns: Columns, name: str, row: int) -> str:
    """The string of one row of a text column written as `name` and `name_ends` by `pack_text`."""
    ends = columns[f"{name}_ends"]
    return bytes(columns[name][ends[row] : ends[row + 1]]).decode()


def texts(columns: Columns, name: str) -> list[str]:
    """All strings of a text column."""
    data, ends = columns[name].tobytes(), columns[f"{name}_ends"].tolist()
    return [data[a:b].decode() for a, b in zip(ends[:-1], ends[1:], strict=True)]


def source_of(columns: Columns, image: int) -> str:
    """The label file of an image, relative to the root."""
    if "source" in columns.arrays:
        return text_at(columns, "source", image)
    source: str = columns.meta["source"]
    return source


FORMAT = 9  # raise when a change makes old columns wrong
MOST_FILES = 256  # of the cache folder; the least recently used go first


def cache_folder() -> Path:
    """`$SOFTGAMMA_CACHE`, else `.cache/index` of the checkout."""
    named = os.environ.get("SOFTGAMMA_CACHE")
    return Path(named) if named else Path(__file__).resolve().parents[1] / ".cache" / "index"


def digest(*parts: Any, version: int = FORMAT) -> str:
    """SHA-256 of JSON-able parts and bytes, in hex."""
    total = hashlib.sha256(f"format {version}".encode())
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part).encode()
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()


def stamp(path: Path | str) -> tuple[int, int, int]:
    """Size and times of a file: it differs when the file may have changed.

    FileNotFoundError when it is missing.
    """
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def cached(key: str, build: Callable[[], Columns]) -> Columns:
    """The columns kept under `key`, mapped.

    Made by `build` and kept when they are missing or damaged.

    Where the cache folder can't be written the columns stay in memory: slower to open, nothing
    else.
    """
    path = cache_folder() / f"{key[:32]}.columns"
    with contextlib.suppress(OSError, ValueError, KeyError):
        columns = read_columns(path)
        os.utime(path)
        return columns
    columns = build()
    try:
        write_columns(path, columns)
        _forget_oldest(path.parent)
        return read_columns(path)
    except OSError:
        return columns


def content_key(stamp_key: str, read: Callable[[], str]) -> str:
    """The content key that belongs to a stamp, remembered on disk.

    `read` computes it from the files themselves.
    """
    path = cache_folder() / f"{stamp_key[:32]}.stamp"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        key = path.read_text()
        if len(key) == 64:
            return key
    key = read()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        with os.fdopen(handle, "w") as file:
            file.write(key)
        os.replace(temporary, path)
    return key


def _forget_oldest(folder: Path) -> None:
    """Keep the folder small; a mapped file that is removed stays whole for those who mapped it."""
    with contextlib.suppress(OSError):
        aged = sorted(_ages(folder))
        for _, name in aged[: max(0, len(aged) - MOST_FILES)]:
            (folder / name).unlink(missing_ok=True)


def _ages(folder: Path) -> Iterable[tuple[int, str]]:
    for entry in os.scandir(folder):
        if entry.name.endswith((".columns", ".stamp")):
            yield entry.stat().st_mtime_ns, entry.name
