"""What the stand-in W&B server answers to each GraphQL operation of the client of wandb 0.31."""

import json
import re
from collections.abc import Callable
from typing import Any

from tests.stand_in.wandb_store import DEFAULT_PROJECT, ENTITY, Run, Store, Sweep

CREATED = "2026-01-01T00:00:00Z"
Given = dict[str, Any]


def answer(store: Store, url: str, operation: str, given: Given) -> dict[str, Any] | None:
    """The data of one operation, or None for one that is not known; raises RefusedError."""
    found = ANSWERS.get(operation)
    return None if found is None else found(store, url, given)


def _viewer(store: Store, url: str, given: Given) -> dict[str, Any]:
    teams = {"edges": [{"node": {"name": ENTITY}}]}
    who = {"id": "u1", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}"}
    return {"viewer": who | {"teams": teams, "name": ENTITY, "admin": False}}


def _features(store: Store, url: str, given: Given) -> dict[str, Any]:
    return {"serverInfo": {"features": []}}


def _organisation(store: Store, url: str, given: Given) -> dict[str, Any]:
    return {"entity": {"organization": None}}


def _upsert_sweep(store: Store, url: str, given: Given) -> dict[str, Any]:
    warnings: list[str] = []
    if given.get("state"):
        sweep = next(s for s in store.sweeps.values() if f"id-{s.name}" == given["id"])
        sweep.state = given["state"]
    else:
        sweep, warnings = store.add_sweep(given["config"], given.get("projectName"))
    told = {"name": sweep.name, "project": _project(sweep.project)}
    return {"upsertSweep": {"sweep": told, "configValidationWarnings": warnings}}


def _sweep_with_runs(store: Store, url: str, given: Given) -> dict[str, Any]:
    sweep = store.sweep_in(given.get("project"), given["sweep"])
    if sweep is None:
        return {"project": None}
    runs = [store.runs[name] for name in sweep.runs]
    edges = [{"node": _run_node(store, run)} for run in runs]
    return {"project": {"sweep": _sweep_node(sweep) | {"runs": {"edges": edges}}}}


def _get_sweep(store: Store, url: str, given: Given) -> dict[str, Any]:
    sweep = store.sweep_in(given.get("project"), given["name"])
    if sweep is None:
        return {"project": {"sweep": None}}
    return {"project": {"sweep": _sweep_node(sweep)}}


def _create_agent(store: Store, url: str, given: Given) -> dict[str, Any]:
    agent = store.add_agent(given.get("projectName"), given["sweep"])
    return {"createAgent": {"agent": {"id": agent}}}


def _heartbeat(store: Store, url: str, given: Given) -> dict[str, Any]:
    commands = store.commands(given["id"], json.loads(given["runState"]))
    agent = {"agent": {"id": given["id"]}, "commands": json.dumps(commands)}
    return {"agentHeartbeat": agent}


def _upsert_bucket(store: Store, url: str, given: Given) -> dict[str, Any]:
    run, new = store.open_run(given)
    bucket = {
        "id": f"id-{run.name}",
        "name": run.name,
        "displayName": run.display,
        "description": None,
        "config": json.dumps(run.config),
        "sweepName": run.sweep,
        "project": _project(run.project),
        "historyLineCount": len(run.history),
    }
    return {"upsertBucket": {"bucket": bucket, "inserted": new}}


def _resume_status(store: Store, url: str, given: Given) -> dict[str, Any]:
    run = store.runs.get(given["name"])
    project = given.get("project") or DEFAULT_PROJECT
    model = _project(project) | {"bucket": None}
    if run is not None and run.project == project and run.openings:
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
            "tags": run.tags,
            "notes": run.notes,
            "wandbConfig": json.dumps(run.config.get("_wandb", {}).get("value", {})),
        }
    return {"model": model}


def _create_files(store: Store, url: str, given: Given) -> dict[str, Any]:
    base = f"{url}/storage/{given['run']}"
    files = [{"name": name, "uploadUrl": f"{base}/{name}"} for name in given["files"]]
    told = {"runID": f"id-{given['run']}", "uploadHeaders": [], "files": files}
    return {"createRunFiles": told}


def _runs(store: Store, url: str, given: Given) -> dict[str, Any]:
    found = re.search(r'"sweep": *"([^"]+)"', given.get("filters") or "")
    runs = [
        run
        for run in store.runs.values()
        if run.project == given["project"] and (found is None or run.sweep == found.group(1))
    ]
    begin, count = int(given.get("cursor") or 0), int(given.get("perPage") or 50)
    page = runs[begin : begin + count]
    edges = [{"node": _run_node(store, run), "cursor": str(begin + count)} for run in page]
    more = {"endCursor": str(begin + count), "hasNextPage": begin + count < len(runs)}
    told = {"internalId": "1", "runCount": len(runs), "readOnly": False}
    return {"project": told | {"runs": {"edges": edges, "pageInfo": more}}}


