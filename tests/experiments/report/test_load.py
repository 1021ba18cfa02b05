"""Records on disk to runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.report.load import CURVE_POINTS, ReportError, load_runs, thin


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
