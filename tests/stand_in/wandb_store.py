"""What the stand-in W&B server remembers: runs, sweeps, agents, and which point comes next.

It knows the sweeps of W&B's schema that tests need: grids, nested parameters, and `values` or `min`
to `max` drawn at random.
"""

import hashlib
import itertools
import json
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

ENTITY = "tester"
DEFAULT_PROJECT = "uncategorized"
# What the server's schema allows at the top of a sweep file; it answers anything else by a warning.
KNOWN = (
    *("apiVersion", "kind", "controller", "description", "program", "job", "image_uri", "entity"),
    *("project", "method", "command", "name", "run_cap", "metric", "metrics", "scheduler"),
    *("early_terminate", "parameters"),
)
LONGEST = {"displayName": 128, "groupName": 128, "jobType": 64}  # of a run, in letters


@dataclass
class Run:
    """One run as the server sees it; `history` holds rows in order, `files` the uploaded bytes."""

    name: str
    project: str
    sweep: str | None = None
    display: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    state: str = "running"
    exit_code: int | None = None
    openings: int = 0  # times a client began it

    @property
    def plain_config(self) -> dict[str, Any]:
        """The configuration without W&B's wrapping."""
        return {
            key: item["value"]
            for key, item in self.config.items()
            if isinstance(item, dict) and "value" in item and key != "_wandb"
        }


@dataclass
class Sweep:
    """A sweep: its file, its points still to run, and the runs begun."""

    name: str
    project: str
    config: str
    points: Iterator[dict[str, Any]]
    state: str = "RUNNING"
    runs: list[str] = field(default_factory=list)


class RefusedError(Exception):
    """What the server answers with an error."""


