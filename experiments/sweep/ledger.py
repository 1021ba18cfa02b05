"""The sweep's memory: an append-only file of events, one checksummed JSON line each.

A line reaches the disk (fsync) before anything acts on it. A torn last line, from a power cut or
a full disk, is cut off on opening; a damaged line before the last is refused, since it means lost
history. One process at a time holds the lock beside the ledger; the system lets go of it when
that process ends.
"""

import json
import os
import shlex
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.errors import UsageError
from experiments.record import files

FILE = "ledger.jsonl"
LOCK = "ledger.lock"
CHECKSUM = ',"crc":"'

Event = Mapping[str, Any]


class Ledger:
    """The ledger of a sweep's folder, opened for writing by the one process with its lock."""

    def __init__(self, folder: Path) -> None:
        """Lock, mend and read the ledger in `folder`; UsageError if another process has it."""
        self._lock = _locked(folder)
        self.path = folder / FILE
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            self._lock.close()
            raise files.WriteError(self.path, error) from error
        try:
            self.events, self._size = _whole_lines(
                self.path
            )  # as found; appended ones are not kept
            os.ftruncate(self._file, self._size)
        except BaseException:
            self.close()
            raise

    def append(self, *events: Event) -> list[Event]:
        """Write events, stamped with the time, and wait for the disk; on OSError none is kept."""
        moment = round(time.time(), 3)
        stamped = [{**event, "time": moment} for event in events]
        block = b"".join(encode(event) for event in stamped)
        try:
            _write_all(self._file, block, self._size)
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(block)
        return list(stamped)

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._file)
        self._lock.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_events(folder: Path) -> list[Event]:
    """The events of a ledger that another process may be writing; raises UsageError without one."""
    path = folder / FILE
    if not path.is_file():
        raise UsageError(f"{folder}: no sweep here ({FILE} is missing); give the folder of a sweep")
    return _whole_lines(path)[0]


def holder(folder: Path) -> int | None:
    """The process id that holds the folder's lock, or None when nobody does."""
    return files.holder(folder / LOCK)


def encode(event: Event) -> bytes:
    """One line: the event as JSON, with the CRC-32 of everything before it as the last key."""
    body = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
    crc = zlib.crc32(body)
    return body[:-1] + f'{CHECKSUM}{crc:08x}"}}\n'.encode()


def decode(line: bytes) -> dict[str, Any] | None:
    """The event of one line, or None where the line is damaged."""
    body, mark, rest = line.rpartition(CHECKSUM.encode())
    if not mark or rest[8:] != b'"}':
        return None
    if f"{zlib.crc32(body + b'}'):08x}".encode() != rest[:8]:
        return None
    event: dict[str, Any] = json.loads(body + b"}")
    return event


def _whole_lines(path: Path) -> tuple[list[Event], int]:
    data = path.read_bytes()
    events: list[Event] = []
    size = 0
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        event = decode(line)
        if event is None:
            if any(map(decode, lines[number:])):
                raise UsageError(
                    f"{path}:{number}: damaged line (its checksum differs) before whole ones; "
                    "restore the file from a copy, or start over with another --out"
                )
            break
        events.append(event)
        size += len(line) + 1
    return events, size


def _write_all(file: int, block: bytes, offset: int) -> None:
    while block:
        written = os.pwrite(file, block, offset)
        block, offset = block[written:], offset + written


def _locked(folder: Path) -> files.Lock:
    try:
        return files.Lock(folder / LOCK)
    except files.HeldError as held:
        raise UsageError(
            f"{folder}: this sweep is being run by process {held.process} already; wait for it, "
            f"look at it with 'sweep status {shlex.quote(str(folder))}', or end it with "
            f"'sweep stop {shlex.quote(str(folder))}'"
        ) from None
