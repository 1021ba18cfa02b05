"""Tapes of a sweep: shared by its trials, gone with the last one that could use them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.record import tapes as disk
from experiments.sweep.space import Sweep
from experiments.sweep.state import State
from experiments.sweep.sweep_file import read_sweep
from experiments.sweep.tapes import Tapes

CHECKOUT = Path(__file__).parents[3]
RECIPE = """
data: {{name: voc, root: {root}, train: train, val: val, test: test}}
detector:
  name: yolov2
  backbone: {{name: torchvision, arch: resnet18, norm: frozen, frozen_stages: 5}}
  head_width: 16
  head_depth: 1
  passthrough: 16
loss: {{name: focal, alpha: null, gamma: 2.0}}
input: {{fit: {{mode: stretch, height: 64, width: 64}}}}
optimizer: {{name: adamw, lr: 1.0e-3}}
train: {{iterations: 6, batch_size: 2, ema: 0.9, checkpoint_every: 2, workers: 0, threads: 1}}
tracking: {{wandb: "off"}}
"""
FILE = """
name: taped
method: {method}
metric: {{name: voc07_map, goal: maximize}}
command: ["${{interpreter}}", -m, experiments, train, --config, {recipe}, "${{args_no_hyphens}}"]
parameters:
  loss.gamma: {{values: [0.0, 1.0, 2.0]}}
  {more}
"""


class Folder:
    """A sweep's folder with tapes and trials made up."""

    def __init__(self, sweep: Sweep, folder: Path, points: list[dict[str, Any]]) -> None:
        self.folder, self.state = folder, State()
        self.said: list[str] = []
        self.tapes = Tapes(sweep, folder, None, self.said.append)
        for n, parameters in enumerate(points):
            point = {"event": "point", "n": n, "key": f"k{n}", "parameters": parameters}
            self.state.apply(point)

    def tape(self, key: str, split: str, *trials: int) -> Path:
        root = Path(self.tapes.environment()[disk.PLACE])
        for n in trials:
            run = self.state.trials[n].folder(self.folder).name
            made = disk.open_folder(root, key * 64, split, {"seed": 1}, run)
        (made / "000").mkdir(exist_ok=True)
        (made / "000/000000").write_bytes(b"frame")
        return made

    def end(self, *trials: int, over: bool = False) -> None:
        for n in trials:
            self.state.apply({"event": "end", "n": n, "status": "finished", "seconds": 1.0})
        self.tapes.remove_unneeded(self.state, over=over)


@pytest.fixture
def sweep_of(tmp_path: Path) -> Callable[..., Sweep]:
    def make(method: str = "grid", more: str = "", head: str = "") -> Sweep:
        path = tmp_path / "sweep.yaml"
        path.write_text(head + FILE.format(method=method, recipe="recipe.yaml", more=more))
        return read_sweep(path)

    return make


def test_a_tape_goes_with_the_last_trial_of_its_seed(sweep_of: Any, tmp_path: Path) -> None:
    points = [{"loss.gamma": gamma, "seed": seed} for seed in (0, 1) for gamma in (0.0, 2.0)]
    sweep = sweep_of(more="seed: {values: [0, 1]}")
    room = Folder(sweep, tmp_path, points)
    first, test = room.tape("a", "train", 0), room.tape("b", "test", 0)
    room.end(0)
    assert first.is_dir() and test.is_dir()
    room.tape("a", "train", 1)
    room.end(1)
    assert not first.exists() and test.is_dir() and "removed" in room.said[-1]
    second = room.tape("c", "train", 2)
    room.end(2)
    assert second.is_dir() and test.is_dir()
    room.end(3)
    assert not (tmp_path / "tape").exists()


def test_what_may_be_shared_is_kept(sweep_of: Any, tmp_path: Path) -> None:
    """A recipe's name tells nothing of its backbone; another input surely needs another tape."""
    points = [
        {"config": "a.yaml", "input.fit.height": 64},
        {"config": "b.yaml", "input.fit.height": 64},
        {"config": "c.yaml", "input.fit.height": 96},
    ]
    room = Folder(sweep_of(), tmp_path, points)
    tape = room.tape("a", "train", 0)
    room.end(0)
    assert tape.is_dir()
    room.end(1)
    assert not tape.exists() and (tmp_path / "tape").is_dir()


