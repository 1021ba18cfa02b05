"""One run as a user starts it: finished, killed and continued, refused, failed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

CHECKOUT = Path(__file__).parents[2]
RECIPE = """
data: {{name: voc, root: {root}, train: train, val: val, test: test}}
detector:
  name: {detector}
  backbone: {{name: darknet19, width: 0.125}}
{more}
loss:
  name: focal
  alpha: null
  gamma: {{schedule: linear, start: 0.0, end: 2.0, ramp: [0.0, 1.0]}}
input:
  fit: {{mode: stretch, height: 64, width: 64}}
  jitter: {{aspect: 0.1, scale: [0.8, 1.2]}}
  sizes: [[64, 64], [96, 96]]
  every: 1
optimizer: {{name: adamw, lr: 1.0e-3, clip_norm: 10.0}}
train:
  iterations: 10
  batch_size: 2
  accumulate: 2
  ema: 0.9
  checkpoint_every: 3
  log_every: 1
  {train}
tracking: {{wandb: "off"}}
"""
MORE = {
    "yolov2": "  head_width: 32\n  head_depth: 1\n  passthrough: 16",
    "retinanet": "  pyramid: {width: 16, levels: 3}\n  head: {depth: 1, norm: group, groups: 4}",
}


def recipe(folder: Path, glyphs: Path, detector: str, train: str = "workers: 0") -> Path:
    path = folder / f"{detector}.yaml"
    path.write_text(RECIPE.format(root=glyphs, detector=detector, more=MORE[detector], train=train))
    return path


def command(config: Path, out: Path, *overrides: str) -> list[str]:
    words = ["-m", "experiments", "train", "--config", str(config), "--out", str(out), *overrides]
    return [sys.executable, *words]


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def train(config: Path, out: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(config, out, *overrides),
        cwd=CHECKOUT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def record(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "record.json").read_text())
    return values


def last_weights(folder: Path) -> dict[str, Any]:
    newest = sorted((folder / "checkpoints").glob("*.pt"))[-1]
    state: dict[str, Any] = torch.load(newest, weights_only=True)
    return state


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def kill_at(rows: int, config: Path, out: Path, number: signal.Signals) -> int:
    """Start the run, send the signal once `rows` iterations are on record; its exit status."""
    process = subprocess.Popen(
        command(config, out), cwd=CHECKOUT, env=ENVIRONMENT, stderr=subprocess.DEVNULL
    )
    curves = out / "curves.jsonl"
    deadline = time.monotonic() + 200
    while not curves.exists() or len(curves.read_text().splitlines()) < rows:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(number)
    return process.wait(timeout=200)


@pytest.mark.parametrize("detector", ["yolov2", "retinanet"])
def test_a_killed_run_ends_as_one_that_never_stopped(
    tmp_path: Path, small_glyphs: Path, detector: str
) -> None:
    config = recipe(tmp_path, small_glyphs, detector)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = train(config, whole)
    assert done.returncode == 0, done.stderr
    assert kill_at(5, config, killed, signal.SIGKILL) == -signal.SIGKILL
    assert record(killed)["status"] == "running"
    again = train(config, killed)
    assert again.returncode == 0, again.stderr
    assert "continuing from" in again.stdout
    left, right = last_weights(whole), last_weights(killed)
    for name in ("detector", "average", "optimizer", "in_force", "iteration", "random"):
        assert same(left[name], right[name]), name
    one, other = record(whole), record(killed)
    assert one["files"]["detections"] == other["files"]["detections"]
    timed = {"seconds", "images_per_second"}
    rows = [
        [{k: v for k, v in row.items() if k not in timed} for row in run["curves"]]
        for run in (one, other)
    ]
    assert rows[0] == rows[1]
    assert [row["gamma"] for row in rows[0]] == pytest.approx([i * 0.2 for i in range(10)])


def test_sigterm_saves_and_says_so(tmp_path: Path, small_glyphs: Path) -> None:
    config = recipe(tmp_path, small_glyphs, "yolov2")
    assert kill_at(2, config, tmp_path / "run", signal.SIGTERM) == 75
    stopped = record(tmp_path / "run")
    assert stopped["status"] == "interrupted"
    assert last_weights(tmp_path / "run")["iteration"] == stopped["curves"][-1]["iteration"]


def test_a_finished_run_is_not_run_again_and_another_is_refused(
    tmp_path: Path, small_glyphs: Path
) -> None:
    config = recipe(tmp_path, small_glyphs, "yolov2", "workers: 1\n  validate_every: 5")
    out = tmp_path / "run"
    assert train(config, out, "train.iterations=5").returncode == 0
    first = (out / "record.json").read_bytes()
    values = json.loads(first)
    assert values["status"] == "finished"
    assert [entry["iteration"] for entry in values["validations"]] == [5]
    assert values["metrics"]["split"] == "test"
    assert values["data"]["test"]["images"] == 8
    again = train(config, out, "train.iterations=5")
    assert (again.returncode, (out / "record.json").read_bytes()) == (0, first)
    assert "already finished" in again.stderr
    other = train(config, out, "train.iterations=6")
    assert other.returncode == 2
    assert "another configuration (train.iterations: 5 there, 6 now)" in other.stderr


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.root=nowhere", "nowhere"),
        ("data.train=trian", "trian"),
        ("data.classes=[disc, dics]", "'dics'"),
        ("optimizer.lr=1e30", "not finite"),
    ],
)
def test_what_cannot_work_ends_with_a_message_and_a_record(
    tmp_path: Path, small_glyphs: Path, override: str, message: str
) -> None:
    config = recipe(tmp_path, small_glyphs, "yolov2")
    done = train(config, tmp_path / "run", override)
    failed = record(tmp_path / "run")
    assert done.returncode in (1, 2)
    assert failed["status"] == "failed"
    if "lr" in override:
        assert failed["error"]["type"] == "FloatingPointError"
        assert "images of the batch" in failed["error"]["message"]
    else:
        assert "Traceback" not in done.stderr
        assert message in done.stderr
        assert message in failed["error"]["message"]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, small_glyphs: Path
) -> None:
    config = recipe(tmp_path, small_glyphs, "yolov2")
    out = tmp_path / "run"
    assert kill_at(7, config, out, signal.SIGTERM) == 75
    newest = sorted((out / "checkpoints").glob("*.pt"))[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    again = train(config, out)
    assert again.returncode == 0, again.stderr
    assert "trying the one before it" in again.stdout
    assert record(out)["status"] == "finished"
