"""A small run for every test of this folder, started as a process of its own without the seconds
that imports take: a server that has imported everything, and run nothing, forks it.
"""

import json
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

CHECKOUT = Path(__file__).parents[3]
PATIENCE = 900.0  # seconds; only a hang, on however busy a machine, takes so long
RECIPE = """
data: {{name: voc, root: {root}, train: train, val: val, test: test}}
detector:
  name: {detector}
  backbone: {{name: darknet19, width: 0.125}}
{more}
loss: {{name: focal, alpha: null, gamma: {{schedule: linear, start: 0.0, end: 2.0}}}}
input:
  fit: {{mode: stretch, height: 64, width: 64}}
  jitter: {{aspect: 0.1, scale: [0.8, 1.2]}}
  sizes: [[64, 64], [96, 96]]
  every: 1
optimizer: {{name: adamw, lr: 1.0e-3, clip_norm: 10.0}}
train: {{iterations: 10, batch_size: 2, ema: 0.9, checkpoint_every: 3, log_every: 1, workers: 0}}
tracking: {{wandb: "off"}}
"""
MORE = {
    "yolov2": "  head_width: 32\n  head_depth: 1\n  passthrough: 16",
    "retinanet": "  pyramid: {width: 16, levels: 3}\n  head: {depth: 1, norm: group, groups: 4}",
}
START = """
import os, sys
os.environ.update({environment!r})
for number, name in ((1, {out!r}), (2, {err!r})):
    os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
os.chdir({checkout!r})
import torch
torch.set_num_threads(1)
{code}
"""
VERB = "from experiments.__main__ import main; sys.exit(main({words!r}))"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@dataclass(frozen=True)
class Started:
    """A process and what it says."""

    process: Any
    log: Path

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    @property
    def alive(self) -> bool:
        return bool(self.process.is_alive())

    @property
    def said(self) -> str:
        return _text(self.log.with_suffix(".out"))

    @property
    def told(self) -> str:
        return _text(self.log.with_suffix(".err"))

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """The exit status, negative for a signal."""
        self.process.join(PATIENCE)
        if self.alive:
            self.send(signal.SIGKILL)
            raise AssertionError(f"hangs: {self.told}")
        return int(self.process.exitcode)


def start(code: str, log: Path, environment: dict[str, str] | None = None) -> Started:
    """Run `code` in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "experiments.run.training",
            "experiments.__main__",
            "experiments.tracking.pictures",
            "wandb",
        ]
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    told = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **(environment or {})}
    whole = START.format(
        environment=told,
        out=str(log.with_suffix(".out")),
        err=str(log.with_suffix(".err")),
        checkout=str(CHECKOUT),
        code=code,
    )
    process = context.Process(target=exec, args=(whole, {"__name__": "__main__"}))
    process.start()
    return Started(process, log)


def ranks(code: str, log: Path, count: int) -> list[Started]:
    """`count` processes as torchrun would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    whole = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    shared = {name: str(value) for name, value in whole.items()} | {"MASTER_ADDR": "127.0.0.1"}
    return [
        start(
            code,
            log.with_name(f"{log.name}-{rank}"),
            shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]


@dataclass(frozen=True)
class Runs:
    """Starts runs of one recipe and reads what they left."""

    config: Path
    started: list[Started] = field(default_factory=list)

    def code(self, out: Path, *overrides: str) -> str:
        words = ["train", "--config", str(self.config), "--out", str(out), *overrides]
        return VERB.format(words=words)

    def start(self, out: Path, *overrides: str, before: str = "") -> Started:
        """Start a run; `before` is code that the process runs first."""
        log = self.config.with_name(f"log-{out.name}-{len(self.started)}")
        self.started.append(start(f"{before}\n{self.code(out, *overrides)}", log))
        return self.started[-1]

    def train(self, out: Path, *overrides: str, before: str = "") -> Started:
        """A run, waited for."""
        run = self.start(out, *overrides, before=before)
        run.wait()
        return run

    def together(self, out: Path, *overrides: str, count: int = 2) -> list[Started]:
        """Start one run of several ranks."""
        log = self.config.with_name(f"log-{out.name}-{len(self.started)}")
        self.started.extend(ranks(self.code(out, *overrides), log, count))
        return self.started[-count:]

    def run(self, code: str, log: Path, count: int) -> None:
        """Any code in `count` processes, waited for; all must end well."""
        started = [start(code, log)] if count == 1 else ranks(code, log, count)
        for each in started:
            assert each.wait() == 0, each.told

    def verb(self, *words: str) -> Started:
        """Any verb, waited for."""
        log = self.config.with_name(f"log-verb-{len(self.started)}")
        self.started.append(start(VERB.format(words=list(words)), log))
        self.started[-1].wait()
        return self.started[-1]

    @staticmethod
    def record(out: Path) -> dict[str, Any]:
        values: dict[str, Any] = json.loads((out / "record.json").read_text())
        return values

    @staticmethod
    def rows(out: Path) -> int:
        """Lines of the curves so far."""
        curves = out / "curves.jsonl"
        return len(curves.read_bytes().splitlines()) if curves.exists() else 0

    @staticmethod
    def checkpoints(out: Path, kind: str = "iteration") -> list[int]:
        paths = sorted((out / "checkpoints").glob(f"{kind}_*.pt"))
        return [int(path.stem.partition("_")[2]) for path in paths]

    @staticmethod
    def last_state(out: Path) -> dict[str, Any]:
        newest = sorted((out / "checkpoints").glob("iteration_*.pt"))[-1]
        state: dict[str, Any] = torch.load(newest, weights_only=True)
        return state

    @staticmethod
    def until(condition: Callable[[], bool], run: Started) -> None:
        """Wait for `condition` while `run` goes on."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert run.alive, f"the run ended first: {run.told}"
            assert time.monotonic() < deadline
            time.sleep(0.002)


@pytest.fixture
def runs(tmp_path: Path, small_glyphs: Path) -> Iterator[Callable[..., Runs]]:
    """Makes a `Runs` of a detector; what still runs after the test is killed."""
    made: list[Runs] = []

    def make(detector: str = "yolov2", root: Path = small_glyphs) -> Runs:
        path = tmp_path / f"{detector}.yaml"
        path.write_text(RECIPE.format(root=root, detector=detector, more=MORE[detector]))
        made.append(Runs(path))
        return made[-1]

    yield make
    for run in (run for small in made for run in small.started):
        if run.alive:
            run.process.kill()
