"""Append-only logs of JSON objects, one a line, that a kill at any moment cannot spoil.

A line that was cut off by a kill is the last one and has no line end: a reader waits for the rest
of it, and opening the log to append takes it off.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from experiments.record.files import WriteError
from experiments.record.typed import encode

SYNC_SECONDS = 5.0  # a power cut loses at most this much; the death of the process loses nothing
# Read at once. Four times as much is a third slower: glibc gets such memory from the system anew.
BLOCK_BYTES = 1 << 16


class Appender:
    """Appends objects to a log, creating it if needed."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _mend_last_line(path)
            self._stream = path.open("ab")
        except OSError as error:
            raise WriteError(path, error) from error
        self._synced = time.monotonic()

    def append(self, values: object) -> None:
        """Write one line and hand it to the system; NaN and infinity become null."""
        self._stream.write(encode(values) + b"\n")
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


class Tail:
    """The whole lines of a log that may be growing, each once, in blocks of bounded size.

    A log that became shorter was cut back by whoever writes it: it is read afresh, and `fresh` is
    True until the next look.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fresh = True
        self._offset = 0

    def blocks(self) -> Iterator[bytes]:
        """What was written since the last call, with line ends; nothing where there is no file.

        Raises OSError where the file is there and cannot be read.
        """
        self.fresh = self._offset == 0
        try:
            stream = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            return
        with stream:
            if os.fstat(stream.fileno()).st_size < self._offset:
                self._offset, self.fresh = 0, True
            stream.seek(self._offset)
            size = BLOCK_BYTES
            while read := stream.read(size):
                end = read.rfind(b"\n") + 1
                if end:
                    self._offset += end
                    yield read[:end]
                elif len(read) < size:
                    return  # the line is not whole yet
                size = BLOCK_BYTES if end else size * 2
                stream.seek(self._offset)

    def rest(self) -> bytes:
        """The last line as far as it was written, without an end."""
        with self.path.open("rb") as stream:
            stream.seek(self._offset)
            return stream.read()


def _mend_last_line(path: Path) -> None:
    """Take off a torn last line; give its end to a whole one that lost only that."""
    last = _unended_line(path) if path.exists() else b""
    if last and _is_object(last):
        with path.open("ab") as stream:
            stream.write(b"\n")
    elif last:
        os.truncate(path, path.stat().st_size - len(last))


def _unended_line(path: Path) -> bytes:
    """What stands after the last line end, found from the file's end."""
    with path.open("rb") as stream:
        start = size = stream.seek(0, os.SEEK_END)
        found = b""
        while start > 0 and b"\n" not in found:
            start = max(0, start - BLOCK_BYTES)
            stream.seek(start)
            found = stream.read(min(BLOCK_BYTES, size - start)) + found
        return found.rpartition(b"\n")[2]


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
