"""Trials of a sweep on a machine with a GPU: forked warm, they can use it."""

import sys
import time
from pathlib import Path

import pytest
import torch

from experiments.sweep.executors import Task
from experiments.sweep.executors.local import LocalExecutor
from experiments.sweep.executors.warm import TRAINING

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="-m gpu runs it, on a GPU"),
]
TRIAL = """
import sys, torch
print("warm" if "experiments.run.training" in sys.modules else "cold")
print(torch.ones(2, device="cuda").sum().item(), torch.cuda.device_count())
"""


def test_a_warm_trial_uses_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gpu_trial.py").write_text(TRIAL)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}", prepend=":")
    task = Task(0, ["/usr/bin/env", sys.executable, "-m", "gpu_trial"], tmp_path, {})
    with LocalExecutor(1, preload=TRAINING) as executor:
        limit = time.monotonic() + 120
        while not executor.ready() and time.monotonic() < limit:
            time.sleep(0.05)
        executor.start(task)
        executor.release(0)
        ends = executor.wait(120)
    log = (tmp_path / "trial.log").read_text()
    assert [end.exit_code for end in ends] == [0], log
    assert "warm" in log and "2.0 1" in log
