"""Detections of other programs in forms that are near to those read: read, or told by the entry."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.evaluation.interchange.devkit import write_devkit
from experiments.evaluation.interchange.reading import read_detections
from experiments.evaluation.interchange.results import write_results
from experiments.evaluation.tables import EvaluationError
from tests.experiments.evaluation.interchange.test_reading import (
    CLASSES,
    HEIGHT,
    WIDTH,
    mean_ap,
    perfect,
    truth_of,
)

GAPS = {1: 0, 3: 1, 7: 2}  # category ids as COCO's own have them


def results(folder: Path, **changes: Any) -> Path:
    """Perfect results of a truth whose category ids have gaps, rows changed."""
    truth = truth_of(categories=GAPS)
    path = write_results(folder / "results.json", perfect(truth), list(GAPS))
    rows = json.loads(path.read_text())
    for row in rows:
        row |= {key: change(row) for key, change in changes.items()}
    path.write_text(json.dumps(rows))
    return path


def test_darknets_own_json_is_read(tmp_path: Path) -> None:
    """`darknet detector test .. -ext_output -out result.json`."""
    truth = truth_of()
    frames = []
    for number, (name, objects) in enumerate(perfect(truth).groupby("image_id"), 1):
        found = []
        for row in objects.itertuples(index=False):
            centre = ((row.x1 + row.x2) / 2 / WIDTH, (row.y1 + row.y2) / 2 / HEIGHT)
            sides = ((row.x2 - row.x1) / WIDTH, (row.y2 - row.y1) / HEIGHT)
            keys = ("center_x", "center_y", "width", "height")
            box = dict(zip(keys, map(float, (*centre, *sides)), strict=True))
            found.append(
                {
                    "class_id": int(row.label),
                    "name": CLASSES[row.label],
                    "relative_coordinates": box,
                    "confidence": float(row.score),
                }
            )
        frames.append({"frame_id": number, "filename": f"data/{name}.jpg", "objects": found})
    path = tmp_path / "result.json"
    path.write_text(json.dumps(frames))
    assert mean_ap(read_detections(path, truth)) == 1.0
    del frames[1]["objects"][0]["confidence"]
    path.write_text(json.dumps(frames))
    with pytest.raises(EvaluationError, match="frame 1: not Darknet's: KeyError"):
        read_detections(path, truth)


@pytest.mark.parametrize("first", [0, 1])
def test_classes_are_counted_where_the_truths_ids_have_gaps(tmp_path: Path, first: int) -> None:
    """As ultralytics numbers them for any data but COCO's own."""
    places = {number: place + first for number, place in GAPS.items()}
    path = results(tmp_path, category_id=lambda row: places[row["category_id"]])
    read = read_detections(path, truth_of(categories=GAPS))
    assert mean_ap(read) == 1.0
    assert any(f"count the classes from {first}" in note for note in read.notes)


def test_categories_may_be_names(tmp_path: Path) -> None:
    path = results(tmp_path, category_id=lambda row: CLASSES[GAPS[row["category_id"]]])
    assert mean_ap(read_detections(path, truth_of(categories=GAPS))) == 1.0


@pytest.mark.parametrize(
    ("key", "change", "told"),
    [
        ("score", lambda row: [row["score"]], "entry 0: expected numbers"),
        ("score", lambda _: float("nan"), "entry 0: expected finite numbers"),
        ("bbox", lambda row: [*row["bbox"], 0.9], "entry 0: expected numbers"),
        ("bbox", lambda row: [*row["bbox"][:2], -5, 3], "width and height of 0 or more, found"),
        ("bbox", lambda _: [0.1, 0.2, 0.3, 0.2], "lie within a pixel, the first is"),
        ("category_id", lambda _: float("inf"), "entry 0: expected numbers"),
    ],
)
def test_entries_that_are_no_boxes_are_named(
    tmp_path: Path, key: str, change: Any, told: str
) -> None:
    with pytest.raises(EvaluationError, match=rf"results\.json: .*{told}"):
        read_detections(results(tmp_path, **{key: change}), truth_of(categories=GAPS))


def test_what_is_no_label_is_not_taken_for_one(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text('{"predictions": [{"x": 3, "width": 4, "confidence": 0.9, "class": "cat"}]}')
    with pytest.raises(EvaluationError, match="entry 0 has no image_id"):
        read_detections(path, truth_of())
    path.write_text('[{"image": "000012", "detections": [{"class": "a", "score": 1, "box": [1]}]}]')
    with pytest.raises(EvaluationError, match="box: expected x1, y1, x2, y2, found"):
        read_detections(path, truth_of())


def test_a_file_of_boxes_inside_out_is_named(tmp_path: Path) -> None:
    truth = truth_of()
    table = perfect(truth).rename(columns={"x1": "x2", "x2": "x1"})
    write_devkit(tmp_path, table, CLASSES, "")
    with pytest.raises(EvaluationError, match=r"helmet\.txt: .*xmin <= xmax .*4 of 4 lines"):
        read_detections(tmp_path, truth)


def test_files_may_lie_in_the_one_folder_below(tmp_path: Path) -> None:
    truth = truth_of()
    write_devkit(tmp_path / "results/VOC2007/Main", perfect(truth), CLASSES, "comp3_det_val_")
    assert mean_ap(read_detections(tmp_path, truth)) == 1.0
    write_devkit(tmp_path / "results/VOC2012/Main", perfect(truth), CLASSES, "comp3_det_val_")
    with pytest.raises(EvaluationError, match="name one of them: results/VOC2007/Main, results/"):
        read_detections(tmp_path, truth)


def test_labels_without_scores_are_told_as_such(tmp_path: Path) -> None:
    truth = truth_of()
    for name in truth.images["image_id"]:
        (tmp_path / f"{name}.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    with pytest.raises(EvaluationError, match="without a score, as labels are"):
        read_detections(tmp_path, truth)
    assert np.isfinite(perfect(truth)["score"]).all()
