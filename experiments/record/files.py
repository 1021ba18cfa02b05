"""Files that are whole or absent: no reader sees half a file, no power cut leaves one. And locks:
one process at a time writes in a folder.
"""

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.errors import UserError

SWEEP_FILE = "sweep.yaml"  # above a sweep's records: what they were run from, by which it goes on


class WriteError(OSError, UserError):
    """A file that cannot be written (no room, read-only, too long a name ..): which, and why."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(error.errno, error.strerror or str(error), str(path))

    def __str__(self) -> str:
        name = str(self.filename)
        place = name if len(name) <= 300 else f"{name[:297]}..."
        return f"{place}: cannot be written: {self.strerror}"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; on success it is synced and takes that name.

    On an exception the temporary file is removed and a previous `path` stays as it was. Raises
    WriteError for what the system refuses.
    """
    try:
        with _temporary(path) as temporary:
            yield temporary
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(path, error) from error


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes it private to its owner
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Make `folder` and try a file in it, before long work whose results go there; WriteError."""
    try:
        if folder.exists() and not folder.is_dir():
            raise OSError(errno.ENOTDIR, "it is a file, not a folder")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise WriteError(folder, error) from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text so that `path` is the old text or the new one, never a part."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write so that `path` is the old content or the new one, never a part."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def sync(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class HeldError(Exception):
    """A lock that another process holds: `process` as it named itself, "4711 on host"."""

    def __init__(self, process: str) -> None:
        super().__init__(process)
        self.process = process


class Lock:
    """A file that names the process that holds it; the system lets go when that process ends.

    Processes forked from it do not hold it: they may outlive it, and do not write for it.
    """

    def __init__(self, path: Path) -> None:
        """Take it, making its folder; HeldError where another has it, WriteError where it cannot be
        written.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = _taken(path)
        except WriteError:
            raise
        except OSError as error:
            raise WriteError(path, error) from error
        _HELD.add(self._handle)

    def close(self) -> None:
        """Give it back and remove the file; a second call does nothing."""
        if self._handle in _HELD:
            _HELD.discard(self._handle)
            self.path.unlink(missing_ok=True)
            os.close(self._handle)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def holder(path: Path) -> int | None:
    """The id of the process that holds the lock, or None where nobody does."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        named = os.pread(handle, 100, 0).split()
        return int(named[0]) if named else None
    else:
        return None
    finally:
        os.close(handle)


def _taken(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, handle):  # not removed by who gave it back just now
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()} on {os.uname().nodename}\n".encode(), 0)
                return handle
        except BlockingIOError:
            process = os.pread(handle, 100, 0).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise HeldError(process) from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _let_go_in_child() -> None:
    for handle in _HELD:
        os.close(handle)
    _HELD.clear()


_HELD: set[int] = set()
os.register_at_fork(after_in_child=_let_go_in_child)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
