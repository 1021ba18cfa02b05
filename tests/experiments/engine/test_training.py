"""One run as a user starts it: finished, killed and continued, refused, failed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.engine.checkpoint import load_checkpoint
from experiments.errors import UsageError


def test_sigterm_saves_and_says_so(runs, tmp_path: Path) -> None:
    small, out = runs(), tmp_path / "run"
    run = small.start(out, "train.iterations=100000", "train.checkpoint_every=100000")
    small.until(lambda: small.rows(out) >= 2, run)
    run.send(signal.SIGTERM)
    assert run.wait() == 75
    stopped = small.record(out)
    assert stopped["status"] == "interrupted"
    assert small.last_state(out)["iteration"] == stopped["curves"][-1]["iteration"]


def test_sigterm_before_training_ends_with_a_record_too(runs, tmp_path: Path) -> None:
    small, out = runs(), tmp_path / "run"
    slow = "import time; from experiments.run import training; real = training.open_splits;"
    slow += "training.open_splits = lambda config: (time.sleep(600), real(config))[1]"
    run = small.start(out, before=slow)
    small.until((out / "record.json").exists, run)
    run.send(signal.SIGTERM)
    assert run.wait() == 75
    assert small.record(out)["status"] == "interrupted"
    again = small.train(out)
    assert again.process.exitcode == 0, again.told
    assert small.record(out)["status"] == "finished"


def test_a_finished_run_is_not_run_again_and_another_is_refused(runs, tmp_path: Path) -> None:
    small, out = runs(), tmp_path / "run"
    words = ("train.iterations=5", "train.workers=1", "train.validate_every=5")
    run = small.train(out, *words)
    assert run.process.exitcode == 0, run.told
    first = (out / "record.json").read_bytes()
    values = json.loads(first)
    assert values["status"] == "finished"
    assert [entry["iteration"] for entry in values["validations"]] == [5]
    assert values["metrics"]["split"] == "test"
    assert values["data"]["test"]["images"] == 8
    again = small.train(out, *words)
    assert (again.process.exitcode, (out / "record.json").read_bytes()) == (0, first)
    assert "already finished" in again.told
    other = small.train(out, "train.iterations=6", *words[1:])
    assert other.process.exitcode == 2
    assert "another configuration (train.iterations: 5 there, 6 now)" in other.told


def test_an_interrupted_run_goes_on_with_what_does_not_decide_its_result(
    runs, small_glyphs: Path, tmp_path: Path
) -> None:
    small, out = runs(), tmp_path / "run"
    first = small.start(out, "train.iterations=400")
    small.until(lambda: small.rows(out) > 3, first)
    first.send(signal.SIGTERM)
    assert first.wait() == 75
    rows = small.rows(out)
    moved = tmp_path / "elsewhere"
    shutil.copytree(small_glyphs, moved)
    free = ("train.workers=1", "train.threads=1", "train.log_every=3", "train.timeout=60")
    free += ("train.checkpoint_every=7", "tracking.project=other", "arm=mine", f"data.root={moved}")
    same_update = ("train.batch_size=1", "train.accumulate=2")
    again = small.start(out, "train.iterations=400", *free, *same_update)
    small.until(lambda: small.rows(out) > rows + 1, again)
    assert "continuing from" in again.said
    assert "goes on with arm=mine (None before), data.root=" in again.told
    again.send(signal.SIGTERM)
    assert again.wait() == 75
    assert small.record(out)["arm"] == "mine"
    chosen = small.record(out)["arithmetic"]["precision"]
    asked = "bfloat16" if chosen == "float32" else "float32"
    next((moved / "Annotations").glob("*.xml")).write_text("<annotation></annotation>")
    for words, told in (
        (("train.batch_size=4",), "train.batch_size: 1 there, 4 now"),
        (("optimizer.lr=0.5",), "optimizer.lr: 0.001 there, 0.5 now"),
        ((f"train.precision={asked}",), f"train.precision: {chosen!r} there, {asked!r} now"),
        ((f"data.root={moved}", *same_update), "its train data are not those it began with"),
    ):
        other = small.train(out, "train.iterations=400", *words)
        assert other.process.exitcode == 2
        assert told in other.told


def test_a_run_from_before_a_key_existed_is_still_the_same_run(runs, tmp_path: Path) -> None:
    small, out = runs(), tmp_path / "run"
    assert small.train(out, "train.iterations=2").process.exitcode == 0
    path = out / "record.json"
    values = json.loads(path.read_text())
    del values["config"]["train"]["nonfinite"]
    code = "import json, sys; from experiments.record.origin import config_hash as h;"
    code += "v = json.load(open(sys.argv[1])); v['config_hash'] = h(v['config']);"
    code += "json.dump(v, open(sys.argv[1], 'w'))"
    path.write_text(json.dumps(values))
    subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, cwd=Path(__file__).parents[3]
    )
    again = small.train(out, "train.iterations=2")
    assert again.process.exitcode == 0, again.told
    assert "already finished" in again.told


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
    runs, tmp_path: Path, override: str, message: str
) -> None:
    small = runs()
    run = small.train(tmp_path / "run", override)
    failed = small.record(tmp_path / "run")
    assert run.process.exitcode in (1, 2)
    assert failed["status"] == "failed"
    assert "Traceback" not in run.told
    assert message in run.told
    assert message in failed["error"]["message"]
    if "lr" in override:
        assert failed["error"]["type"] == "NonFiniteError"
        assert "images of the batch" in failed["error"]["message"]


def damage(path: Path, how: str) -> None:
    whole = path.read_bytes()
    if how == "truncated":
        path.write_bytes(whole[:1000])
    elif how == "bit flipped":
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    else:
        path.write_bytes(b"")


@pytest.mark.parametrize("how", ["truncated", "bit flipped", "empty"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(runs, tmp_path: Path, how: str) -> None:
    small, out = runs(), tmp_path / "run"
    words = ("train.iterations=100000",)
    run = small.start(out, *words)
    small.until(lambda: small.rows(out) >= 7, run)
    run.send(signal.SIGKILL)
    run.wait()
    before, last = small.checkpoints(out)[-2:]
    newest = out / f"checkpoints/iteration_{last:08d}.pt"
    damage(newest, how)
    with pytest.raises(UsageError, match="damaged or changed"):
        load_checkpoint(newest)
    again = small.start(out, *words)
    small.until(lambda: "continuing from" in again.said, again)
    again.send(signal.SIGTERM)
    assert again.wait() == 75
    assert "trying the one before it" in again.said
    assert f"(iteration {before})" in again.said


def plain(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in plain(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in plain(item)]
    return [value]


def test_a_checkpoint_holds_no_absolute_path_of_the_run(runs, tmp_path: Path) -> None:
    """A run's folder can be moved and goes on where it lies."""
    small, out = runs(), tmp_path / "run"
    words = ("train.iterations=100000",)
    run = small.start(out, *words)
    small.until(lambda: small.rows(out) >= 4, run)
    run.send(signal.SIGTERM)
    assert run.wait() == 75
    texts = [leaf for leaf in plain(small.last_state(out)) if isinstance(leaf, str)]
    assert texts and not [text for text in texts if str(out) in text]
    moved = tmp_path / "elsewhere"
    os.rename(out, moved)
    again = small.start(moved, *words)
    small.until(lambda: "continuing from" in again.said, again)
    again.send(signal.SIGKILL)
    again.wait()


@pytest.mark.slow
def test_a_cold_start_says_what_it_did(runs, tmp_path: Path) -> None:
    """The command as it is typed, imports and all."""
    small, out = runs(), tmp_path / "run"
    words = ["-m", "experiments", "train", "--config", str(small.config), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, *words], cwd=Path(__file__).parents[3], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "mAP (VOC07)" in done.stderr
