"""Runs with a tape end as runs without: weights, numbers and detections, bit for bit."""

import functools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

TIMED = {"seconds", "images_per_second"}


def words(stages: int = 5, **changes: object) -> tuple[str, ...]:
    """Of a small run with so many frozen stages; two underscores stand for a dot."""
    backbone = f"{{name: torchvision, arch: resnet18, norm: frozen, frozen_stages: {stages}}}"
    told: dict[str, object] = {
        "detector__backbone": backbone,
        "train__iterations": 8,
        "train__accumulate": 2,
        "train__validate_every": 4,
        "train__checkpoint_every": 2,
        "train__tape": "auto",
    }
    return tuple(f"{k.replace('__', '.')}={v}" for k, v in (told | changes).items())


def bits(value: Any) -> Any:
    """A state with its tensors as bytes, to be compared whole."""
    if isinstance(value, torch.Tensor):
        return (value.dtype, value.shape, value.numpy().tobytes())
    if isinstance(value, dict):
        return {key: bits(each) for key, each in value.items()}
    return [bits(each) for each in value] if isinstance(value, list | tuple) else value


def assert_same(small: Any, one: Path, other: Path) -> None:
    left, right = small.last_state(one), small.last_state(other)
    for name in left.keys() - {"seconds", "context"}:
        assert bits(left[name]) == bits(right[name]), name
    records = small.record(one), small.record(other)
    assert records[0]["status"] == records[1]["status"] == "finished"
    for name in ("metrics", "val_metrics", "validations", "files"):
        assert records[0][name] == records[1][name], name
    rows = [
        [{k: v for k, v in row.items() if k not in TIMED} for row in r["curves"]] for r in records
    ]
    assert rows[0] == rows[1] and len(rows[0]) == 8


def played(small: Any, run: Path) -> dict[str, Any]:
    told: dict[str, Any] = small.record(run)["tape"]["played"]
    return told


def counts(
    replayed: int = 0, written: int = 0, computed: int = 0, damaged: int = 0
) -> dict[str, int]:
    return {"replayed": replayed, "written": written, "computed": computed, "damaged": damaged}


@pytest.mark.parametrize(
    ("detector", "stages"),
    [
        ("yolov2", 5),
        pytest.param("yolov2", 3, marks=pytest.mark.slow),
        pytest.param("retinanet", 5, marks=pytest.mark.slow),
        pytest.param("retinanet", 3, marks=pytest.mark.slow),
    ],
)
def test_written_and_replayed_runs_end_as_one_without(
    detector: str, stages: int, runs: Callable[..., Any], tmp_path: Path
) -> None:
    """With an average of weights, accumulated batches, several input sizes and validations."""
    small = runs(detector)
    for out, tape in (("without", "off"), ("first", "auto"), ("second", "auto")):
        run = small.train(tmp_path / out, *words(stages, train__tape=tape))
        assert run.process.exitcode == 0, run.told
    assert small.record(tmp_path / "without")["tape"] is None
    for out in ("first", "second"):
        assert_same(small, tmp_path / "without", tmp_path / out)
    # 6 images of val and 8 of test, 8 a batch; val is measured at iterations 4 and 8
    assert played(small, tmp_path / "first") == {
        "train": counts(written=16),
        "val": counts(replayed=1, written=1),
        "test": counts(written=1),
    }
    assert played(small, tmp_path / "second")["train"] == counts(replayed=16)
    told = small.started[-1].told
    assert f"tape: {tmp_path / 'tape'}/" in told and "16 of 16 batches" in told
    assert "tape of train: 16 batches replayed, 0 computed and written, 0 computed\n" in told


def frames(root: Path) -> int:
    return len([path for path in root.glob("tape/*-train-*/*/*") if path.name.isdigit()])


def has_frames(root: Path, count: int) -> bool:
    return frames(root) >= count


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_writers_and_readers_go_on_to_the_same_end(
    workers: int, runs: Callable[..., Any], tmp_path: Path
) -> None:
    small = runs()
    small.train(tmp_path / "without", *words(train__workers=workers, train__tape="off"))
    taped = words(train__workers=workers)
    for kill_at in (3, 7, 11):  # frames there, of 16: each run goes on from its checkpoint
        run = small.start(tmp_path / "killed", *taped)
        small.until(functools.partial(has_frames, tmp_path, kill_at), run)
        run.send(signal.SIGKILL)
        run.wait()
    there = frames(tmp_path)
    assert 11 <= there < 16
    small.train(tmp_path / "other", *taped)  # another arm takes up what the killed one left
    assert played(small, tmp_path / "other")["train"] == counts(there, 16 - there)
    small.train(tmp_path / "killed", *taped)
    assert played(small, tmp_path / "killed")["train"]["written"] == 0
    for out in ("killed", "other"):
        assert_same(small, tmp_path / "without", tmp_path / out)


