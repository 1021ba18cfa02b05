"""A metric is one file: evaluations, records, tables and W&B know it; older records lack it."""

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.api import load_runs
from experiments.evaluation.dump import read_dump
from experiments.evaluation.measures import measure, measure_keys
from experiments.evaluation.summary import evaluate
from experiments.record.follow import final_metric
from experiments.record.origin import config_hash
from experiments.record.record import load_record, read_metrics, write_record
from experiments.report import write_report
from experiments.report.verify import verify
from experiments.tracking.rows import summary
from tests.calling import call

CHECKOUT = Path(__file__).parents[4]
DEMO = next((CHECKOUT / "results/demo").glob("0000-*"))
MINE = '''
"""How many objects there are for each detection."""

from experiments.evaluation.measures import Measure

MEASURE = Measure("objects each", lambda dump, voc, coco: len(dump.label_N) / len(dump.label_D))
'''


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of before, and the same measured today."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("old", "new"):
        shutil.copytree(DEMO, folder / name)
    path = folder / "old/record.json"
    before = json.loads(path.read_text())
    for key in ("metrics", "val_metrics"):
        before[key].pop("more", None)
    path.write_text(json.dumps(before))
    record, dump = load_record(folder / "new"), read_dump(DEMO)
    again = evaluate(dump.detections, dump.truth, dump.images, dump.classes)
    config = {**record.config, "seed": record.seed + 1}
    write_record(
        folder / "new",
        dataclasses.replace(
            record,
            config=config,
            config_hash=config_hash(config),
            seed=record.seed + 1,
            metrics=read_metrics(again),
            val_metrics=read_metrics(again),
        ),
    )
    return folder


def test_each_file_is_a_metric() -> None:
    assert "coco_ar100" in measure_keys()
    for key in measure_keys():
        assert measure(key).name and callable(measure(key).of)
    with pytest.raises(KeyError):
        measure("voc07_map")


def test_older_records_lack_it_and_newer_ones_have_it(measured: Path) -> None:
    old, new = (load_record(measured / name) for name in ("old", "new"))
    assert old.metrics is not None and new.metrics is not None
    assert old.metrics.value("voc07_map") == pytest.approx(new.metrics.value("voc07_map"))
    recall = new.metrics.value("coco_ar100")
    assert recall is not None and 0 < recall < 100
    kept = json.loads((measured / "new/record.json").read_text())
    assert kept["metrics"]["more"] == {"coco_ar100": recall}
    assert final_metric(kept, "coco_ar100") == final_metric(kept, "val_coco_ar100") == recall
    assert summary(new)["coco_ar100"] == summary(new)["val_coco_ar100"] == recall
    assert "coco_ar100" not in summary(old)


def test_tables_have_the_column_where_a_record_has_the_metric(
    measured: Path, tmp_path: Path
) -> None:
    write_report([measured], tmp_path / "both", images=0, diagnose=False)
    write_report([measured / "old"], tmp_path / "one", images=0, diagnose=False)
    for name, key in (("table.csv", "coco_ar100_mean"), ("runs.csv", "coco_ar100")):
        with (tmp_path / "both" / name).open() as both, (tmp_path / "one" / name).open() as one:
            assert key in csv.DictReader(both).fieldnames
            assert key not in csv.DictReader(one).fieldnames
    table = load_runs(measured).frame()
    assert sorted(table["coco_ar100"].isna()) == [False, True]
    assert load_runs(measured).compare(metric="coco_ar100")["seeds"].tolist() == [1]


def test_a_report_of_before_still_verifies(measured: Path, tmp_path: Path) -> None:
    shutil.copytree(measured / "old", tmp_path / "run")
    write_report([tmp_path / "run"], tmp_path / "report", images=0, diagnose=False)
    assert verify(tmp_path / "report") == []


def test_a_number_that_the_detections_do_not_give_is_found(measured: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(measured / "new", tmp_path / "run")
    path = folder / "record.json"
    values = json.loads(path.read_text())
    values["metrics"]["more"]["coco_ar100"] += 1
    path.write_text(json.dumps(values))
    write_report([folder], tmp_path / "report", images=0, diagnose=False)
    assert any("metrics.more.coco_ar100" in line for line in verify(tmp_path / "report"))


def test_eval_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("eval", "--detections", DEMO, "--out", tmp_path) == 0
    assert "COCO AR100" in capsys.readouterr().out
    assert "coco_ar100" in json.loads((tmp_path / "metrics.json").read_text())["more"]


def test_compare_and_sweeps_know_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweep.yaml"
    text = (CHECKOUT / "sweep.yaml").read_text()
    path.write_text(text.replace("name: voc07_map", "name: coco_ar10"))
    assert call("sweep", path, "--dry-run") == 2
    assert "did you mean 'coco_ar100'" in capsys.readouterr().err
    assert call("compare", DEMO, DEMO, "--metric", "coco_ar10") == 2
    assert "did you mean 'coco_ar100'" in capsys.readouterr().err


def test_a_file_is_all_that_a_metric_takes(tmp_path: Path) -> None:
    """In a checkout of its own, by the command that a user gives."""
    for room in ("experiments", "losses", "datasets", "detectors"):
        kept = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / room, tmp_path / room, ignore=kept)
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    (tmp_path / "experiments/evaluation/measures/objects_each.py").write_text(MINE)
    words = ["eval", "--detections", str(DEMO), "--out", "measured"]
    command = [sys.executable, "-m", "experiments", *words]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "objects each" in told.stdout
    assert json.loads((tmp_path / "measured/metrics.json").read_text())["more"]["objects_each"] > 0
