"""A stand-in for a W&B server on 127.0.0.1, for the unmodified client.

    with StandIn() as server:
        command = [sys.executable, "-m", "wandb", "sweep", "sweep.yaml"]
        subprocess.run(command, env=server.environment(folder))
        server.store.sweeps

It answers the operations that the client of wandb 0.31 asks for and notes any other in `unknown`.
`server.down = True` drops every connection without an answer, as a lost network does.
"""

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

from tests.stand_in.wandb_store import DEFAULT_PROJECT, ENTITY, Run, Store, Sweep

OPERATION = re.compile(r"\b(?:query|mutation)\s+(\w+)")
CREATED = "2026-01-01T00:00:00Z"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up as they please."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class StandIn:
    """The server, running in a thread of the test while the block is open."""

    def __init__(self) -> None:
        self.store = Store()
        self.down = False
        self.asked: list[str] = []  # operations and uploads, in order
        self.unknown: list[str] = []
        self._server = _Server(("127.0.0.1", 0), _handler(self))
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
        """The environment of a client of this server, with its own folders below `folder`."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
        folders = {f"WANDB_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "CACHE", "DATA")}
        for path in folders.values():
            Path(path).mkdir(parents=True, exist_ok=True)
        return (
            kept
            | folders
            | {
                "WANDB_BASE_URL": self.url,
                "WANDB_API_KEY": "0123456789" * 4,
                "WANDB_MODE": "online",
                "WANDB_DIR": str(folder),
                "WANDB_ERROR_REPORTING": "false",
                "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1",
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "OMP_NUM_THREADS": "1",
                "NO_PROXY": "127.0.0.1",
            }
        )

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """The data of one GraphQL operation, or None for one that is not known."""
        with self.store.lock:
            answer = ANSWERS.get(operation)
            return None if answer is None else answer(self, given)


def _viewer(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    teams = {"edges": [{"node": {"name": ENTITY}}]}
    who = {"id": "u1", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}"}
    return {"viewer": who | {"teams": teams, "name": ENTITY, "admin": False}}


def _features(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    return {"serverInfo": {"features": []}}


def _organisation(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    return {"entity": {"organization": None}}


def _upsert_sweep(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    if given.get("state"):
        sweep = next(s for s in server.store.sweeps.values() if f"id-{s.name}" == given["id"])
        sweep.state = given["state"]
    else:
        sweep = server.store.add_sweep(given["config"], given.get("projectName"))
    told = {"name": sweep.name, "project": _project(sweep.project)}
    return {"upsertSweep": {"sweep": told, "configValidationWarnings": []}}


def _sweep_with_runs(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    sweep = server.store.sweeps.get(given["sweep"])
    if sweep is None:
        return {"project": None}
    runs = [server.store.runs[name] for name in sweep.runs]
    edges = [{"node": _run_node(server, run)} for run in runs]
    return {"project": {"sweep": _sweep_node(sweep) | {"runs": {"edges": edges}}}}


def _get_sweep(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    sweep = server.store.sweeps.get(given["name"])
    if sweep is None:
        return {"project": {"sweep": None}}
    return {"project": {"sweep": _sweep_node(sweep)}}


def _create_agent(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    return {"createAgent": {"agent": {"id": server.store.add_agent(given["sweep"])}}}


def _heartbeat(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    commands = server.store.commands(given["id"], json.loads(given["runState"]))
    agent = {"agent": {"id": given["id"]}, "commands": json.dumps(commands)}
    return {"agentHeartbeat": agent}


def _upsert_bucket(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    name = given.get("name") or str(given.get("id"))
    run, new = server.store.run(name, given.get("project") or DEFAULT_PROJECT)
    if given.get("config"):
        run.config.update(json.loads(given["config"]))
    if given.get("summaryMetrics"):
        run.summary.update(json.loads(given["summaryMetrics"]))
    run.display = given.get("displayName") or run.display
    run.group = given.get("groupName") or run.group
    run.sweep = given.get("sweep") or run.sweep
    run.state = "running"
    run.openings += 1
    bucket = {
        "id": f"id-{name}",
        "name": name,
        "displayName": run.display,
        "description": None,
        "config": json.dumps(run.config),
        "sweepName": run.sweep,
        "project": _project(run.project),
        "historyLineCount": len(run.history),
    }
    return {"upsertBucket": {"bucket": bucket, "inserted": new}}


def _resume_status(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    run = server.store.runs.get(given["name"])
    model = _project(given.get("project") or DEFAULT_PROJECT) | {"bucket": None}
    if run is not None:
        tail = [json.dumps(row) for row in run.history[-1:]]
        model["bucket"] = {
            "id": f"id-{run.name}",
            "name": run.name,
            "summaryMetrics": json.dumps(run.summary),
            "displayName": run.display,
            "logLineCount": 0,
            "historyLineCount": len(run.history),
            "eventsLineCount": 0,
            "historyTail": json.dumps(tail),
            "eventsTail": "[]",
            "config": json.dumps(run.config),
            "tags": [],
            "notes": None,
            "wandbConfig": json.dumps(run.config.get("_wandb", {}).get("value", {})),
        }
    return {"model": model}


def _create_files(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    base = f"{server.url}/storage/{given['run']}"
    files = [{"name": name, "uploadUrl": f"{base}/{name}"} for name in given["files"]]
    told = {"runID": f"id-{given['run']}", "uploadHeaders": [], "files": files}
    return {"createRunFiles": told}


def _runs(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    found = re.search(r'"sweep": *"([^"]+)"', given.get("filters") or "")
    runs = [
        run
        for run in server.store.runs.values()
        if run.project == given["project"] and (found is None or run.sweep == found.group(1))
    ]
    begin, count = int(given.get("cursor") or 0), int(given.get("perPage") or 50)
    page = runs[begin : begin + count]
    edges = [{"node": _run_node(server, run), "cursor": str(begin + count)} for run in page]
    more = {"endCursor": str(begin + count), "hasNextPage": begin + count < len(runs)}
    told = {"internalId": "1", "runCount": len(runs), "readOnly": False}
    return {"project": told | {"runs": {"edges": edges, "pageInfo": more}}}


def _one_run(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    run = server.store.runs.get(given["name"])
    return {"project": {"run": None if run is None else _run_node(server, run)}}


def _run_files(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    run = server.store.runs[given["name"]]
    wanted = given.get("fileNames") or list(run.files)
    names = [name for name in run.files if name in wanted]
    edges = [{"node": _file_node(server, run, name), "cursor": name} for name in names]
    files = {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}
    return {"project": {"internalId": "1", "run": {"fileCount": len(edges), "files": files}}}


def _artifact_type(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    return {"project": {"artifact": None}}  # none of that name yet


def _create_artifact(server: StandIn, given: dict[str, Any]) -> dict[str, Any]:
    sequence = {"id": "s1", "latestArtifact": None}
    # "COMMITTED" tells the client that the server has those bytes already.
    artifact = {"id": "a1", "state": "COMMITTED", "artifactSequence": sequence}
    return {"createArtifact": {"artifact": artifact}}


def _project(name: str) -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "entity": {"id": "e1", "name": ENTITY}}


def _sweep_node(sweep: Sweep) -> dict[str, Any]:
    return {
        "__typename": "Sweep",
        "id": f"id-{sweep.name}",
        "name": sweep.name,
        "displayName": None,
        "method": "",
        "state": sweep.state,
        "description": None,
        "bestLoss": None,
        "config": sweep.config,
        "controller": None,
        "scheduler": None,
        "createdAt": CREATED,
        "updatedAt": CREATED,
        "heartbeatAt": CREATED,
        "earlyStopJobRunning": False,
        "runCount": len(sweep.runs),
        "runCountExpected": None,
    }


def _run_node(server: StandIn, run: Run) -> dict[str, Any]:
    return {
        "id": f"id-{run.name}",
        "projectId": "1",
        "tags": [],
        "name": run.name,
        "displayName": run.display,
        "sweepName": run.sweep,
        "state": run.state,
        "config": json.dumps(run.config),
        "group": run.group,
        "jobType": None,
        "commit": None,
        "readOnly": False,
        "createdAt": CREATED,
        "heartbeatAt": CREATED,
        "description": None,
        "notes": None,
        "systemMetrics": "{}",
        "summaryMetrics": json.dumps(run.summary),
        "historyLineCount": len(run.history),
        "user": {"name": ENTITY, "username": ENTITY},
        "historyKeys": None,
        "exitcode": run.exit_code,
        "shouldStop": False,
        "failed": run.state == "failed",
        "stopped": run.name in server.store.stopped,
        "running": run.state == "running",
        "sampledHistory": [],
    }


def _file_node(server: StandIn, run: Run, name: str) -> dict[str, Any]:
    url = f"{server.url}/storage/{run.name}/{name}"
    size = str(len(run.files[name]))
    return {
        "id": f"id-{run.name}-{name}",
        "name": name,
        "url": url,
        "directUrl": url,
        "sizeBytes": size,
        "mimetype": "application/octet-stream",
        "updatedAt": CREATED,
        "md5": "",
    }


ANSWERS = {
    "Viewer": _viewer,
    "GetViewer": _viewer,
    "GetDefaultEntity": _viewer,
    "ServerFeaturesQuery": _features,
    "OrganizationCoreWeaveOrganizationID": _organisation,
    "UpsertSweep": _upsert_sweep,
    "SweepWithRuns": _sweep_with_runs,
    "GetSweep": _get_sweep,
    "CreateAgent": _create_agent,
    "Heartbeat": _heartbeat,
    "UpsertBucket": _upsert_bucket,
    "RunResumeStatus": _resume_status,
    "CreateRunFiles": _create_files,
    "ArtifactType": _artifact_type,
    "CreateArtifact": _create_artifact,
    "Runs": _runs,
    "Run": _one_run,
    "RunFiles": _run_files,
}


def _handler(owner: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self._body() or b"{}")
            if self._dropped():
                return
            path = urlsplit(self.path).path
            if path.endswith("/file_stream"):
                owner.asked.append("file_stream")
                with owner.store.lock:
                    owner.store.stream(unquote(path.split("/")[-2]), body)
                return self._json({"exitcode": None, "limits": {}})
            found = OPERATION.search(body.get("query", ""))
            operation = found.group(1) if found else path
            owner.asked.append(operation)
            data = owner.answer(operation, body.get("variables") or {})
            if data is None:
                owner.unknown.append(operation)
                return self._json({"errors": [{"message": f"unknown: {operation}"}]}, 400)
            return self._json({"data": data})

        def do_PUT(self) -> None:
            body = self._body()
            if self._dropped():
                return
            run, name = self._file()
            owner.asked.append(f"PUT {name}")
            with owner.store.lock:
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
