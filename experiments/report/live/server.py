"""The server behind `serve`: 127.0.0.1, a fixed table of addresses, a report beside the table."""

import signal
import threading
import webbrowser
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from experiments.ending import ending_signals
from experiments.errors import UsageError
from experiments.record.record import RECORD_FILE
from experiments.report import ReportError, write_report
from experiments.report.live.page import render_folder, render_shell, render_table
from experiments.report.live.state import Watch, WatchedRun

LOG = "trial.log"  # what a sweep's executor keeps of a trial's words
HOST = "127.0.0.1"
FOLDER = "live"  # of the report, below the served folder, so that its links to records hold
LOOK_SECONDS = 1.0
ICON = "/favicon.ico"  # asked for beside a log or a record, which can name no icon of their own
SHOWN = (RECORD_FILE, LOG, "anatomy.json")  # of a run's folder, where they are there
TYPES = {
    ".log": "text/plain; charset=utf-8",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".md": "text/plain; charset=utf-8",
    ".csv": "text/plain; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
    ".json": "application/json",
}


class LiveServer(ThreadingHTTPServer):
    """Serves one folder of runs; `watching` looks at them until `close`."""

    daemon_threads = True

    def __init__(self, directory: Path, port: int, options: Mapping[str, Any]) -> None:
        """`options` are those of `write_report`; port 0 takes a free one.

        Raises OSError where the port is taken.
        """
        self.watch = Watch(directory)
        self.options = dict(options)
        self.routes: dict[str, Path] = {}
        self.report = "No run has finished yet, so there is no report."
        self.lock = threading.Lock()
        self._ended = threading.Event()
        self._reported: tuple[tuple[str, str], ...] | None = None
        super().__init__((HOST, port), Handler)

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{HOST}:{self.server_port}/"

    def start_watching(self) -> None:
        """Look once, then again every LOOK_SECONDS in a thread of its own."""
        self.look()
        threading.Thread(target=self._keep_looking, daemon=True).start()

    def close(self) -> None:
        """Stop looking and answering."""
        self._ended.set()
        self.server_close()

    def look(self) -> None:
        """Take in what is new; make the report again where a run has begun or ended."""
        with self.lock:
            self.watch.update()
            settled = self.watch.settled()
            finished = sum(run.status == "finished" for run in self.watch.runs.values())
        if settled == self._reported or not finished:
            return
        self._reported = settled
        words = self._make_report(finished)
        with self.lock:
            self.report = words
            self.watch.version += 1

    def _make_report(self, finished: int) -> str:
        folder = self.watch.directory / FOLDER
        try:
            write_report([self.watch.directory], folder, **self.options)
        except (ReportError, OSError) as error:
            return f"The report cannot be made: {error}"
        self.routes = self._routes(folder)
        return f"Report of {finished} finished run{'' if finished == 1 else 's'}."

    def _routes(self, folder: Path) -> dict[str, Path]:
        """Every address beyond the page's own, and the file it is answered with."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        found = {f"/{FOLDER}/{path.relative_to(folder).as_posix()}": path for path in files}
        for run in self.watch.ordered():
            relative = run.folder.relative_to(self.watch.directory).as_posix()
            found[f"/{relative}/{RECORD_FILE}".replace("/./", "/")] = run.folder / RECORD_FILE
        return found

    def file_at(self, path: str) -> Path | None:
        """The file at an address: of the report, or one of SHOWN right in a run's folder."""
        if path in self.routes:
            return self.routes[path]
        place, _, name = _plain(path).rpartition("/")
        run = self.run_at(place + "/")
        shown = run is not None and name in SHOWN and (run.folder / name).is_file()
        return run.folder / name if run is not None and shown else None

    def run_at(self, path: str) -> WatchedRun | None:
        """The run whose folder has this address, which ends with a slash."""
        with self.lock:
            return next((run for run in self.watch.ordered() if run.address == path), None)

    def _keep_looking(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.look()


def _plain(address: str) -> str:
    """A folder's name as the disk has it, which need not be UTF-8."""
    return unquote(address, errors="surrogateescape")


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD; everything else the base class refuses with 501."""

    protocol_version = "HTTP/1.1"
    server_version = "softgamma"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the page, the table, or a file of the table of addresses."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """The same without the body."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        server = cast(LiveServer, self.server)
        # A page elsewhere may give this address a name of its own and read through the browser.
        # Its port is another one behind `ssh -L`.
        if (self.headers.get("Host") or "").partition(":")[0] not in (HOST, "localhost"):
            self._send(HTTPStatus.FORBIDDEN, b"this server answers 127.0.0.1 only\n", body=body)
            return
        path = self.path.partition("?")[0]
        if path == "/":
            with server.lock:
                text = render_shell(server.watch, server.report)
            self._send(HTTPStatus.OK, text.encode(errors="replace"), TYPES[".html"], body=body)
        elif path == "/state":
            self._state(server, body=body)
        elif path == ICON:
            self._send(HTTPStatus.NO_CONTENT, b"", body=False)
        elif path.endswith("/") and (run := server.run_at(_plain(path))) is not None:
            text = render_folder(run, [name for name in SHOWN if (run.folder / name).is_file()])
            self._send(HTTPStatus.OK, text.encode(errors="replace"), TYPES[".html"], body=body)
        else:
            self._file(server.file_at(path), body=body)

    def _state(self, server: LiveServer, *, body: bool) -> None:
        with server.lock:
            tag = f'"{server.watch.version}"'
            same = self.headers.get("If-None-Match") == tag
            text = "" if same else render_table(server.watch, server.report)
        status = HTTPStatus.NOT_MODIFIED if same else HTTPStatus.OK
        self._send(
            status, text.encode(errors="replace"), TYPES[".html"], body=body and not same, tag=tag
        )

    def _file(self, path: Path | None, *, body: bool) -> None:
        try:
            found = None if path is None else path.read_bytes()
        except OSError:
            found = None
        if found is None or path is None:
            self._send(HTTPStatus.NOT_FOUND, b"there is nothing at this address\n", body=body)
            return
        kind = TYPES.get(path.suffix, "application/octet-stream")
        self._send(HTTPStatus.OK, found, kind, body=body)

    def _send(
        self,
        status: HTTPStatus,
        content: bytes,
        kind: str = "text/plain; charset=utf-8",
        *,
        body: bool,
        tag: str = "",
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        if tag:
            self.send_header("ETag", tag)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing of answers: the terminal belongs to the one who started the server."""


def serve(directory: Path, port: int, options: Mapping[str, Any], *, show: bool = False) -> int:
    """Serve `directory` until it is asked to end, as by Ctrl-C; `show` opens the page in a browser.

    Raises:
        UsageError: there is no such folder, or the port cannot be had.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory}: no such folder")
    try:
        server = LiveServer(directory, port, options)
    except (OSError, OverflowError) as error:
        raise UsageError(f"--port {port}: {str(error).rstrip('.')}; 0 takes a free one") from None
    print(f"serving {directory} at {server.address} (Ctrl-C ends it)", flush=True)
    if show:
        webbrowser.open(server.address)
    # Also where a shell started it in the background, which ignores SIGINT.
    for number in ending_signals():
        signal.signal(number, signal.default_int_handler)
    try:
        server.start_watching()
        server.serve_forever()
    except KeyboardInterrupt:
        print("ended")
    finally:
        server.close()
    return 0
