"""Sweeps on a W&B server: the unmodified client against a stand-in on 127.0.0.1.

As W&B's documentation says to run a sweep, in a checkout, with no variable set but what `wandb
login` keeps: the server's address and the key.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.record.record import changed_files, load_record
from tests.stand_in.checkout import CHECKOUT, linked_checkout
from tests.stand_in.wandb_server import StandIn
from tests.stand_in.wandb_store import Run

HEAD = """
name: small
project: p
method: grid
metric: {name: voc07_map, goal: maximize}
"""
COMMAND = """
command: ["${env}", "${interpreter}", -m, experiments, train, "${args_no_hyphens}"]
"""
TWO = """
parameters:
  config: {value: RECIPE}
  loss.gamma: {values: [0.0, 2.0]}
"""
NESTED = """
parameters:
  config: {value: RECIPE}
  loss: {parameters: {gamma: {values: [0.0, 2.0]}, alpha: {value: null}}}
  optimizer: {parameters: {lr: {value: 1.0e-05}}}
  train: {parameters: {channels_last: {value: false}}}
"""
ENDLESS = 100_000
SIX = f"{TWO}  train.iterations: {{values: [4, 6, {ENDLESS}]}}\n"
PATH = "tester/p/sweep000"


class Bench:
    """A user's checkout, with a sweep file in it."""

    def __init__(self, root: Path, recipe: Path, server: StandIn) -> None:
        self.root, self.recipe, self.server = linked_checkout(root / "checkout"), recipe, server
        self.environment = server.environment(root)

    def write(self, *parts: str) -> None:
        text = "".join(parts).replace("RECIPE", str(self.recipe))
        (self.root / "sweep.yaml").write_text(text)

    def start(self, *words: str, **variables: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=self.root,
            env=self.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, status: int = 0, **variables: str) -> str:
        process = self.start(*words, **variables)
        output = process.communicate(timeout=900)[0]
        assert process.returncode == status, output
        return output

    def agent(self, path: str = PATH) -> str:
        output = self.run("wandb", "agent", path)
        assert "wandb: WARNING" not in output, output
        return output

    def report(self, runs: Path) -> list[dict[str, str]]:
        out = self.root / f"report-of-{runs.name}"
        self.run("experiments", "report", str(runs), "--out", str(out))
        with (out / "table.csv").open() as file:
            return list(csv.DictReader(file))

    @property
    def runs(self) -> list[Run]:
        return list(self.server.store.runs.values())


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
        "import sys; from pathlib import Path; from experiments.record import record as r;"
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


def test_a_sweep_s_run_is_online_and_so_is_the_same_point_of_a_second_sweep(bench: Bench) -> None:
    bench.write(HEAD, COMMAND, TWO.replace("[0.0, 2.0]", "[1.5]"))
    for number in range(2):
        assert f"wandb agent tester/p/sweep00{number}" in bench.run("wandb", "sweep", "sweep.yaml")
        output = bench.agent(f"tester/p/sweep00{number}")
        assert ("already finished" in output) is (number == 1)
    first, second = bench.runs
    assert len(list((bench.root / "runs").iterdir())) == 1
    for run in (first, second):
        assert (run.state, run.exit_code, run.summary["status"]) == ("finished", 0, "finished")
        assert run.summary["voc07_map"] is not None
        assert [row["_step"] for row in run.history if "loss" in row] == [1, 2, 3, 4]
        assert run.plain_config["loss"]["gamma"] == run.plain_config["loss.gamma"] == 1.5
        assert {"record.json", "detections.parquet", "truth.parquet"} <= run.files.keys()
        kinds = {name.split("/")[1] for name in run.files if name.startswith("media/")}
        assert kinds == {"table", "images", "metadata"}
        assert run.display == f"{run.group}, seed 0" and "γ 1.5" in run.group
        assert (run.job_type, run.tags) == ("train", ["retinanet", "glyphs", "focal"])
    pulled = bench.run("experiments", "sweep", "pull", "tester/p/sweep001", "--out", "back")
    assert "1 runs pulled" in pulled


