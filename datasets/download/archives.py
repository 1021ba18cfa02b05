"""Unpacking zip and tar archives that come from elsewhere: nothing lands outside the folder named.

Refused, before anything is written: absolute names, `..`, links, devices, and archives that would
fill the disk. Files appear whole or not at all; those that are there already with the right size
are kept.
"""

import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from datasets.errors import DataError

Progress = Callable[[int, int], None]  # bytes so far, bytes in all
MOST_FILES = 1_000_000  # COCO's largest archive holds 123,403
_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file of an archive."""

    name: str  # with / between folders, safe
    size: int
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path, folder: Path, *, inside: str = "", progress: Progress | None = None
) -> list[Path]:
    """Unpack a zip or tar archive into `folder`; returns the files.

    `inside`: take only this sub-folder of the archive, a `*` in place of its first part matches any
    name (`*/BCCD`), and leave that prefix off. DataError names archive and member when it is
    damaged or unsafe.
    """
    try:
        with ExitStack() as stack:
            members = list(_wanted(_members(archive, stack), inside))
            _refuse_too_large(archive, members, folder)
            return _write(archive, members, folder, progress)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,  # zipfile raises it for a compression that it does not know
    ) as error:
        raise DataError(f"{archive}: damaged or not a zip or tar archive ({error})") from None
    except (RuntimeError, ValueError, UnicodeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{archive}: can't be unpacked ({error})") from None
    except FileNotFoundError:
        raise DataError(f"{archive}: no such file") from None
    except OSError as error:
        raise DataError(f"{archive}: can't be unpacked ({error.strerror or error})") from None


def _members(archive: Path, stack: ExitStack) -> Iterator[Member]:
    if zipfile.is_zipfile(archive):
        yield from _zip_members(archive, stack.enter_context(zipfile.ZipFile(archive)))
    else:
        yield from _tar_members(archive, stack.enter_context(tarfile.open(archive)))


def _zip_members(archive: Path, file: zipfile.ZipFile) -> Iterator[Member]:
    for info in file.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{archive}: {info.filename!r} is a link or a device; refused")
        name = _safe(archive, info.orig_filename)
        if not info.is_dir():
            yield Member(name, info.file_size, lambda info=info: file.open(info))  # type: ignore[misc]


def _tar_members(archive: Path, file: tarfile.TarFile) -> Iterator[Member]:
    for number, info in enumerate(file):
        if number > MOST_FILES:
            raise DataError(f"{archive}: holds more than {MOST_FILES:,} files; refused")
        if not (info.isfile() or info.isdir()):
            raise DataError(f"{archive}: {info.name!r} is a link or a device; refused")
        name = _safe(archive, info.name)
        if info.isfile():
            yield Member(name, info.size, lambda info=info: _opened(archive, file, info))  # type: ignore[misc]


def _opened(archive: Path, file: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    opened = file.extractfile(info)
    if opened is None:
        raise DataError(f"{archive}: {info.name!r} holds no data; refused")
    return opened


def _safe(archive: Path, name: str) -> str:
    """The name with plain slashes; DataError when it leads anywhere but down."""
    parts = name.replace("\\", "/").split("/")
    drive = len(parts[0]) == 2 and parts[0][1] == ":"
    if name[:1] in ("/", "\\") or drive or ".." in parts or "\0" in name:
        raise DataError(f"{archive}: {name!r} leads out of the folder; refused")
    return "/".join(part for part in parts if part not in ("", "."))


def _wanted(members: Iterator[Member], inside: str) -> Iterator[Member]:
    prefix = [part for part in inside.split("/") if part]
    for member in members:
        parts = member.name.split("/")
        head, rest = parts[: len(prefix)], parts[len(prefix) :]
        if rest and all(want in ("*", part) for want, part in zip(prefix, head, strict=True)):
            yield Member("/".join(rest), member.size, member.open)


def _refuse_too_large(archive: Path, members: list[Member], folder: Path) -> None:
    if len(members) > MOST_FILES:
        raise DataError(f"{archive}: holds more than {MOST_FILES:,} files; refused")
    if not members:
        raise DataError(f"{archive}: holds no file that was asked for")
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free, needed = shutil.disk_usage(existing).free, sum(member.size for member in members)
    if needed > free:
        raise DataError(
            f"{archive}: needs {needed:,} bytes unpacked, {free:,} are free at {folder}"
        )


def _write(
    archive: Path, members: list[Member], folder: Path, progress: Progress | None
) -> list[Path]:
    total, done, written = sum(member.size for member in members), 0, []
    root = folder.resolve()
    for member in members:
        path = folder / member.name
        if root not in path.resolve().parents:
            raise DataError(
                f"{archive}: {member.name!r} leads through a link out of {folder}; refused"
            )
        if not (path.is_file() and path.stat().st_size == member.size):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_one(archive, member, path)
        written.append(path)
        done += member.size
        if progress:
            progress(done, total)
    return written


def _write_one(archive: Path, member: Member, path: Path) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".unpacking-")
    try:
        with os.fdopen(handle, "wb") as target, member.open() as source:
            left = member.size
            while chunk := source.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                target.write(chunk)
        if left:
            raise DataError(
                f"{archive}: {member.name!r} is not of the size the archive claims; refused"
            )
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
