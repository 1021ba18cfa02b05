"""A tiny trial program and a command line that runs sweeps of it, in real processes."""

import json
import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[3]

# Counts to `steps`, with a checkpoint a step; on SIGTERM it ends with status 75. Its journal has a
# line for each start and each step, so that a test can see what was trained twice.
PROGRAM = """
import json, os, signal, sys, time
folder = os.environ["SOFTGAMMA_RUN_DIR"]
given = dict(word.split("=", 1) for word in sys.argv[1:])
steps, pause = int(given.get("steps", 3)), float(given.get("pause", 0))
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))

def path(name):
    return os.path.join(folder, name)

def note(word):
    with open(path("journal"), "a") as file:
        file.write(word + "\\n")

def record(status):
    text = json.dumps({"format": 1, "status": status, "seconds": {"total": 1.0},
                       "metrics": {"voc07_map": 10.0 * float(given.get("loss.gamma", 1))}})
    with open(path("record.part"), "w") as file:
        file.write(text)
    os.replace(path("record.part"), path("record.json"))

note("start")
first = open(path("journal")).read().count("start") == 1
hold = int(given.get("hold", 0)) if first else 0  # the first time, wait there for SIGTERM
done = int(open(path("checkpoint")).read()) if os.path.exists(path("checkpoint")) else 0
if given.get("crash") == "always" or (given.get("crash") == "once" and done == 0):
    if given.get("crash") == "once":
        open(path("checkpoint"), "w").write("1")
    print("about to fall over", flush=True)
    raise ZeroDivisionError("the trial's own words")
while done < steps:
    time.sleep(pause)
    done += 1
    note(f"step {done}")
    with open(path("curves.jsonl"), "a") as file:
        file.write(json.dumps({"iteration": done, "progress": done / steps}) + "\\n")
        value = float(given.get("loss.gamma", 1)) * done
        file.write(json.dumps({"iteration": done, "metrics": {"voc07_map": value}}) + "\\n")
    with open(path("checkpoint.part"), "w") as file:
        file.write(str(done))
    os.replace(path("checkpoint.part"), path("checkpoint"))
    while done == hold and not asked:
        time.sleep(0.01)
    if asked and done < steps:
        record("interrupted")
        sys.exit(75)
record("finished")
"""

# A real run that trains in a moment, once its imports are done.
RECIPE = """
data: {{name: voc, root: {root}, train: train, val: val, test: test}}
detector:
  name: retinanet
  backbone: {{name: darknet19, width: 0.125}}
  pyramid: {{width: 16, levels: 3}}
  head: {{depth: 1, norm: group, groups: 4}}
loss: {{name: focal, alpha: 0.25, gamma: 2.0}}
input: {{fit: {{mode: stretch, height: 64, width: 64}}}}
optimizer: {{name: adamw, lr: 1.0e-3}}
train: {{iterations: 4, batch_size: 2, checkpoint_every: 1000, log_every: 1, workers: 0}}
"""

# The sweep verb alone.
DRIVER = """
import argparse, sys
from experiments.errors import UserError
from experiments.verbs import sweep
parser = argparse.ArgumentParser()
sweep.add_arguments(parser)
try:
    sys.exit(sweep.run(parser.parse_args()))
except UserError as error:
    sys.exit(f"error: {error}")
"""


class Bench:
    """A folder with a trial program, a sweep file, and what came of running it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.out = folder / "out"
        self.file = folder / "sweep.yaml"
        (folder / "trial.py").write_text(PROGRAM)

    def write(self, parameters: str, extra: str = "method: grid") -> Path:
        """Write the sweep file; `parameters` is the YAML below that key."""
        head = f"""
            command: ["${{interpreter}}", -S, -E, {self.root}/trial.py, "${{args_no_hyphens}}"]
            metric: {{name: voc07_map, goal: maximize}}
        """
        body = textwrap.indent(textwrap.dedent(parameters).strip(), "  ")
        text = f"{textwrap.dedent(head)}\n{textwrap.dedent(extra)}\nparameters:\n{body}\n"
        self.file.write_text(text)
        return self.file

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", DRIVER, *words]

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start the sweep (or another of its commands) and return its process."""
        words = words or (str(self.file), "--out", str(self.out), "--jobs", "2")
        return subprocess.Popen(
            self.command(*words),
            cwd=CHECKOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command to its end: exit status and output."""
        process = self.start(*words)
        output = process.communicate(timeout=120)[0]
        return process.returncode, output

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        lines = (self.out / "ledger.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        return [event for event in events if kind in (None, event["event"])]

    def ends(self) -> Counter[int]:
        """How often each trial ended."""
        return Counter(event["n"] for event in self.events("end"))

    def journal(self, n: int) -> list[str]:
        """What trial `n` did, in order."""
        (folder,) = (self.out / "trials").glob(f"{n:04d}-*")
        return (folder / "journal").read_text().splitlines()


@pytest.fixture
def recipe(tmp_path: Path, small_glyphs: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(root=small_glyphs))
    return path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