def test_a_sweep_is_created_as_the_file_says_and_its_records_come_back(bench: Bench) -> None:
    bench.write(HEAD, COMMAND, "x-seed: 3\n", TWO)
    output = bench.run("experiments", "sweep", "sweep.yaml", "--backend", "wandb")
    assert f"wandb agent {PATH}" in output and f"sweep pull {PATH}" in output
    assert "WARNING" not in output  # W&B's schema knows no x-seed; it stays here
    sent = yaml.safe_load(bench.server.store.sweeps["sweep000"].config)
    assert "x-seed" not in sent
    given = yaml.safe_load((bench.root / "sweep.yaml").read_text())
    assert sent["parameters"] == given["parameters"] and sent["command"] == given["command"]

    files = finished_record(bench.root / "made")
    runs = {name: bench.server.store.run(name, "p")[0] for name in ("whole", "torn", "no")}
    for run in runs.values():
        run.sweep = "sweep000"
    runs["whole"].files = dict(files)
    runs["torn"].files = files | {"truth.parquet": b"other"}
    pull = ("experiments", "sweep", "pull", PATH, "--out", "back")
    output = bench.run(*pull, status=1)
    assert "torn: files missing or not as recorded: truth" in output
    assert "no: running, and left no record" in output
    assert [folder.name for folder in (bench.root / "back/trials").iterdir()] == ["whole"]
    back = bench.root / "back/trials/whole"
    assert {path.name: path.read_bytes() for path in back.iterdir()} == files

    runs["torn"].files = dict(files)
    del bench.server.store.runs["no"]
    bare = ("experiments", "sweep", "pull", "sweep000", "--out", "back")
    assert "1 runs pulled, 1 were here, 0 without" in bench.run(*bare, WANDB_PROJECT="p")
    output = bench.run(*bare, status=2)  # ours is looked in, and it is not there
    assert "nothing was pulled of softgamma/sweep000; give ENTITY/PROJECT/ID" in output


@pytest.mark.slow
def test_two_agents_finish_six_trials_with_early_stops_and_a_lost_connection(bench: Bench) -> None:
    """Then pulled, for a report equal to that of the machine that trained."""
    bench.write(HEAD, COMMAND, SIX)
    bench.server.store.stop_when = is_endless
    bench.run("wandb", "sweep", "sweep.yaml")
    agents = [bench.start("wandb", "agent", PATH) for _ in range(2)]
    while not any(run.history for run in bench.runs):
        assert any(agent.poll() is None for agent in agents)
        time.sleep(0.1)
    bench.server.down = True
    time.sleep(4)
    bench.server.down = False
    outputs = [agent.communicate(timeout=900)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs

    assert len(bench.runs) == 6
    points = {
        (r.plain_config["loss"]["gamma"], r.plain_config["train"]["iterations"]) for r in bench.runs
    }
    assert points == {(g, i) for g in (0, 2) for i in (4, 6, ENDLESS)}
    assert {run.state for run in bench.runs} == {"finished"}, outputs
    for run in bench.runs:
        steps = [row["_step"] for row in run.history if "loss" in row]
        assert steps == list(range(1, len(steps) + 1))
        stopped = run.name in bench.server.store.stopped
        assert run.summary["status"] == ("interrupted" if stopped else "finished")
        assert ("voc07_map" in run.summary) is not stopped
    assert len(bench.server.store.stopped) == 2

    output = bench.run("experiments", "sweep", "pull", PATH, "--out", "pulled")
    assert "6 runs pulled" in output
    pulled, local = bench.root / "pulled", bench.root / "runs"
    there = {json.dumps(load_record(f).to_json()) for f in local.iterdir()}
    here = {json.dumps(load_record(f).to_json()) for f in (pulled / "trials").iterdir()}
    assert here == there
    assert not any(changed_files(f, load_record(f)) for f in (pulled / "trials").iterdir())
    assert bench.report(pulled) == bench.report(local)


@pytest.mark.slow
def test_nested_parameters_and_a_program_mean_the_same_on_both_engines(bench: Bench) -> None:
    """Both are W&B's own way to write a sweep; the same points give the same report."""
    bench.write(HEAD, "program: train.py\n", NESTED)
    bench.run("wandb", "sweep", "sweep.yaml")
    bench.agent()
    assert {run.state for run in bench.runs} == {"finished"}
    for run, gamma in zip(bench.runs, (0, 2), strict=True):
        config = load_record(run_folder(bench, gamma)).config
        assert (config["loss"]["gamma"], config["loss"]["alpha"]) == (gamma, None)
        assert (config["optimizer"]["lr"], config["train"]["channels_last"]) == (1e-5, False)
        assert run.plain_config["loss"] == config["loss"]
    bench.run("experiments", "sweep", "pull", PATH, "--out", "pulled")
    bench.run("experiments", "sweep", "sweep.yaml", "--out", "embedded")
    ours, theirs = (bench.report(bench.root / name) for name in ("embedded", "pulled"))
    assert ours == theirs and len(ours) == 2


def run_folder(bench: Bench, gamma: float) -> Path:
    """Where the run with that gamma lies."""
    folders = (bench.root / "runs").iterdir()
    return next(f for f in folders if load_record(f).config["loss"]["gamma"] == gamma)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        '["${env}", "${interpreter}", -m, experiments, train, "${args}"]',
        '["${env}", OMP_NUM_THREADS=1, torchrun, --standalone, --nproc_per_node=2, -m,'
        ' experiments, train, "${args_no_hyphens}"]',
    ],
)
def test_a_terminated_agent_ends_its_trial_cleanly(command: str, bench: Bench) -> None:
    bench.write(HEAD, f"command: {command}\n", SIX.replace("[4, 6, ", "["))
    bench.run("wandb", "sweep", "sweep.yaml")
    agent = bench.start("wandb", "agent", PATH)
    folder = wait_for_rows(bench, agent)
    agent.send_signal(signal.SIGTERM)
    agent.communicate(timeout=300)  # all that hold its output have ended
    assert load_record(folder).status == "interrupted"
    assert list((folder / "checkpoints").glob("*.pt"))
    assert bench.runs[0].state == "finished"


