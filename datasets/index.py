"""Where parsed annotations are kept between runs: small mapped files, named by what they were made
from.

Two steps, so that copied or touched data is not parsed again: a stamp (path, size and times of
every label file) leads to the content key (SHA-256 of the label files' bytes), and the content key
names the columns.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from datasets.columns import Columns, read_columns, write_columns

FORMAT = 2  # raise when a change makes old columns wrong
MOST_FILES = 256  # of the cache folder; the least recently used go first


def cache_folder() -> Path:
    """`$SOFTGAMMA_CACHE`, else `.cache/index` of the checkout."""
    named = os.environ.get("SOFTGAMMA_CACHE")
    return Path(named) if named else Path(__file__).resolve().parents[1] / ".cache" / "index"


def digest(*parts: Any) -> str:
    """SHA-256 of JSON-able parts and bytes, in hex."""
    total = hashlib.sha256(f"format {FORMAT}".encode())
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
