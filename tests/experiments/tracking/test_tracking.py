"""The W&B mirror of a run, with the unmodified client and a stand-in server on 127.0.0.1."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.stand_in.wandb_server import StandIn
from tests.stand_in.wandb_store import Run

CHECKOUT = Path(__file__).parents[3]
# One sitting of a run without the training: rows `first` .. `last`, a validation on the way, then
# its end: measured, or cut off as SIGKILL does. `pause` seconds lie between the rows.
SITTING = """
import dataclasses, os, sys, time
from pathlib import Path
import numpy as np
from PIL import Image
from experiments.record import record as records
from experiments.tracking import wandb as tracking
from experiments.evaluation import DetectionCollector, Tables, TruthCollector, evaluate, write_dump

folder, mode, first, last, end, pause = Path(sys.argv[1]), sys.argv[2], *sys.argv[3:7]
tracking.INIT_SECONDS, tracking.FINISH_SECONDS = 4.0, float(os.environ.get("FINISH", "60"))
folder.mkdir(parents=True, exist_ok=True)
Image.new("RGB", (40, 30), "teal").save(folder / "image.png")
truth, found = TruthCollector(), DetectionCollector()
box = np.array([[5.0, 5.0, 25.0, 20.0]], np.float32)
no, yes = np.zeros(1, bool), np.ones(1, np.float32)
truth.add("image", width=40, height=30, path=str(folder / "image.png"), boxes_N4=box,
          labels_N=np.zeros(1, np.int64), difficult_N=no, crowd_N=no, area_N=yes * 300)
found.add("image", box, yes * 0.9, np.zeros(1, np.int64))
tables = Tables(found.table(), *truth.tables(), ("cell",))
metrics = evaluate(tables.detections, tables.truth, tables.images, ("cell",))
settings = {"wandb": mode, "project": "p"}
config = {"loss": {"name": "focal", "gamma": 2.0}, "tracking": settings, "seed": 3}
record = records.start_record(id=folder.name, arm="an arm", config=config, seed=3)
tracker = tracking.open_tracker(folder, record, settings)
with records.CurveWriter(folder) as curves:
    for i in range(int(first), int(last) + 1):
        row = {"iteration": i, "loss": 1.0 / i, "gamma": i / 10, "alpha": 0.25, "grad": None}
        curves.point(row)
        tracker.log(row, i)
        if i == 2:
            curves.validation(i, metrics)
            tracker.validated(metrics, i)
        time.sleep(float(pause))
if end == "killed":
    os._exit(9)
files = {n: records.describe_file(p) for n, p in write_dump(folder, tables).items()}
record = dataclasses.replace(record, status="finished", files=files,
                             metrics=records.read_metrics(metrics))