@pytest.mark.slow
def test_the_verb_runs_agents_and_a_stopped_one_ends_its_trial_cleanly(bench: Bench) -> None:
    bench.write(HEAD, COMMAND, SIX.replace("[4, 6, ", "["))
    words = ("experiments", "sweep", "sweep.yaml", "--backend", "wandb", "--agents", "1")
    process = bench.start(*words)
    folder = wait_for_rows(bench, process)
    process.terminate()
    process.communicate(timeout=300)
    assert load_record(folder).status == "interrupted"
    assert list((folder / "checkpoints").glob("*.pt"))
    assert bench.runs[0].state == "finished" and bench.runs[0].history
    assert os.listdir(folder / "wandb")


def wait_for_rows(bench: Bench, process: "subprocess.Popen[str]") -> Path:
    """The folder of the one run, once it has trained."""
    while True:
        assert process.poll() is None, process.communicate()[0]
        for curves in (bench.root / "runs").glob("*/curves.jsonl"):
            if curves.read_bytes().count(b"\n") > 2:
                return curves.parent
        time.sleep(0.1)


@pytest.mark.slow
def test_a_run_that_stays_offline_in_a_sweep_says_so_loudly(bench: Bench) -> None:
    bench.write(HEAD, COMMAND, TWO.replace("[0.0, 2.0]", "[0.0]"))
    bench.run("wandb", "sweep", "sweep.yaml")
    output = bench.run("wandb", "agent", PATH, WANDB_MODE="offline")
    assert "THIS RUN STAYS OFFLINE (WANDB_MODE=offline)" in output and "sweep000" in output
    assert bench.runs[0].state == "crashed"


@pytest.mark.slow
def test_what_an_outage_kept_back_is_sent_by_the_next_command(bench: Bench) -> None:
    bench.write(HEAD, COMMAND, SIX.replace(f", {ENDLESS}", "").replace("[0.0, 2.0]", "[0.0]"))
    bench.run("wandb", "sweep", "sweep.yaml")
    agent = bench.start("wandb", "agent", "--count", "1", PATH)
    folder = wait_for_rows(bench, agent)
    bench.server.down = True
    began = time.monotonic()
    while load_record(folder).status != "finished":
        time.sleep(0.2)
    while json.loads((folder / "wandb/mirror.json").read_text())["owed"] and agent.poll() is None:
        time.sleep(0.2)
        bench.server.down = time.monotonic() - began < 180  # the agent itself waits for the server
    agent.communicate(timeout=300)
    bench.server.down = False
    bench.agent()
    assert [run.state for run in bench.runs] == ["finished", "finished"]
    assert [run.summary["status"] for run in bench.runs] == ["finished", "finished"]
    assert {run.sweep for run in bench.runs} == {"sweep000"}
