"""Downloads over a server that misbehaves end in one correct file, or in a clear error."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from datasets.download.archives import unpack
from datasets.download.fetch import Checksum, fetch
from datasets.download.sources import SOURCES, Archive, files_hash, obtain
from datasets.errors import DataError

CONTENT = np.random.default_rng(0).integers(0, 256, 3_000_000).astype(np.uint8).tobytes()
GOOD = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `drops` connections end early, each after a further 200,000 bytes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.drops = 0
        self.ranges = True
        self.etag: str | None = '"1"'
        self.status = 200
        self.statuses: list[int] = []
        self.requests: list[str | None] = []
        self.content = CONTENT

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append(wanted)
        status = server.statuses.pop(0) if server.statuses else server.status
        if status != 200:
            self.send_error(status)
            return
        fresh = self.headers.get("If-Range") in (None, server.etag)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        start = start if fresh else 0
        if start >= len(server.content) > 0 and wanted and server.ranges:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(server.content) - start))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        stop = len(server.content)
        if server.drops:
            server.drops -= 1
            stop = min(stop, start + 200_000)
        self.wfile.write(server.content[start:stop])
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def quick(server: Server, path: Path, checksum: Checksum | None = GOOD) -> Path:
    return fetch(server.url, path, checksum, timeout=5, pause=0.001)


def test_ten_dropped_connections_end_in_one_correct_file(server: Server, tmp_path: Path) -> None:
    server.drops = 10
    path = quick(server, tmp_path / "deep/data.bin")
    assert path.read_bytes() == CONTENT
    assert server.requests == [None] + [f"bytes={200_000 * k}-" for k in range(1, 11)]
    assert list(path.parent.iterdir()) == [path]


def test_ten_interrupted_calls_end_in_one_correct_file(server: Server, tmp_path: Path) -> None:
    """Each call is stopped from outside, as by Ctrl-C, and the next goes on from there."""
    path = tmp_path / "data.bin"
    server.drops = 10

    class StopError(Exception):
        pass

    def stop(done: int, total: int | None) -> None:
        raise StopError

    for _ in range(10):
        with pytest.raises(StopError):
            fetch(server.url, path, GOOD, stop, timeout=5, pause=0.001)
        assert not path.exists()
    assert quick(server, path).read_bytes() == CONTENT
    assert len({request for request in server.requests}) == len(server.requests)


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.drops, server.ranges = 2, False
    assert quick(server, tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_not_patched_together(
    server: Server, tmp_path: Path
) -> None:
    server.drops, server.statuses = 1, [200, 404]
    server.content = CONTENT[::-1]
    with pytest.raises(DataError, match="404"):
        quick(server, tmp_path / "data.bin")
    assert (tmp_path / "data.bin.part").stat().st_size == 200_000
    server.content, server.etag = CONTENT, '"2"'
    assert quick(server, tmp_path / "data.bin").read_bytes() == CONTENT


def test_without_a_version_a_download_is_never_resumed(server: Server, tmp_path: Path) -> None:
    server.drops, server.etag = 2, None
    assert quick(server, tmp_path / "data.bin").read_bytes() == CONTENT
    assert set(server.requests) == {None}


def test_a_complete_part_needs_no_further_byte(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    (tmp_path / "data.bin.part.json").write_text('{"version": "\\"1\\""}')
    assert quick(server, tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.requests == [f"bytes={len(CONTENT)}-"]


def test_passing_failures_of_the_server_are_tried_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 500, 429]
    assert quick(server, tmp_path / "data.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "message"), [(404, "answers 404"), (403, "answers 403")])
def test_a_final_answer_is_an_error_at_once(
    server: Server, tmp_path: Path, status: int, message: str
) -> None:
    server.status = status
    with pytest.raises(DataError, match=message):
        quick(server, tmp_path / "data.bin")
    assert len(server.requests) == 1


def test_a_server_that_stays_down_is_given_up(server: Server, tmp_path: Path) -> None:
    server.status = 503
    with pytest.raises(DataError, match="gave up after 8 attempts .*the same command goes on"):
        quick(server, tmp_path / "data.bin")


def test_a_wrong_checksum_keeps_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sha256 is [0-9a-f]{64}, expected 00"):
        quick(server, tmp_path / "data.bin", Checksum("sha256", "0" * 64))
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_a_right_file_is_not_downloaded_again_and_a_wrong_one_is(
    server: Server, tmp_path: Path
) -> None:
    path = quick(server, tmp_path / "data.bin")
    quick(server, path)
    assert len(server.requests) == 1
    path.write_bytes(b"damaged")
    assert quick(server, path).read_bytes() == CONTENT


def test_progress_grows_to_the_whole(server: Server, tmp_path: Path) -> None:
    server.drops = 3
    seen: list[tuple[int, int | None]] = []
    fetch(server.url, tmp_path / "x", GOOD, lambda *now: seen.append(now), timeout=5, pause=0.001)
    assert seen == sorted(seen) and seen[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "/etc/passwd", ""])
def test_only_the_web_is_downloaded_from(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match="only http and https"):
        fetch(url, tmp_path / "x")


def test_two_processes_do_not_write_one_file(server: Server, tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / "data.bin.part.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process is downloading"):
            quick(server, tmp_path / "data.bin")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make `demo` a data set whose archive is a real zip; returns the archive."""
    import zipfile

    def make(contents: dict[str, str], **fields: str) -> Path:
        archive = tmp_path / "kept/demo.zip"
        archive.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(archive, "w") as file:
            for name, text in contents.items():
                file.writestr(name, text)
        checksum = Checksum("md5", hashlib.md5(archive.read_bytes()).hexdigest())
        known = Archive("http://127.0.0.1:9/demo.zip", checksum, **fields)
        monkeypatch.setitem(SOURCES, "demo", (known,))
        return archive

    return make


