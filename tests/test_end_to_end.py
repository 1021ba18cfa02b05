"""From nothing to a report, by the commands a newcomer types, on a small scale."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
SMALL = {
    "train.iterations": 4,
    "train.batch_size": 2,
    "train.checkpoint_every": 2,
    "input.fit": {"mode": "stretch", "height": 96, "width": 96},
}


def experiments(*words: str, cwd: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "experiments", *words],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=400,
    )


def small_sweep(folder: Path, glyphs: Path) -> Path:
    """The shipped sweep.yaml with its own command and metric, two arms, and less of everything."""
    sweep = yaml.safe_load((CHECKOUT / "sweep.yaml").read_text())
    sweep["parameters"] = {
        "config": {
            "values": [
                f"configs/glyphs/{name}.yaml" for name in ("yolov2_focal", "retinanet_soft_gamma")
            ]
        },
        "data.root": {"value": str(glyphs)},
    } | {name: {"value": value} for name, value in SMALL.items()}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(sweep))
    return path


def test_data_sweep_report(tmp_path: Path) -> None:
    glyphs, out = tmp_path / "glyphs", tmp_path / "sweep"
    sizes = ["--train", "12", "--val", "4", "--test", "6"]
    made = experiments("data", "glyphs", "--root", str(glyphs), *sizes)
    assert made.returncode == 0, made.stderr

    swept = experiments("sweep", str(small_sweep(tmp_path, glyphs)), "--out", str(out))
    assert swept.returncode == 0, swept.stdout + swept.stderr
    records = [json.loads(path.read_text()) for path in sorted(out.glob("trials/*/record.json"))]
    assert len(records) == 2
    assert {record["status"] for record in records} == {"finished"}
    assert {record["config"]["detector"]["name"] for record in records} == {"yolov2", "retinanet"}
    for record in records:
        assert [row["iteration"] for row in record["curves"]] == [1, 2, 3, 4]
        assert all("gamma" in row for row in record["curves"])
        assert record["metrics"]["voc07_map"] is not None
    assert len(list(out.rglob("offline-run-*"))) == 2

    reported = experiments("report", str(out), "--out", str(tmp_path / "report"))
    assert reported.returncode == 0, reported.stderr
    page = (tmp_path / "report/report.html").read_text()
    with (tmp_path / "report/table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for record in records:
        assert record["arm"] in page
    assert "data:image/" in page  # test images with truth and detections

    again = experiments("sweep", str(tmp_path / "small.yaml"), "--out", str(out))
    assert again.returncode == 0
    unchanged = [json.loads(path.read_text()) for path in sorted(out.glob("trials/*/record.json"))]
    assert unchanged == records


def test_an_unknown_parameter_is_refused_before_anything_runs(tmp_path: Path) -> None:
    path = small_sweep(tmp_path, tmp_path)
    sweep = yaml.safe_load(path.read_text())
    sweep["parameters"]["loss.gama"] = {"values": [0, 2]}
    path.write_text(yaml.safe_dump(sweep))
    refused = experiments("sweep", str(path), "--out", str(tmp_path / "out"))
    assert refused.returncode == 2
    assert "did you mean 'gamma'" in refused.stderr
    assert not list(tmp_path.rglob("record.json"))