def _one_run(store: Store, url: str, given: Given) -> dict[str, Any]:
    run = store.runs.get(given["name"])
    return {"project": {"run": None if run is None else _run_node(store, run)}}


def _run_files(store: Store, url: str, given: Given) -> dict[str, Any]:
    run = store.runs[given["name"]]
    wanted = given.get("fileNames") or list(run.files)
    names = [name for name in run.files if name in wanted]
    edges = [{"node": _file_node(url, run, name), "cursor": name} for name in names]
    files = {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}
    return {"project": {"internalId": "1", "run": {"fileCount": len(edges), "files": files}}}


def _artifact_type(store: Store, url: str, given: Given) -> dict[str, Any]:
    return {"project": {"artifact": None}}  # none of that name yet


def _create_artifact(store: Store, url: str, given: Given) -> dict[str, Any]:
    told = given["input"]
    digests = store.artifacts.setdefault(str(told["artifactCollectionName"]), [])
    known = told["digest"] in digests  # the server has those bytes already
    digests += [] if known else [told["digest"]]
    name = f"artifact-{told['digest']}"
    state = "COMMITTED" if known else "PENDING"
    artifact = {"id": name, "state": state, "artifactSequence": {"id": "s", "latestArtifact": None}}
    return {"createArtifact": {"artifact": artifact}}


def _artifact_manifest(kind: str) -> Callable[[Store, str, Given], dict[str, Any]]:
    def answer_it(store: Store, url: str, given: Given) -> dict[str, Any]:
        name = given.get("artifactID") or given["artifactManifestID"]
        place = f"{url}/artifacts/{name}/manifest"
        file = {"id": "f", "name": "manifest", "displayName": "manifest"}
        file |= {"uploadUrl": place, "uploadHeaders": []}
        return {kind: {"artifactManifest": {"id": name, "file": file}}}

    return answer_it


def _artifact_files(store: Store, url: str, given: Given) -> dict[str, Any]:
    nodes = []
    for file in given["input"]["artifactFiles"]:
        name, owner = file["name"], file["artifactID"]
        node = {"id": name, "name": name, "displayName": name, "storagePath": name}
        node |= {"uploadUrl": f"{url}/artifacts/{owner}/{name}", "uploadHeaders": []}
        nodes.append({"node": node | {"uploadMultipartUrls": None, "artifact": {"id": owner}}})
    return {"createArtifactFiles": {"files": {"edges": nodes}}}


def _commit_artifact(store: Store, url: str, given: Given) -> dict[str, Any]:
    artifact = {"id": given["artifactID"], "digest": given["artifactID"]}
    return {"commitArtifact": {"artifact": artifact}}


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


def _run_node(store: Store, run: Run) -> dict[str, Any]:
    return {
        "id": f"id-{run.name}",
        "projectId": "1",
        "tags": run.tags,
        "name": run.name,
        "displayName": run.display,
        "sweepName": run.sweep,
        "state": run.state,
        "config": json.dumps(run.config),
        "group": run.group,
        "jobType": run.job_type or None,
        "commit": None,
        "readOnly": False,
        "createdAt": CREATED,
        "heartbeatAt": CREATED,
        "description": None,
        "notes": run.notes,
        "systemMetrics": "{}",
        "summaryMetrics": json.dumps(run.summary),
        "historyLineCount": len(run.history),
        "user": {"name": ENTITY, "username": ENTITY},
        "historyKeys": None,
        "exitcode": run.exit_code,
        "shouldStop": False,
        "failed": run.state == "failed",
        "stopped": run.name in store.stopped,
        "running": run.state == "running",
        "sampledHistory": [],
    }


def _file_node(url: str, run: Run, name: str) -> dict[str, Any]:
    place = f"{url}/storage/{run.name}/{name}"
    return {
        "id": f"id-{run.name}-{name}",
        "name": name,
        "url": place,
        "directUrl": place,
        "sizeBytes": str(len(run.files[name])),
        "mimetype": "application/octet-stream",
        "updatedAt": CREATED,
        "md5": "",
    }


ANSWERS: dict[str, Callable[[Store, str, Given], dict[str, Any]]] = {
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
    "CreateArtifactManifest": _artifact_manifest("createArtifactManifest"),
    "UpdateArtifactManifest": _artifact_manifest("updateArtifactManifest"),
    "CreateArtifactFiles": _artifact_files,
    "CommitArtifact": _commit_artifact,
    "Runs": _runs,
    "Run": _one_run,
    "RunFiles": _run_files,
}