def test_two_runs_at_a_time_compute_each_batch_once(
    runs: Callable[..., Any], tmp_path: Path
) -> None:
    small = runs()
    small.train(tmp_path / "without", *words(train__tape="off"))
    both = [small.start(tmp_path / out, *words()) for out in "ab"]
    assert [run.wait() for run in both] == [0, 0]
    for out in "ab":
        assert_same(small, tmp_path / "without", tmp_path / out)
    train = [played(small, tmp_path / out)["train"] for out in "ab"]
    assert sum(each["written"] for each in train) == 16
    assert [each["replayed"] + each["written"] for each in train] == [16, 16]


@pytest.mark.slow
def test_a_damaged_frame_is_told_and_computed(runs: Callable[..., Any], tmp_path: Path) -> None:
    small = runs()
    small.train(tmp_path / "first", *words())
    frame = next(tmp_path.glob("tape/*-train-*/000/000005"))
    frame.write_bytes(frame.read_bytes()[:-1] + b"\x01")
    run = small.train(tmp_path / "second", *words())
    assert_same(small, tmp_path / "first", tmp_path / "second")
    assert played(small, tmp_path / "second")["train"] == counts(15, 1, damaged=1)
    assert "000005: damaged; computed again" in run.told


@pytest.mark.slow
def test_over_the_bound_a_run_ends_the_same(runs: Callable[..., Any], tmp_path: Path) -> None:
    small = runs()
    small.train(tmp_path / "without", *words(train__tape="off"))
    for out in ("first", "second"):
        run = small.train(tmp_path / out, *words(), "--tape-gib", "0.0004")
        assert "its bound of 0.0004 GiB (--tape-gib) is reached" in run.told
        assert_same(small, tmp_path / "without", tmp_path / out)
        train = played(small, tmp_path / out)["train"]
        assert 0 < train["replayed"] + train["written"] < 16
        assert sum(train.values()) == 16
    small.train(tmp_path / "none", *words(), "--tape-gib", "0")
    assert small.record(tmp_path / "none")["tape"] is None


@pytest.mark.parametrize(
    ("stages", "seconds", "why"),
    [(0, "null", "no stage of its backbone is frozen"), (5, 600, "train.seconds: with a tape")],
)
def test_a_run_that_can_have_no_tape_says_why(
    stages: int, seconds: object, why: str, runs: Callable[..., Any], tmp_path: Path
) -> None:
    small = runs()
    told = words(stages, train__iterations=1, train__seconds=seconds)
    run = small.train(tmp_path / "run", *told)
    assert f"tape: none: {why}" in run.told
    assert why in small.record(tmp_path / "run")["tape"]["why"]
    assert not (tmp_path / "tape").exists()


@pytest.mark.slow
def test_trials_of_a_w_and_b_agent_share_a_tape(
    runs: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `wandb agent` starts them, here without its server."""
    small = runs()
    told = words(train__tape="sweeps", tracking__wandb="off")
    for out in ("first", "second"):
        agent = {"WANDB_SWEEP_ID": "abc", "WANDB_RUN_ID": out}
        run = small.start(tmp_path / out, *told, before=f"os.environ.update({agent!r})")
        assert run.wait() == 0, run.told
    assert played(small, tmp_path / "second")["train"] == counts(replayed=16)
    assert (tmp_path / "tape-abc/agents").read_text().count("\n") >= 2
    assert not (tmp_path / "tape").exists()


def test_runs_by_hand_have_none_unless_asked_for(runs: Callable[..., Any], tmp_path: Path) -> None:
    small = runs()
    run = small.train(tmp_path / "run", *words(train__iterations=1, train__tape="sweeps"))
    assert "tape" not in run.told and not (tmp_path / "tape").exists()
    assert small.record(tmp_path / "run")["tape"] is None
