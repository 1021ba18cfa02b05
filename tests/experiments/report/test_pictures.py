"""Which images are shown, and what their boxes say."""

import base64
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.evaluation import TruthCollector
from experiments.evaluation.dump import write_table
from experiments.report.arms import make_groups
from experiments.report.evidence.pictures import (
    Boxes,
    _images,
    best_threshold,
    choose,
    encode,
    match,
    overlaps,
)
from experiments.report.load import load_runs


def boxes(rows: list[list[float]], labels: list[int], value: list[float]) -> Boxes:
    return Boxes(np.array(rows, dtype=float), np.array(labels), np.array(value))


def test_overlap_by_hand() -> None:
    assert overlaps(np.array([[0, 0, 2, 2.0]]), np.array([[1, 0, 3, 2.0]]))[0, 0] == pytest.approx(
        1 / 3
    )
    assert overlaps(np.zeros((1, 4)), np.zeros((1, 4)))[0, 0] == 0


def test_found_missed_false_and_ignored_by_hand() -> None:
    truth = boxes([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], [0, 0, 0], [0, 0, 1])
    found = boxes(
        [[0, 0, 10, 10], [1, 0, 11, 10], [40, 0, 50, 10], [20, 0, 30, 10]],
        [0, 0, 0, 1],
        [0.9, 0.8, 0.7, 0.6],
    )
    matched = match(truth, found)
    assert matched.found_D.tolist() == [0, -1, -2, -1]  # found, found again, ignored, wrong class
    assert matched.counts(0.0) == (1, 1, 2)
    assert matched.counts(0.85) == (1, 1, 0)


def test_threshold_is_where_f1_is_highest() -> None:
    truth = boxes([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 0], [0, 0])
    found = boxes([[0, 0, 10, 10], [20, 0, 30, 10], [60, 0, 70, 10]], [0, 0, 0], [0.9, 0.4, 0.3])
    assert best_threshold({"a": match(truth, found)}) == 0.4


def test_the_images_that_differ_most_come_first(small_study: Path) -> None:
    group = make_groups(load_runs([small_study]))[1]
    grid = choose(group, group.best("voc07_map"), 3)
    assert len(grid.pictures) == 3 and grid.note == ""
    assert {run.seed for _, run in grid.runs} == {0}
    gaps = []
    for picture in choose(group, group.best("voc07_map"), 99).pictures:
        counts = [
            sum(mark.kind in ("missed", "false") for mark in panel.marks)
            for panel in picture.panels[1:]
        ]
        gaps.append(abs(counts[0] - counts[1]))
    assert gaps == sorted(gaps, reverse=True) and len(gaps) == 6


def test_lost_images_leave_their_boxes_and_lost_dumps_a_note(
    small_study: Path, tmp_path: Path
) -> None:
    shutil.copytree(small_study, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("detections.parquet"):
        path.unlink()
    group = make_groups(load_runs([tmp_path / "copy"]))[0]
    grid = choose(group, group.best("voc07_map"), 3)
    assert grid.pictures == () and "not beside the record" in grid.note


def test_a_photo_is_shown_turned_as_training_saw_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif)
    truth = TruthCollector()
    for turn in (6, 1):
        truth.add(
            str(turn),
            width=40,
            height=60,
            path=str(tmp_path / "a.jpg"),
            boxes_N4=[],
            labels_N=[],
            turn=turn,
        )
    write_table(tmp_path / "images.parquet", truth.tables()[1], "images", ("cat",))
    shown = _images(tmp_path / "images.parquet")
    pictures = [encode(shown[name].path, shown[name].turn) for name in ("6", "1")]
    sizes = [Image.open(io.BytesIO(base64.b64decode(jpeg))).size for jpeg in pictures]
    assert sizes == [(40, 60), (60, 40)]


def test_names_stand_on_plates_inside_the_picture(small_study: Path) -> None:
    group = make_groups(load_runs([small_study]))[1]
    for picture in choose(group, group.best("voc07_map"), 99).pictures:
        for panel, what in zip(picture.panels, ("all", "some", "some"), strict=False):
            plates = [mark.plate for mark in panel.marks if mark.plate is not None]
            assert what == "some" or len(plates) == len(panel.marks)
            assert not any(mark.plate for mark in panel.marks if mark.kind == "missed")
            for plate in plates:
                assert 0 <= plate.y <= picture.height - plate.height
                assert plate.x == 0 or plate.x + plate.width <= picture.width + 1e-6