def test_a_data_set_is_unpacked_from_archives_on_disk(
    source: Callable[..., Path], tmp_path: Path
) -> None:
    archive = source(
        {"top/VOC/a.txt": "1", "top/VOC/b/c.txt": "2", "top/other": "3"}, inside="*/VOC"
    )
    root = obtain("demo", tmp_path / "root", archives=archive.parent)
    kept = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}
    assert kept == {"a.txt", "b/c.txt", ".demo.zip.unpacked"}
    (root / "a.txt").write_text("mine")
    obtain("demo", root, archives=archive.parent)
    assert (root / "a.txt").read_text() == "mine"


def test_archives_that_are_missing_or_others_are_named(
    source: Callable[..., Path], tmp_path: Path
) -> None:
    archive = source({"a": "1"})
    with pytest.raises(DataError, match=r"demo\.zip: no such archive; it is published at http"):
        obtain("demo", tmp_path / "root", archives=tmp_path)
    archive.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"demo\.zip: md5 is .*, expected"):
        obtain("demo", tmp_path / "root", archives=archive.parent)


def test_unpacked_files_are_checked_where_the_archive_can_not_be(
    source: Callable[..., Path], tmp_path: Path
) -> None:
    archive = source({"a": "1"}, files="0" * 64)
    with pytest.raises(DataError, match="unpacked files hash to"):
        obtain("demo", tmp_path / "root", archives=archive.parent)


def test_bccd_beside_the_checkout_is_what_its_source_promises(
    shared: Callable[[str], Path],
) -> None:
    root = shared("BCCD")
    files = [p for p in root.rglob("*") if p.is_file() and p.parent != root]
    assert files_hash(root, files) == SOURCES["bccd"][0].files


def test_unpacking_goes_on_where_it_stopped(source: Callable[..., Path], tmp_path: Path) -> None:
    archive = source({f"{number}.txt": str(number) * 100 for number in range(5)})

    def stop(done: int, total: int) -> None:
        if done >= 300:
            raise KeyboardInterrupt

    folder = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, folder, progress=stop)
    first = folder / "0.txt"
    stamp = first.stat().st_mtime_ns
    assert len(list(folder.iterdir())) == 3
    assert len(unpack(archive, folder)) == 5 and first.stat().st_mtime_ns == stamp
