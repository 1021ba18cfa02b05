"""A run killed anywhere, and given again, ends as one that was never stopped: bit for bit."""

import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

KILLS = 12
ITERATIONS = 12
TIMED = {"seconds", "images_per_second"}
WORDS = (
    f"train.iterations={ITERATIONS}",
    "train.accumulate=2",
    "train.validate_every=4",
    "train.keep_best=2",
)
CASES = [(detector, workers) for detector in ("yolov2", "retinanet") for workers in (0, 2)]
# A checkpoint's file is written, then its checksum, then it gets its name: time to look in between.
SLOW_DISK = """
import os, time
real = os.fsync
os.fsync = lambda file: (time.sleep(0.25), real(file))
"""
SLOW_VALIDATION = """
import time
from pathlib import Path
from experiments.run import measuring
real = measuring.measure
def slow(*arguments):
    with Path({mark!r}).open("a") as file:
        file.write("begun\\n")
    time.sleep(0.3)
    return real(*arguments)
measuring.measure = slow
"""


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def assert_same_end(small: Any, whole: Path, killed: Path) -> None:
    left, right = small.last_state(whole), small.last_state(killed)
    for name in left.keys() - {"seconds"}:
        assert same(left[name], right[name]), name
    one, other = small.record(whole), small.record(killed)
    assert other["status"] == "finished"
    assert one["files"]["detections"] == other["files"]["detections"]
    assert one["metrics"] == other["metrics"]
    assert one["validations"] == other["validations"] and len(one["validations"]) == 3
    rows = [
        [{key: value for key, value in row.items() if key not in TIMED} for row in run["curves"]]
        for run in (one, other)
    ]
    assert rows[0] == rows[1] and len(rows[0]) == ITERATIONS
    assert small.checkpoints(whole, "best") == small.checkpoints(killed, "best")
    assert not list((killed / "checkpoints").glob(".*"))


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any, str, int], Path]:
    """The run that is never stopped, once for each case."""
    done: dict[tuple[str, int], Path] = {}

    def whole(small: Any, detector: str, workers: int) -> Path:
        if (detector, workers) not in done:
            out = tmp_path_factory.mktemp("whole") / "run"
            run = small.train(out, *WORDS, f"train.workers={workers}")
            assert run.process.exitcode == 0, run.told
            done[detector, workers] = out
        return done[detector, workers]

    return whole


def grown(small: Any, out: Path, rows: int) -> bool:
    return bool(small.rows(out) > rows)


def kill_and_go_on(small: Any, out: Path, due: Callable[[], bool], *words: str, **options) -> None:
    run = small.start(out, *words, **options)
    small.until(due, run)
    run.send(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert small.record(out)["status"] == "running"
    again = small.train(out, *words)
    assert again.process.exitcode == 0, again.told


@pytest.mark.parametrize(("detector", "workers"), [("yolov2", 2), ("retinanet", 0)])
def test_killed_once(runs, wholes, tmp_path: Path, detector: str, workers: int) -> None:
    """The sample of the matrix below that every test run takes."""
    small, out = runs(detector), tmp_path / "killed"
    words = (*WORDS, f"train.workers={workers}")
    kill_and_go_on(small, out, lambda: small.rows(out) >= 6, *words)
    assert_same_end(small, wholes(small, detector, workers), out)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize(("detector", "workers"), CASES)
def test_killed_at_a_random_moment(
    runs, wholes, tmp_path: Path, detector: str, workers: int, number: int
) -> None:
    """After any row, and any part of the time that an iteration takes."""
    chance = random.Random(f"{detector} {workers} {number}")
    small = runs(detector)
    whole = wholes(small, detector, workers)
    after, wait = chance.randrange(1, ITERATIONS + 2), chance.random() * 0.05

    def due() -> bool:
        if small.rows(tmp_path / "killed") < after:
            return False
        time.sleep(wait)
        return True

    words = (*WORDS, f"train.workers={workers}")
    kill_and_go_on(small, tmp_path / "killed", due, *words)
    assert_same_end(small, whole, tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["yolov2", "retinanet"])
@pytest.mark.parametrize("stage", ["half a file", "no name yet", "the first of all"])
def test_killed_while_a_checkpoint_is_written(
    runs, wholes, tmp_path: Path, detector: str, stage: str
) -> None:
    small, out = runs(detector), tmp_path / "killed"
    folder = out / "checkpoints"

    def due() -> bool:
        if stage == "the first of all":
            return bool(list(folder.glob(".iteration_*.pt.*")))
        if stage == "half a file":
            return bool(list(folder.glob(".iteration_00000006.pt.*")))
        named = (folder / "iteration_00000006.pt").exists()
        return (folder / "iteration_00000006.sha256").exists() and not named

    words = (*WORDS, "train.workers=0")
    kill_and_go_on(small, out, due, *words, before=SLOW_DISK)
    assert_same_end(small, wholes(small, detector, 0), out)


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["yolov2", "retinanet"])
@pytest.mark.parametrize("nth", [1, 3])
def test_killed_during_a_validation(runs, wholes, tmp_path: Path, detector: str, nth: int) -> None:
    """Also where a checkpoint of that very iteration had been written just before."""
    small, out, mark = runs(detector), tmp_path / "killed", tmp_path / "mark"
    before = SLOW_VALIDATION.format(mark=str(mark))
    words = (*WORDS, "train.workers=0")
    kill_and_go_on(
        small,
        out,
        lambda: mark.exists() and len(mark.read_text().splitlines()) >= nth,
        *words,
        before=before,
    )
    assert_same_end(small, wholes(small, detector, 0), out)


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["yolov2", "retinanet"])
def test_killed_again_and_again(runs, wholes, tmp_path: Path, detector: str) -> None:
    """Six kills of one run, wherever it happens to be."""
    small, out = runs(detector), tmp_path / "killed"
    words = (*WORDS, "train.workers=0")
    chance = random.Random(detector)
    for kill in range(6):
        run = small.start(out, *words)
        small.until(partial(grown, small, out, small.rows(out)), run)
        time.sleep(chance.random() * 0.1)
        run.send(signal.SIGKILL)
        if run.wait() == 0:
            assert kill > 0
            break
    assert small.train(out, *words).process.exitcode == 0
    assert_same_end(small, wholes(small, detector, 0), out)
