"""Records on disk to runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.report.load import CURVE_POINTS, ReportError, load_runs, thin

FORMS = ("html", "md")


def test_records_are_found_at_any_depth_and_once(small_study: Path) -> None:
    runs = load_runs([small_study, small_study / "trial-0"])
    assert len(runs) == 37
    assert sum(run.finished for run in runs) == 36


def test_a_folder_without_records_says_so(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no record.json here or below"):
        load_runs([tmp_path])


def test_a_misspelt_folder_is_answered_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    with pytest.raises(ReportError, match="did you mean '.*sweep'"):
        load_runs([tmp_path / "swep"])


def test_a_broken_record_is_named(
    tmp_path: Path, make_run: Callable[..., Path], make_setting: Any
) -> None:
    folder = make_run(
        tmp_path / "a",
        make_setting("yolov2", "yolov2 focal", {"name": "focal", "gamma": 2.0}, 50.0),
        0,
    )
    (folder / "record.json").write_text("{", encoding="utf-8")
    with pytest.raises(ReportError, match="record.json.*broken JSON"):
        load_runs([tmp_path])


def test_thinned_curves_keep_their_mean_and_their_end() -> None:
    points = [
        {"iteration": float(i), "loss": float(i % 7), "gamma": None if i < 5 else 2.0}
        for i in range(1600)
    ]
    curves = thin(points)
    assert len(curves["loss"]) == CURVE_POINTS
    assert curves["iteration"][-1] == 1599
    assert curves["loss"].mean() == pytest.approx(np.mean([i % 7 for i in range(1600)]))
    assert np.isnan(curves["gamma"][0]) and curves["gamma"][-1] == 2.0


@pytest.mark.parametrize("damaged", ["record.json", "curves.jsonl"])
def test_one_damaged_file_among_many_is_listed_and_the_others_are_reported(
    tmp_path: Path,
    make_run: Callable[..., Path],
    make_setting: Any,
    capsys: pytest.CaptureFixture[str],
    damaged: str,
) -> None:
    setting = make_setting("yolov2", "yolov2 focal", {"name": "focal", "gamma": 2.0}, 50.0)
    first, *_ = [make_run(tmp_path / f"r{seed}", setting, seed) for seed in range(3)]
    if damaged == "curves.jsonl":
        values = json.loads((first / "record.json").read_text())
        unfinished = {"status": "running", "curves": [], "validations": []}
        (first / "record.json").write_text(json.dumps(values | unfinished))
        (first / damaged).write_text('{"iteration": 1}\n{"iteration": 2, "los\n{"iteration": 3}\n')
    else:
        (first / damaged).write_bytes(b'{"format": 1, "arm')
    assert main(["report", str(tmp_path), "--images", "0", "--formats", "svg"]) == 0
    said = capsys.readouterr().err
    for text in (said, *((tmp_path / "report" / f"report.{kind}").read_text() for kind in FORMS)):
        assert "r0" in text or "seed 0" in text
        assert ("Left out" if damaged == "record.json" else "no row of curves") in text
    assert len((tmp_path / "report" / "runs.csv").read_text().splitlines()) == 1 + (
        2 if damaged == "record.json" else 3
    )
    assert main(["verify", str(tmp_path / "report"), "--quick"]) in (0, 1)


def test_nothing_but_damaged_records_is_the_users_to_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text("{")
    assert main(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("broken JSON") == 2


def test_a_damaged_table_of_detections_is_listed_and_the_record_still_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = sorted((Path(__file__).parents[3] / "results" / "demo").iterdir())
    for run in [path for path in demo if path.is_dir()][:2]:
        shutil.copytree(run, tmp_path / run.name)
    (tmp_path / run.name / "detections.parquet").write_bytes(b"PAR1 no more")
    assert main(["report", str(tmp_path), "--images", "0", "--formats", "svg"]) == 0
    lost = "detections beside the record changed"
    texts = [(tmp_path / "report" / f"report.{kind}").read_text() for kind in FORMS]
    assert all(lost in text for text in (capsys.readouterr().err, *texts))
    assert len((tmp_path / "report" / "runs.csv").read_text().splitlines()) == 3
