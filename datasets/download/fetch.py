"""Downloads that end in one correct file: resumed after any interruption, checked, moved in place
whole.

What has arrived lies in `NAME.part`, and which version of the file it belongs to (the server's ETag
or date) in `NAME.part.json`; both go when the download is done.
"""

import contextlib
import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from datasets.errors import DataError

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all where known
_CHUNK = 2**20
_ATTEMPTS = 8  # in a row without a single new byte
_LONGEST_PAUSE = 30.0  # seconds between attempts


@dataclass(frozen=True, slots=True)
class Checksum:
    """A hash in hex under its hashlib name: `md5` for the data sets that publish no better one."""

    kind: str
    value: str

    def of(self, path: Path) -> str:
        """The same kind of hash of a file."""
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.kind).hexdigest()


def fetch(
    url: str,
    path: Path,
    checksum: Checksum | None = None,
    progress: Progress | None = None,
    *,
    timeout: float = 30.0,
    pause: float = 1.0,
) -> Path:
    """Download `url` to `path`, going on where an earlier call stopped.

    An existing right file is kept.

    `timeout`: seconds without a byte before the connection is given up and made anew; `pause`:
    seconds before the second attempt, doubled for each further one. DataError names the url when it
    can't be had, when its checksum is another, or when a second process is downloading the same
    file.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"{url}: only http and https addresses can be downloaded")
    if path.is_file() and (checksum is None or checksum.of(path) == checksum.value):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with _alone(part, url):
        for last in (False, True):
            _receive(url, part, progress, timeout, pause)
            found = checksum.of(part) if checksum else None
            if checksum is None or found == checksum.value:
                break
            _forget(
                part
            )  # a resumed file may be patched from two versions: once more from the start
            if last:
                raise DataError(
                    f"{url}: {checksum.kind} is {found}, expected {checksum.value}: the file on the"
                    " server is damaged or another one; nothing was kept"
                )
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        _forget(part)
    return path


@contextlib.contextmanager
def _alone(part: Path, url: str) -> Iterator[None]:
    """Hold a lock beside the part; it ends with the process, so a crash leaves nothing to clean."""
    lock = part.with_name(part.name + ".lock")
    with lock.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # no such locks on Windows: two downloads there must be avoided by hand
            pass
        except OSError:
            raise DataError(
                f"{url}: another process is downloading it to {part}; wait for it"
            ) from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _receive(url: str, part: Path, progress: Progress | None, timeout: float, pause: float) -> None:
    """Fill `part` to its full length, over as many connections as it takes."""
    failures = 0
    while True:
        before = _size(part)
        try:
            if _receive_once(url, part, progress, timeout):
                return
            reason = "the connection was dropped"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in (408, 425, 429) and error.code < 500:
                raise DataError(f"{url}: the server answers {error.code} {error.reason}") from None
            reason = f"the server answers {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        failures = 0 if _size(part) > before else failures + 1
        if failures >= _ATTEMPTS:
            raise DataError(
                f"{url}: gave up after {_ATTEMPTS} attempts in a row ({reason}); {_size(part):,}"
                " bytes are kept, and the same command goes on from there"
            )
        time.sleep(min(pause * 2 ** max(0, failures - 1), _LONGEST_PAUSE))


def _receive_once(url: str, part: Path, progress: Progress | None, timeout: float) -> bool:
    """One connection; True when the file is complete."""
    have, version = _size(part), _version(part)
    headers = {"User-Agent": "softgamma", "Accept-Encoding": "identity"}
    if have and version:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # asked for bytes beyond the end
            raise
        whole = error.headers.get("Content-Range", "").rpartition("/")[2]
        error.close()
        if whole == str(have):
            return True
        _forget(part)
        return False
    with answer:
        resumed = answer.status == 206
        length = answer.headers.get("Content-Length")
        start = have if resumed else 0
        total = start + int(length) if length and length.isdigit() else None
        _remember(part, answer.headers.get("ETag") or answer.headers.get("Last-Modified"))
        with part.open("ab" if resumed else "wb") as file:
            size = _copy(answer, file, start, total, progress)
        return total is None or size == total


def _copy(
    answer: Any, file: IO[bytes], size: int, total: int | None, progress: Progress | None
) -> int:
    while chunk := answer.read(_CHUNK):
        file.write(chunk)
        size += len(chunk)
        if progress:
            progress(size, total)
    return size


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _beside(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _remember(part: Path, version: str | None) -> None:
    # A weak ETag may stand for different bytes, so it can't vouch for the rest of a file.
    strong = version if version and not version.startswith("W/") else None
    _beside(part).write_text(json.dumps({"version": strong}))


def _version(part: Path) -> str | None:
    try:
        version = json.loads(_beside(part).read_text())["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return version if isinstance(version, str) else None


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _beside(part).unlink(missing_ok=True)
