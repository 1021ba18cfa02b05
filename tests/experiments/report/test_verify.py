"""A report is confirmed, or the file that was altered is named."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from experiments.evaluation.dump import DetectionCollector, Tables, TruthCollector, write_dump
from experiments.evaluation.summary import evaluate
from experiments.record.record import (
    describe_file,
    load_record,
    read_metrics,
    start_record,
    write_record,
)
from experiments.report import ReportError, write_report
from experiments.report.verify import verify

CLASSES = ("disc", "ring")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two measured runs whose metrics come from their own detections, and a report on them."""
    root = tmp_path_factory.mktemp("verify")
    for seed, loss in ((0, "cross_entropy"), (1, "focal")):
        measured_run(root / f"runs/{loss}", loss, seed)
    write_report([root / "runs"], root / "report", images=0)
    return root


def measured_run(folder: Path, loss: str, seed: int) -> None:
    import numpy as np

    draw = np.random.default_rng(seed)
    truth, found = TruthCollector(), DetectionCollector()
    for image in range(4):
        boxes = draw.uniform(0, 40, (3, 2)).repeat(2, axis=0).reshape(3, 4)
        boxes[:, 2:] += 20
        labels, none = np.arange(3) % 2, np.zeros(3, dtype=bool)
        truth.add(
            str(image), width=64, height=64, path=f"{image}.jpg", boxes_N4=boxes, labels_N=labels,
            difficult_N=none, crowd_N=none, area_N=np.full(3, 400.0),
        )  # fmt: skip
        found.add(str(image), boxes + draw.normal(0, 3, (3, 4)), draw.uniform(0, 1, 3), labels)
    folder.mkdir(parents=True)
    rows, images = truth.tables()
    tables = Tables(found.table(), rows, images, CLASSES)
    paths = write_dump(folder, tables)
    record = start_record(
        id=loss, arm=f"yolov2 {loss}", seed=seed, gpus=(),
        config={"detector": {"name": "yolov2"}, "loss": {"name": loss}},
    )  # fmt: skip
    record = dataclasses.replace(
        record,
        status="finished",
        metrics=read_metrics(evaluate(tables.detections, rows, images, CLASSES)),
        files={kind: describe_file(path) for kind, path in paths.items()},
    )
    write_record(folder, record)


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "copy"))


def test_an_untouched_report_is_confirmed_wherever_it_is_moved(copy: Path) -> None:
    assert verify(copy / "report") == []


def test_an_altered_table_is_named(copy: Path) -> None:
    table = copy / "report/table.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("0", "1", 1), encoding="utf-8")
    found = verify(copy / "report", metrics=False)
    assert any("table.csv: was changed" in line for line in found)
    assert any("table.csv: is not the table that the records give" in line for line in found)


def test_altered_detections_are_named(copy: Path) -> None:
    path = copy / "runs/focal/detections.parquet"
    path.write_bytes(path.read_bytes() + b"x")
    (line,) = verify(copy / "report")
    assert "focal/detections.parquet: is not the file recorded" in line


def test_an_altered_number_in_a_record_is_named_and_measured_again(copy: Path) -> None:
    path = copy / "runs/focal/record.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["metrics"]["voc07_map"] -= 5.0
    path.write_text(json.dumps(values), encoding="utf-8")
    load_record(path.parent)
    found = "\n".join(verify(copy / "report"))
    assert "focal/record.json: was changed" in found
    assert "metrics.voc07_map: recorded" in found
    assert "table.csv: is not the table" in found


def test_a_folder_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no such file; give the folder"):
        verify(tmp_path)
