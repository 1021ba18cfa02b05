"""A trial whose `wandb agent` is gone saves and ends, directly below it or behind a launcher."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
TRIAL = """
import signal, sys, time
from experiments.tracking.agent import ended_with_agent
def save(*_):
    open(sys.argv[1], "a").write("saved ")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
with ended_with_agent():
    open(sys.argv[1], "a").write("began ")
    time.sleep(60)
"""
# As W&B's: the variables of the run are the trial's alone, and it has a process group of its own.
AGENT = """
import os, subprocess, sys
run = {"WANDB_SWEEP_ID": "abc", "WANDB_RUN_ID": "run"}
subprocess.Popen(sys.argv[1:], env=os.environ | run, process_group=0).wait()
"""
LAUNCHER = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"


@pytest.mark.parametrize("launched", [False, True])
def test_a_killed_agent_leaves_no_orphan(launched: bool, tmp_path: Path) -> None:
    note = tmp_path / "note"
    trial = [sys.executable, "-c", TRIAL, str(note)]
    command = [sys.executable, "-c", LAUNCHER, *trial] if launched else trial
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    agent = subprocess.Popen([sys.executable, "-c", AGENT, *command], cwd=CHECKOUT, env=environment)
    wait_for(note, "began ")
    agent.send_signal(signal.SIGTERM)  # not waited for: as a zombie it is gone, too
    wait_for(note, "began saved ")
    agent.wait()


def wait_for(note: Path, words: str) -> None:
    limit = time.monotonic() + 60
    while not note.is_file() or note.read_text() != words:
        assert time.monotonic() < limit
        time.sleep(0.05)