records.write_record(folder, record)
tracker.finish(record)
print("the run went on")
"""
ROWS = {"_step", "iteration", "loss", "gamma", "alpha"}


class Bench:
    """A run's folder and the server that it is mirrored to."""

    def __init__(self, root: Path, server: StandIn) -> None:
        self.folder, self.server = root / "run", server
        self.environment = server.environment(root / "client")

    def start(self, mode: str, rows: tuple[int, int], end: str = "finished", **more: Any) -> Any:
        pause = str(more.pop("pause", 0.01))
        words = [str(self.folder), mode, *map(str, rows), end, pause]
        return subprocess.Popen(
            [sys.executable, "-c", SITTING, *words],
            cwd=CHECKOUT,
            env=self.environment | {name: str(value) for name, value in more.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def sit(self, mode: str, rows: tuple[int, int], end: str = "finished", **more: Any) -> str:
        process = self.start(mode, rows, end, **more)
        output: str = process.communicate(timeout=300)[0]
        assert process.returncode == (9 if end == "killed" else 0), output
        return output

    def send(self, status: int = 0) -> str:
        """As the next command sends what this run owes."""
        done = subprocess.run(
            [sys.executable, "-m", "experiments.tracking.owed", str(self.folder)],
            cwd=CHECKOUT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == status, done.stderr
        return done.stderr

    def sync(self) -> None:
        """As a user sends offline runs."""
        segments = sorted(map(str, self.folder.glob("wandb/offline-run-*")))
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "sync", *segments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert "rror" not in done.stderr, done.stderr

    @property
    def run(self) -> Run:
        """The one run that the server knows."""
        (run,) = self.server.store.runs.values()
        return run

    def steps(self) -> list[int]:
        return [row["_step"] for row in self.run.history if "loss" in row]


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    with StandIn() as server:
        yield Bench(tmp_path, server)
        assert server.unknown == []


def test_an_offline_run_is_sent_later_with_all_that_the_record_shows(bench: Bench) -> None:
    bench.sit("offline", (1, 4))
    assert bench.server.asked == []
    bench.sync()
    assert bench.steps() == [1, 2, 3, 4]
    assert [row["gamma"] for row in bench.run.history[:4]] == [0.1, 0.2, 0.3, 0.4]
    assert bench.run.history[0].keys() >= ROWS
    assert bench.run.history[1]["val/voc07_map"] == pytest.approx(100.0)
    assert bench.run.summary["voc07_map"] == pytest.approx(100.0)
    assert bench.run.summary["status"] == "finished"
    assert bench.run.plain_config["loss"] == {"name": "focal", "gamma": 2.0}
    assert bench.run.plain_config["arm"] == bench.run.group == "an arm"
    assert (bench.run.display, bench.run.job_type) == ("an arm, seed 3", "train")
    assert bench.run.tags == ["focal"]
    assert (bench.run.state, bench.run.project) == ("finished", "p")
    assert bench.run.files["record.json"] == (bench.folder / "record.json").read_bytes()
    assert "detections.parquet" in bench.run.files

    (name,) = [n for n in bench.run.files if n.startswith("media/table/per_class")]
    table = json.loads(bench.run.files[name])
    assert table["columns"][:2] == ["class", "voc07_ap"]
    assert table["data"][0][0] == "cell"
    (name,) = [n for n in bench.run.files if n.startswith("media/table/precision_recall")]
    assert len(json.loads(bench.run.files[name])["data"]) == 101
    assert any(n.startswith("media/images/images/1") for n in bench.run.files)
    boxes = [n for n in bench.run.files if n.startswith("media/metadata/boxes2D")]
    assert len(boxes) == 2  # the truth and what was found
    shown = json.loads(bench.run.files[boxes[0]])["box_data"]
    assert shown[0]["position"] == {"minX": 5.0, "minY": 5.0, "maxX": 25.0, "maxY": 20.0}


def test_a_killed_and_resumed_offline_run_is_one_run_without_a_gap(bench: Bench) -> None:
    bench.sit("offline", (1, 5), "killed")
    bench.sit("offline", (4, 8))  # from the checkpoint at 3
    bench.sync()
    assert bench.steps() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert bench.run.history[1]["val/voc07_map"] == pytest.approx(100.0)
    sent = list(bench.server.asked)
    bench.sync()  # nothing is sent twice
    assert bench.server.asked == sent


@pytest.mark.slow
def test_sittings_sent_one_by_one_are_one_run(bench: Bench) -> None:
    bench.sit("offline", (1, 3))
    bench.sync()
    bench.sit("offline", (4, 6))
    bench.sync()
    assert bench.steps() == [1, 2, 3, 4, 5, 6]


def test_a_lost_connection_loses_no_row(bench: Bench) -> None:
    process = bench.start("online", (1, 60), pause=0.1)
    while not bench.server.store.runs or not bench.run.history:
        assert process.poll() is None
        time.sleep(0.05)
    bench.server.down = True
    time.sleep(3)
    bench.server.down = False
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert bench.steps() == list(range(1, 61))
    assert bench.run.state == bench.run.summary["status"] == "finished"
    assert any(name.startswith("media/table/per_class") for name in bench.run.files), output


@pytest.mark.slow
def test_a_network_lost_for_good_does_not_hold_the_run(bench: Bench) -> None:
    rows = 300  # half a minute: the client sends rows together, up to 15 s after the first
    process = bench.start("online", (1, rows), pause=0.1, FINISH=4)
    while not bench.server.store.runs or not bench.run.history:
        assert process.poll() is None
        time.sleep(0.05)
    bench.server.down = True
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert "the run went on" in output and "next command" in output
    assert len(bench.steps()) < rows
    bench.server.down = False
    assert "sent what" in bench.send()
    assert bench.send() == ""  # nothing is owed now
    assert bench.steps() == list(range(1, rows + 1))
    assert bench.run.summary["status"] == "finished"
    assert "record.json" in bench.run.files
    assert bench.server.asked.count("RunResumeStatus") <= 2


def test_a_server_that_cannot_be_reached_makes_the_run_offline(bench: Bench) -> None:
    bench.server.down = True
    output = bench.sit("online", (1, 3))
    assert "mirrored offline" in output and "the run went on" in output
    bench.server.down = False
    bench.send()
    assert bench.steps() == [1, 2, 3]
    assert bench.run.state == bench.run.summary["status"] == "finished"
    assert not list(bench.folder.glob("wandb/offline-run-*"))


@pytest.mark.slow
def test_resuming_online_goes_on_with_the_same_run(bench: Bench) -> None:
    bench.sit("online", (1, 6), "killed", pause=0.5)
    bench.sit("online", (5, 9))
    assert bench.steps() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert bench.run.openings >= 2


@pytest.mark.parametrize(("asked", "recipe"), [("disabled", "offline"), ("offline", "off")])
def test_switched_off_nothing_is_written(bench: Bench, asked: str, recipe: str) -> None:
    bench.environment["WANDB_MODE"] = asked
    bench.sit(recipe, (1, 2))
    assert not (bench.folder / "wandb").exists()
    assert os.listdir(bench.folder)
