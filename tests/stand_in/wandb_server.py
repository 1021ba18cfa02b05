"""A stand-in for a W&B server on 127.0.0.1, for the unmodified client.

    with StandIn() as server:
        command = [sys.executable, "-m", "wandb", "sweep", "sweep.yaml"]
        subprocess.run(command, env=server.environment(folder))
        server.store.sweeps

It answers the operations that the client of wandb 0.31 asks for and notes any other in `unknown`.
What the real server refuses is refused: requests without the key, rows and files of a run that
nobody opened, a sweep looked for in another project, names that are too long. A run whose process
is gone without word of its end has crashed. `server.down = True` drops every connection without an
answer, as a lost network does.
"""

import base64
import gzip
import json
import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from tests.stand_in.wandb_answers import answer
from tests.stand_in.wandb_store import RefusedError, Store

OPERATION = re.compile(r"\b(?:query|mutation)\s+(\w+)")
KEY = "0123456789" * 4
TELEMETRY = "/sdk/otel"  # the client's own figures, which it sends unless it is told not to


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: "StandIn"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up as they please; whatever else goes wrong is noted for the test to see."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            self.owner.unknown.append(f"{type(error).__name__}: {error}")
            super().handle_error(request, client_address)


class StandIn:
    """The server, running in a thread of the test while the block is open."""

    def __init__(self) -> None:
        self.store = Store()
        self.down = False
        self.asked: list[str] = []  # operations and uploads, in order
        self.unknown: list[str] = []
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.owner = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self, folder: Path) -> dict[str, str]:
        """The environment of a user of this server who has a home in `folder` and an activated
        virtual environment, and sets nothing but what `wandb login` keeps: the address and the key.
        """
        kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        told = {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY}
        return kept | told | {"HOME": str(home), "PATH": search}

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """The data of one GraphQL operation, or None for one that is not known."""
        with self.store.lock:
            return answer(self.store, self.url, operation, given)


def _handler(owner: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            content = self._body()
            path = urlsplit(self.path).path
            if self._dropped():
                return
            if path.startswith(TELEMETRY):
                return self._reply(b"", 200, "application/x-protobuf")
            if not self._may():
                return
            body = json.loads(content or b"{}")
            if path.endswith("/file_stream"):
                return self._stream(unquote(path.split("/")[-2]), body)
            found = OPERATION.search(body.get("query", ""))
            operation = found.group(1) if found else path
            owner.asked.append(operation)
            try:
                data = owner.answer(operation, body.get("variables") or {})
            except RefusedError as error:
                return self._json({"errors": [{"message": str(error)}]}, 400)
            if data is None:
                owner.unknown.append(operation)
                return self._json({"errors": [{"message": f"unknown: {operation}"}]}, 400)
            self._json({"data": data})

        def _stream(self, run: str, body: dict[str, Any]) -> None:
            owner.asked.append("file_stream")
            with owner.store.lock:
                if run not in owner.store.runs:
                    return self._json({"error": f"run {run} not found"}, 404)
                owner.store.stream(run, body)
            self._json({"exitcode": None, "limits": {}})

        def do_PUT(self) -> None:
            body = self._body()
            if self._dropped():
                return
            if self.path.startswith("/artifacts/"):  # taken, not kept: files of runs show the same
                return self._json({})
            run, name = self._file()
            owner.asked.append(f"PUT {name}")
            with owner.store.lock:
                if run not in owner.store.runs:
                    return self._json({}, 404)
                owner.store.runs[run].files[name] = body
            self._json({})

        def do_GET(self) -> None:
            if self._dropped():
                return
            run, name = self._file()
            with owner.store.lock:
                held = owner.store.runs.get(run)
                content = None if held is None else held.files.get(name)
            if content is None:
                return self._json({}, 404)
            self._reply(content, 200, "application/octet-stream")

        def _may(self) -> bool:
            """Whether the request carries the user's key."""
            words = self.headers.get("Authorization", "").split()
            if words[:1] == ["Basic"] and base64.b64decode(words[1]).decode() == f"api:{KEY}":
                return True
            self._json({"errors": [{"message": "user is not logged in"}]}, 401)
            return False

        def _file(self) -> tuple[str, str]:
            path = unquote(urlsplit(self.path).path).removeprefix("/storage/")
            run, _, name = path.partition("/")
            return run, name

        def _dropped(self) -> bool:
            if owner.down:
                self.close_connection = True
            return owner.down

        def _body(self) -> bytes:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            zipped = self.headers.get("Content-Encoding") == "gzip"
            return gzip.decompress(body) if zipped else body

        def _json(self, value: Any, status: int = 200) -> None:
            self._reply(json.dumps(value).encode(), status, "application/json")

        def _reply(self, content: bytes, status: int, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler
