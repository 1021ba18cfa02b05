"""Sweeps on a W&B server: the unmodified client against a stand-in on 127.0.0.1."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.record.record import changed_files, load_record
from tests.stand_in.wandb_server import StandIn
from tests.stand_in.wandb_store import Run

CHECKOUT = Path(__file__).parents[3]
SWEEP = """
name: small
method: grid
metric: {{name: voc07_map, goal: maximize}}
command: ["${{env}}", "${{interpreter}}", -m, experiments, train, "${{args_no_hyphens}}"]
x-seed: 3
parameters:
  config: {{value: {recipe}}}
  loss.gamma: {{values: [0.0, 2.0]}}
  train.iterations: {{values: {iterations}}}
"""
ENDLESS = 100_000


class Bench:
    """A sweep file and a client's environment, in a folder outside the checkout."""

    def __init__(self, root: Path, recipe: Path, server: StandIn) -> None:
        self.root, self.recipe, self.server = root, recipe, server
        self.environment = server.environment(root) | {"PYTHONPATH": str(CHECKOUT)}
        self.write([4, 6, ENDLESS])

    def write(self, iterations: list[int]) -> None:
        text = SWEEP.format(recipe=self.recipe, iterations=iterations)
        (self.root / "sweep.yaml").write_text(text)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, status: int = 0) -> str:
        process = self.start(*words)
        output = process.communicate(timeout=900)[0]
        assert process.returncode == status, output
        return output

    def report(self, runs: Path) -> list[dict[str, str]]:
        out = self.root / f"report-of-{runs.name}"
        self.run("experiments", "report", str(runs), "--out", str(out))
        with (out / "table.csv").open() as file:
            return list(csv.DictReader(file))


@pytest.fixture
def bench(tmp_path: Path, recipe: Path) -> Any:
    with StandIn() as server:
        yield Bench(tmp_path, recipe, server)
        assert server.unknown == []


def is_endless(run: Run) -> bool:
    """A trial that early stopping ends once it has trained a little."""
    train = run.plain_config.get("train", {})
    return train.get("iterations") == ENDLESS and len(run.history) > 3


def finished_record(folder: Path) -> dict[str, bytes]:
    """The files of a small finished run."""
    script = (
        "import sys; from pathlib import Path; from experiments import record as r;"
        "folder = Path(sys.argv[1]);"
        "record = r.start_record(id='a', arm='arm', config={'x': 1}, seed=0);"
        "(folder / 'truth.parquet').write_bytes(b'truth');"
        "import dataclasses as d;"
        "files = {'truth': r.describe_file(folder / 'truth.parquet')};"
        "r.write_record(folder, d.replace(record, status='finished', files=files))"
    )
    folder.mkdir()
    subprocess.run([sys.executable, "-c", script, str(folder)], cwd=CHECKOUT, check=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_sweep_is_created_as_the_file_says_and_its_records_come_back(bench: Bench) -> None:
    output = bench.run("experiments", "sweep", "sweep.yaml", "--backend", "wandb")
    path = "tester/softgamma/sweep000"
    assert f"wandb agent {path}" in output and f"sweep pull {path}" in output
    sent = yaml.safe_load(bench.server.store.sweeps["sweep000"].config)
    assert "x-seed" not in sent
    given = yaml.safe_load((bench.root / "sweep.yaml").read_text())
    assert sent["parameters"] == given["parameters"] and sent["command"] == given["command"]

    files = finished_record(bench.root / "made")
    runs = {name: bench.server.store.run(name, "softgamma")[0] for name in ("whole", "torn", "no")}
    for run in runs.values():
        run.sweep = "sweep000"
    runs["whole"].files = dict(files)
    runs["torn"].files = files | {"truth.parquet": b"other"}
    pull = ("experiments", "sweep", "pull", path, "--out", "back")
    output = bench.run(*pull, status=1)
    assert "torn: files missing or not as recorded: truth" in output
    assert "no: running, and left no record" in output
    assert [folder.name for folder in (bench.root / "back/trials").iterdir()] == ["whole"]
    back = bench.root / "back/trials/whole"
    assert {path.name: path.read_bytes() for path in back.iterdir()} == files

    runs["torn"].files = dict(files)
    del bench.server.store.runs["no"]
    assert "1 runs pulled, 1 were here, 0 without" in bench.run(*pull)


@pytest.mark.slow
def test_two_agents_finish_six_trials_with_early_stops_and_a_lost_connection(bench: Bench) -> None:
    """As W&B's own documentation says to run a sweep; then pulled, for an equal report."""
    bench.server.store.stop_when = is_endless
    bench.run("wandb", "sweep", "--project", "p", "sweep.yaml")
    agents = [bench.start("wandb", "agent", "tester/p/sweep000") for _ in range(2)]
    while not any(run.history for run in bench.server.store.runs.values()):
        assert any(agent.poll() is None for agent in agents)
        time.sleep(0.1)
    bench.server.down = True
    time.sleep(4)
    bench.server.down = False
    outputs = [agent.communicate(timeout=900)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs

    runs = bench.server.store.runs
    assert len(runs) == 6
    points = {
        (r.plain_config["loss"]["gamma"], r.plain_config["train"]["iterations"])
        for r in runs.values()
    }
    assert points == {(g, i) for g in (0, 2) for i in (4, 6, ENDLESS)}
    assert {run.state for run in runs.values()} == {"finished"}, outputs
    for run in runs.values():
        steps = [row["_step"] for row in run.history if "loss" in row]
        assert steps == list(range(1, len(steps) + 1))
        stopped = run.name in bench.server.store.stopped
        assert run.summary["status"] == ("interrupted" if stopped else "finished")
        assert ("voc07_map" in run.summary) is not stopped
    assert len(bench.server.store.stopped) == 2

    output = bench.run("experiments", "sweep", "pull", "tester/p/sweep000", "--out", "pulled")
    assert "6 runs pulled" in output
    pulled, local = bench.root / "pulled", bench.root / "runs"
    there = {json.dumps(load_record(f).to_json()) for f in local.iterdir()}
    here = {json.dumps(load_record(f).to_json()) for f in (pulled / "trials").iterdir()}
    assert here == there
    assert not any(changed_files(f, load_record(f)) for f in (pulled / "trials").iterdir())
    assert bench.report(pulled) == bench.report(local)


@pytest.mark.slow
def test_the_verb_runs_agents_and_a_stopped_agent_ends_its_trial_cleanly(bench: Bench) -> None:
    bench.write([ENDLESS])
    words = ("experiments", "sweep", "sweep.yaml", "--backend", "wandb", "--agents", "1")
    process = bench.start(*words)
    while not any(len(run.history) > 2 for run in bench.server.store.runs.values()):
        assert process.poll() is None
        time.sleep(0.1)
    process.terminate()
    process.communicate(timeout=300)
    (folder,) = (bench.root / "runs").iterdir()
    assert load_record(folder).status == "interrupted"
    assert list((folder / "checkpoints").glob("*.pt"))
    assert os.listdir(folder / "wandb")