def test_more_trials_may_be_drawn(sweep_of: Any, tmp_path: Path) -> None:
    points = [{"loss.gamma": 0.1}, {"loss.gamma": 0.2}]
    room = Folder(sweep_of("random"), tmp_path, points)
    tape = room.tape("a", "train", 0)
    room.end(0, 1)
    room.tapes.end(room.state, over=False)
    assert tape.is_dir() and "are kept for trials that may follow" in room.said[-1]
    room.tapes.end(room.state, over=True)
    assert not tape.exists() and "no trial needs it any more" in room.said[-1]


def test_a_sweep_with_a_cap_ends_by_itself(sweep_of: Any, tmp_path: Path) -> None:
    points = [{"loss.gamma": 0.1}, {"loss.gamma": 0.2}]
    room = Folder(sweep_of("random", head="run_cap: 2"), tmp_path, points)
    tape = room.tape("a", "train", 0)
    room.end(0)
    assert tape.is_dir()
    room.end(1)
    assert not tape.exists()


# -- real sweeps ----------------------------------------------------------------------------------


class Real:
    """A sweep of real runs, in processes of its own."""

    def __init__(self, root: Path, glyphs: Path, more: str = "") -> None:
        self.root = root
        (root / "recipe.yaml").write_text(RECIPE.format(root=glyphs))
        text = FILE.format(method="grid", recipe=root / "recipe.yaml", more=more)
        (root / "sweep.yaml").write_text(text)

    def start(self, out: str, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "experiments", "sweep", str(self.root / "sweep.yaml")]
        return subprocess.Popen(
            [*command, "--out", str(self.root / out), "--jobs", "2", *words],
            cwd=CHECKOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, out: str, *words: str) -> str:
        process = self.start(out, *words)
        output = process.communicate(timeout=600)[0]
        assert process.returncode == 0, output
        return output

    def records(self, out: str) -> dict[str, dict[str, Any]]:
        paths = sorted((self.root / out / "trials").glob("*/record.json"))
        return {path.parent.name: json.loads(path.read_text()) for path in paths}

    def frames(self, out: str) -> int:
        return len(list((self.root / out / "tape").glob("*-train-*/*/*")))


def assert_same_results(real: Real, one: str, other: str) -> None:
    left, right = real.records(one), real.records(other)
    assert left.keys() == right.keys() and len(left) == 3
    for name in left:
        assert left[name]["status"] == right[name]["status"] == "finished"
        for part in ("metrics", "files"):
            assert left[name][part] == right[name][part], name
        losses = [[row["loss"] for row in each[name]["curves"]] for each in (left, right)]
        assert losses[0] == losses[1] and len(losses[0]) == 6


@pytest.mark.slow
def test_a_sweep_with_tapes_has_the_results_of_one_without(
    tmp_path: Path, small_glyphs: Path
) -> None:
    real = Real(tmp_path, small_glyphs)
    real.run("without", "--tape-gib", "0")
    output = real.run("with")
    assert_same_results(real, "without", "with")
    assert all(record["tape"] is None for record in real.records("without").values())
    played = [record["tape"]["played"]["train"] for record in real.records("with").values()]
    assert sum(each["written"] for each in played) == 6
    assert sum(each["replayed"] for each in played) == 12
    assert "no trial needs it any more" in output
    assert not (tmp_path / "with/tape").exists()


@pytest.mark.slow
def test_a_sweep_killed_whole_goes_on_to_the_same_results(
    tmp_path: Path, small_glyphs: Path
) -> None:
    real = Real(tmp_path, small_glyphs)
    real.run("without", "--tape-gib", "0")
    process = real.start("with")
    limit = time.monotonic() + 300
    while real.frames("with") < 3 and time.monotonic() < limit:
        time.sleep(0.01)
    running = [
        json.loads(line)["pid"]
        for line in (tmp_path / "with/ledger.jsonl").read_text().splitlines()
        if '"pid"' in line
    ]
    for pid in (process.pid, *running):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    real.run("with")
    assert_same_results(real, "without", "with")
    assert not (tmp_path / "with/tape").exists()