class Store:
    """Everything the server holds; each call is made under `lock`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.runs: dict[str, Run] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.agents: dict[str, str] = {}  # agent -> sweep
        self.handed: dict[str, str] = {}  # run -> the agent that has it
        self.artifacts: dict[str, list[str]] = {}  # their digests by collection
        self.stop_when: Callable[[Run], bool] = lambda run: False
        self.stopped: set[str] = set()

    def run(self, name: str, project: str) -> tuple[Run, bool]:
        """The run of that name, and whether it is new."""
        known = name in self.runs
        if not known:
            self.runs[name] = Run(name, project)
        return self.runs[name], not known

    def open_run(self, given: dict[str, Any]) -> tuple[Run, bool]:
        """A client begins or updates a run; `given` are the variables of UpsertBucket."""
        for key, most in LONGEST.items():
            if len(given.get(key) or "") > most:
                raise RefusedError(f"invalid {key}: longer than {most} characters")
        name = given.get("name") or str(given.get("id"))
        run, new = self.run(name, given.get("project") or DEFAULT_PROJECT)
        if run.project != (given.get("project") or run.project):
            raise RefusedError(f"run {name} is in project {run.project}")
        if given.get("config"):
            run.config.update(json.loads(given["config"]))
        if given.get("summaryMetrics"):
            run.summary.update(json.loads(given["summaryMetrics"]))
        run.display = given.get("displayName") or run.display
        run.group = given.get("groupName") or run.group
        run.job_type = given.get("jobType") or run.job_type
        run.tags = given.get("tags") or run.tags
        run.notes = given.get("notes") or run.notes
        run.sweep = given.get("sweep") or run.sweep
        run.state = "running"
        run.openings += 1
        return run, new

    def add_sweep(self, config: str, project: str | None) -> tuple[Sweep, list[str]]:
        """Create a sweep from its YAML text; returns the warnings of the schema, too."""
        values = yaml.safe_load(config)
        name = f"sweep{len(self.sweeps):03d}"
        place = project or values.get("project") or DEFAULT_PROJECT
        self.sweeps[name] = sweep = Sweep(name, place, config, points_of(values))
        strange = [f"({key!r} was unexpected)" for key in values if key not in KNOWN]
        return sweep, [f"Additional properties are not allowed {words}" for words in strange]

    def sweep_in(self, project: str | None, name: str) -> Sweep | None:
        """The sweep of that name where the client looks for it."""
        sweep = self.sweeps.get(name)
        return sweep if sweep and sweep.project == (project or DEFAULT_PROJECT) else None

    def add_agent(self, project: str | None, sweep: str) -> str:
        """Register an agent of a sweep."""
        if self.sweep_in(project, sweep) is None:
            raise RefusedError(f"no sweep {sweep} in {project}")
        name = f"agent{len(self.agents):03d}"
        self.agents[name] = sweep
        return name

    def commands(self, agent: str, running: dict[str, bool]) -> list[dict[str, Any]]:
        """What an agent shall do next: stop a run, start one, or leave."""
        sweep = self.sweeps[self.agents[agent]]
        busy = [name for name, alive in running.items() if alive]
        self._settle(agent, busy)
        stops = [name for name in busy if name in self.runs and self.stop_when(self.runs[name])]
        if stops:
            self.stopped.update(stops)
            return [{"type": "stop", "run_id": name} for name in stops]
        if busy:
            return []
        point = next(sweep.points, None) if sweep.state == "RUNNING" else None
        if point is None:
            sweep.state = "FINISHED"
            return [{"type": "exit"}]
        return [self._hand_out(sweep, agent, point)]

    def _hand_out(self, sweep: Sweep, agent: str, point: dict[str, Any]) -> dict[str, Any]:
        name = hashlib.sha256(f"{sweep.name}/{len(sweep.runs)}".encode()).hexdigest()[:8]
        sweep.runs.append(name)
        run, _ = self.run(name, sweep.project)
        run.sweep = sweep.name
        self.handed[name] = agent
        arguments = {key: {"value": value} for key, value in point.items()}
        program = yaml.safe_load(sweep.config).get("program")
        return {"type": "run", "run_id": name, "args": arguments, "program": program}

    def _settle(self, agent: str, busy: list[str]) -> None:
        """A run whose process is gone, and that told of no end, has crashed."""
        for name in [name for name, holder in self.handed.items() if holder == agent]:
            if name not in busy:
                del self.handed[name]
                if self.runs[name].state == "running":
                    self.runs[name].state = "crashed"

    def stream(self, name: str, body: dict[str, Any]) -> None:
        """Take in one message of a run's file stream."""
        run = self.runs[name]
        for file, chunk in (body.get("files") or {}).items():
            lines = chunk.get("content") or []
            if file == "wandb-history.jsonl":
                begin = int(chunk.get("offset", len(run.history)))
                run.history[begin : begin + len(lines)] = [json.loads(line) for line in lines]
            elif file == "wandb-summary.json" and lines:
                run.summary = json.loads(lines[-1])
        if body.get("complete"):
            run.exit_code = int(body.get("exitcode") or 0)
            run.state = "finished" if run.exit_code == 0 else "failed"


def points_of(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The points of a sweep in W&B's order; random ones end at run_cap."""
    leaves = dict(sorted(leaves_of(values["parameters"])))
    if values["method"] == "grid":
        every = itertools.product(*(choices_of(item) for item in leaves.values()))
    else:
        draw = random.Random(0)
        every = (tuple(drawn(draw, item) for item in leaves.values()) for _ in itertools.count())
    for point in itertools.islice(every, values.get("run_cap")):
        yield nested(dict(zip(leaves, point, strict=True)))


def leaves_of(parameters: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[Any]:
    """Each parameter under its path; nested ones below theirs."""
    for key, item in parameters.items():
        if "parameters" in item:
            yield from leaves_of(item["parameters"], (*above, key))
        else:
            yield (*above, key), item


def choices_of(item: dict[str, Any]) -> list[Any]:
    """What a grid lists of a parameter."""
    if "min" in item:
        return list(range(item["min"], item["max"] + 1))
    return list(item["values"]) if "values" in item else [item["value"]]


def drawn(draw: random.Random, item: dict[str, Any]) -> Any:
    """One random value of a parameter."""
    if "min" in item and isinstance(item["min"], float):
        return draw.uniform(item["min"], item["max"])
    return draw.choice(choices_of(item))


def nested(leaves: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    """Paths as the server hands them out: one argument a top key, a mapping where it was nested."""
    point: dict[str, Any] = {}
    for path, value in leaves.items():
        place = point
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
    return point
