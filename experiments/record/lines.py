"""Append-only logs of JSON objects, one a line, that a kill at any moment cannot spoil.

A line that was cut off by a kill is the last one and has no line end: reading leaves it out, and
opening the log to append takes it off.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SYNC_SECONDS = 5.0  # a power cut loses at most this much; the death of the process loses nothing


class BrokenLineError(ValueError):
    """A line that was not merely cut off: says file, line and what is wrong."""


class Appender:
    """Appends objects to a log, creating it if needed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _mend_last_line(path)
        self._stream = path.open("a", encoding="utf-8")
        self._synced = time.monotonic()

    def append(self, values: Mapping[str, Any]) -> None:
        """Write one line and hand it to the system; raises ValueError for NaN and infinity."""
        self._stream.write(json.dumps(values, allow_nan=False) + "\n")
        self._stream.flush()
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Wait until all lines are on the disk."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close; a second call does nothing."""
        if not self._stream.closed:
            self.sync()
            self._stream.close()


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each line's place ("file:line") and object; a torn last line is left out.

    Raises BrokenLineError for any other line that is not a JSON object.
    """
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        values = _parse(line)
        if values is not None:
            yield f"{path}:{number}", values
        elif line.strip() and number < len(lines):
            raise BrokenLineError(f"{path}:{number}: expected a JSON object, found {line!r:.80}")


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _mend_last_line(path: Path) -> None:
    if not path.exists():
        return
    kept, _, last = path.read_bytes().rpartition(b"\n")
    if not last:
        return
    if _parse(last) is None:
        os.truncate(path, len(kept) + 1 if kept else 0)
        return
    with path.open("ab") as stream:
        stream.write(b"\n")
