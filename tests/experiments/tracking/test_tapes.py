"""Tapes of W&B's sweeps lie beside their runs, and go when their agents are gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.tracking import tapes


def used(monkeypatch: pytest.MonkeyPatch, runs: Path, pid: int, sweep: str) -> Path:
    """The tapes of a sweep, used by a trial of agent `pid`."""
    monkeypatch.setenv("WANDB_SWEEP_ID", sweep)
    monkeypatch.setattr(tapes, "agent_of", lambda _: pid)
    root = tapes.place(runs)
    assert root == runs / f"tape-{sweep}"
    tapes.register(root)
    return root


def test_outside_of_a_sweep_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    assert tapes.place(tmp_path) is None
    tapes.register(tmp_path / "tape-x")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells when a process started")
def test_a_tape_stays_while_one_of_its_agents_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        for pid in (sleeper.pid, os.getpid()):
            used(monkeypatch, tmp_path, pid, "one")
        second = used(monkeypatch, tmp_path, sleeper.pid, "two")
        (second / "frame").write_bytes(b"x" * 1000)
        tapes.remove_left(tmp_path)
        assert second.is_dir()
    finally:
        sleeper.kill()
        sleeper.wait()
    used(monkeypatch, tmp_path, os.getpid(), "three")  # the next trial beside them
    assert not second.exists() and (tmp_path / "tape-one").is_dir()
    assert "tape-two: its agents are gone" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["", "half line", "1 1 elsewhere\n"])
def test_agents_of_other_machines_may_run(line: str, tmp_path: Path) -> None:
    root = tmp_path / "tape-x"
    root.mkdir()
    (root / "agents").write_text(line)
    tapes.remove_left(tmp_path)
    assert root.is_dir() == ("elsewhere" in line)
