"""What the stand-in W&B server remembers: runs, sweeps, agents, and which point comes next.

It knows the sweeps of W&B's schema that tests need: grids, and `values` drawn at random.
"""

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


@dataclass
class Run:
    """One run as the server sees it; `history` holds rows in order, `files` the uploaded bytes."""

    name: str
    project: str
    sweep: str | None = None
    display: str = ""
    group: str = ""
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


class Store:
    """Everything the server holds; each call is made under `lock`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.runs: dict[str, Run] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.agents: dict[str, str] = {}  # agent -> sweep
        self.stop_when: Callable[[Run], bool] = lambda run: False
        self.stopped: set[str] = set()

    def run(self, name: str, project: str) -> tuple[Run, bool]:
        """The run of that name, and whether it is new."""
        known = name in self.runs
        if not known:
            self.runs[name] = Run(name, project)
        return self.runs[name], not known

    def add_sweep(self, config: str, project: str | None) -> Sweep:
        """Create a sweep from its YAML text."""
        values = yaml.safe_load(config)
        name = f"sweep{len(self.sweeps):03d}"
        place = project or values.get("project") or DEFAULT_PROJECT
        self.sweeps[name] = sweep = Sweep(name, place, config, points_of(values))
        return sweep

    def add_agent(self, sweep: str) -> str:
        """Register an agent of a sweep."""
        name = f"agent{len(self.agents):03d}"
        self.agents[name] = sweep
        return name

    def commands(self, agent: str, running: dict[str, bool]) -> list[dict[str, Any]]:
        """What an agent shall do next: stop a run, start one, or leave."""
        sweep = self.sweeps[self.agents[agent]]
        busy = [name for name, alive in running.items() if alive]
        stops = [name for name in busy if name in self.runs and self.stop_when(self.runs[name])]
        if stops:
            self.stopped.update(stops)
            return [{"type": "stop", "run_id": name} for name in stops]
        if busy:
            return []
        point = next(sweep.points, None) if sweep.state == "RUNNING" else None
        if point is None:
            return [{"type": "exit"}]
        name = f"{sweep.name}run{len(sweep.runs):03d}"
        sweep.runs.append(name)
        run, _ = self.run(name, sweep.project)
        run.sweep = sweep.name
        arguments = {key: {"value": value} for key, value in point.items()}
        program = yaml.safe_load(sweep.config).get("program")
        return [{"type": "run", "run_id": name, "args": arguments, "program": program}]

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
    parameters = dict(sorted(values["parameters"].items()))
    choices = [
        item["values"] if "values" in item else [item["value"]] for item in parameters.values()
    ]
    if values["method"] == "grid":
        every = itertools.product(*choices)
    else:
        draw = random.Random(0)
        every = (tuple(draw.choice(list(c)) for c in choices) for _ in itertools.count())
    for point in itertools.islice(every, values.get("run_cap")):
        yield dict(zip(parameters, point, strict=True))
