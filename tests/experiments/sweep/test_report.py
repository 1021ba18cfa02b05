"""What a sweep leaves is the same whether it was killed or not, and without a network."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiments.sweep.executors.processes import start_mark
from experiments.sweep.ledger import read_events

CHECKOUT = Path(__file__).parents[3]
SWEEP = """
name: small
method: grid
metric: {{name: voc07_map, goal: maximize}}
command: ["${{env}}", "${{interpreter}}", -m, experiments, train, "${{args_no_hyphens}}"]
parameters:
  config: {{value: {recipe}}}
  loss.gamma: {{values: [0.0, 2.0]}}
  seed: {{values: [0, 1]}}
  train.iterations: {{value: {iterations}}}
  train.checkpoint_every: {{value: 2}}
"""
# Any attempt to reach a network, by any process of the sweep, is refused and written down.
BLOCK = """
import os, socket
class Blocked(socket.socket):
    def connect(self, address):
        if self.family != socket.AF_UNIX:
            with open(os.environ["BLOCKED"], "a") as file:
                file.write(f"{address}\\n")
            raise OSError(101, "Network is unreachable")
        return super().connect(address)
    connect_ex = connect
socket.socket = Blocked
"""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "experiments", *words]


def start(*words: str, prefix: tuple[str, ...] = (), **more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*prefix, *command(*words)],
        cwd=CHECKOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> None:
    output = process.communicate(timeout=900)[0]
    assert process.returncode == 0, output


def trials_of(folder: Path) -> list[int]:
    """The processes of the trials below `folder` that still run, as the ledger names them."""
    starts = [event for event in read_events(folder) if event["event"] == "start"]
    return [event["pid"] for event in starts if start_mark(event["pid"]) == event["mark"]]


def report(folder: Path) -> dict[str, bytes]:
    """The tables of the report of a folder; they hold no times and no paths."""
    out = folder.parent / f"report-of-{folder.name}"
    finish(start("report", str(folder), "--out", str(out)))
    return {name: (out / name).read_bytes() for name in ("table.csv", "per_class.csv", "table.tex")}


def dumps(folder: Path) -> dict[str, Any]:
    """What each trial's files are, by hash: every box and score that was found."""
    records = [path for path in folder.glob("trials/*/record.json")]
    return {path.parent.name: json.loads(path.read_text())["files"] for path in records}


def told(bench: Any) -> list[dict[str, Any]]:
    trials = json.loads(bench.run("status", str(bench.out), "--json")[1])["trials"]
    return [{key: trial[key] for key in ("n", "key", "status", "metric")} for trial in trials]


def test_a_killed_sweep_has_the_status_of_an_undisturbed_one(bench: Any) -> None:
    bench.write("loss.gamma: {values: [0, 1, 2]}\nseed: {values: [0, 1]}\npause: {value: 0.05}")
    draw = random.Random(3)
    for _ in range(3):
        process = bench.start()
        time.sleep(draw.uniform(0.3, 0.8))
        process.kill()
        process.communicate()
    assert bench.run()[0] == 0
    killed = told(bench)
    shutil.rmtree(bench.out)
    assert bench.run()[0] == 0
    assert told(bench) == killed


@pytest.mark.slow
def test_the_report_of_a_killed_sweep_equals_that_of_an_undisturbed_one(
    tmp_path: Path, recipe: Path
) -> None:
    """Real training; coordinator and trials are killed in the middle of it, at random moments."""
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP.format(recipe=recipe, iterations=20))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start("sweep", str(file), "--out", str(whole), "--jobs", "2"))
    draw = random.Random(5)
    rows = 0
    for _ in range(4):
        process = start("sweep", str(file), "--out", str(killed), "--jobs", "2")
        wanted = rows + draw.randint(3, 20)
        while rows < wanted and process.poll() is None:
            curves = killed.glob("trials/*/curves.jsonl")
            rows = sum(len(path.read_text().splitlines()) for path in curves)
            time.sleep(0.02)
        process.kill()
        for pid in trials_of(killed) if draw.random() < 0.7 else ():
            os.kill(pid, signal.SIGKILL)
        process.communicate()
    finish(start("sweep", str(file), "--out", str(killed), "--jobs", "2"))
    assert report(killed) == report(whole)
    assert dumps(killed) == dumps(whole)  # so short a training leaves little in the tables


@pytest.mark.slow
def test_every_rank_of_a_torchrun_trial_has_all_parameters(bench: Any) -> None:
    bench.write("loss.gamma: {values: [0.5, 2.0]}\nseed: {value: 3}")
    words = "-m, torch.distributed.run, --standalone, --nproc-per-node, 2"
    text = bench.file.read_text().replace("-S, -E", words)
    bench.file.write_text(text)
    (bench.root / "trial.py").write_text(
        "import json, os, sys\n"
        "folder, rank = os.environ['SOFTGAMMA_RUN_DIR'], os.environ['RANK']\n"
        "open(f'{folder}/rank{rank}', 'w').write(' '.join(sys.argv[1:]))\n"
        "if rank == '0':\n"
        "    text = json.dumps({'status': 'finished', 'metrics': {}})\n"
        "    open(f'{folder}/record.json', 'w').write(text)\n"
    )
    status, output = bench.run(str(bench.file), "--out", str(bench.out))
    assert status == 0, output
    for folder in (bench.out / "trials").iterdir():
        words = {(folder / f"rank{rank}").read_text() for rank in (0, 1)}
        assert words in ({"loss.gamma=0.5 seed=3"}, {"loss.gamma=2.0 seed=3"})


def network_removed() -> tuple[str, ...]:
    """A prefix that runs a command in a network of its own with nothing in it, if allowed."""
    prefix = ("unshare", "--map-root-user", "--net")
    if shutil.which("unshare") is None:
        return ()
    tried = subprocess.run([*prefix, "true"], capture_output=True)
    return prefix if tried.returncode == 0 else ()


def test_without_a_network_a_sweep_runs_unchanged(tmp_path: Path, recipe: Path) -> None:
    """Python's sockets are blocked in every process; where the system allows, the network is gone
    for the W&B client's own process too.
    """
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(BLOCK)
    file, out, blocked = tmp_path / "sweep.yaml", tmp_path / "out", tmp_path / "blocked"
    file.write_text(SWEEP.format(recipe=recipe, iterations=3).replace("[0, 1]", "[0]"))
    words = ("sweep", str(file), "--out", str(out), "--jobs", "2")
    more = {"PYTHONPATH": str(tmp_path / "site"), "BLOCKED": str(blocked)}
    finish(start(*words, prefix=network_removed(), **more))
    records = [json.loads(path.read_text()) for path in out.glob("trials/*/record.json")]
    assert [record["status"] for record in records] == ["finished"] * 2
    assert len(list(out.glob("trials/*/wandb/offline-run-*"))) == 2
    assert not blocked.exists(), blocked.read_text()
    assert len(report(out)["table.csv"].splitlines()) == 3
