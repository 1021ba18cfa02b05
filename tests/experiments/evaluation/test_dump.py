"""What goes into a dump comes out of it, and what cannot be evaluated is refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.evaluation import (
    DetectionCollector,
    EvaluationError,
    Tables,
    TruthCollector,
    check,
    evaluate,
    read_dump,
    write_dump,
)
from experiments.evaluation.dump import read_table, write_table
from experiments.record.record import read_metrics

CLASSES = ("cat", "dog")


def tables() -> Tables:
    detections, truth = DetectionCollector(), TruthCollector()
    detections.add("b", [[1.25, 2, 11, 12], [0, 0, 5, 5]], [0.5, 0.25], [1, 0])
    detections.add("a", np.zeros((0, 4)), [], [])
    for image_id, boxes in (("a", [[1, 2, 3, 4]]), ("b", [[1, 2, 11, 12], [0, 0, 5, 5]])):
        truth.add(
            image_id,
            width=20,
            height=10,
            path=f"{image_id}.jpg",
            boxes_N4=boxes,
            labels_N=[1, 0][: len(boxes)],
            difficult_N=[False, True][: len(boxes)],
        )
    return Tables(detections.table(), *truth.tables(), CLASSES)


def metrics(changed: Tables) -> dict[str, Any]:
    return evaluate(changed.detections, changed.truth, changed.images, changed.classes)


def test_tables_come_back_equal_and_bytes_repeat(tmp_path: Path) -> None:
    before = tables()
    first = write_dump(tmp_path / "one", before)
    second = write_dump(tmp_path / "two", before)
    assert {kind: path.name for kind, path in first.items()} == {
        "detections": "detections.parquet",
        "truth": "truth.parquet",
        "images": "images.parquet",
    }
    for kind in first:
        assert first[kind].read_bytes() == second[kind].read_bytes()
    after = read_dump(tmp_path / "one")
    pd.testing.assert_frame_equal(after.detections, before.detections)
    pd.testing.assert_frame_equal(after.truth, before.truth)
    pd.testing.assert_frame_equal(after.images, before.images)
    assert after.classes == CLASSES
    assert metrics(after) == metrics(before)


def test_collected_areas_are_those_of_the_boxes() -> None:
    assert tables().truth["area"].tolist() == [4.0, 100.0, 25.0]


def test_the_numbers_fit_the_record() -> None:
    read = read_metrics(metrics(tables()))
    assert read.per_class["dog"].objects == 2
    assert read.per_class["cat"].difficult == 1
    assert read.voc_area_map == pytest.approx(50.0)  # of two dogs the first is found
    assert read.per_class["cat"].voc07_ap is None  # its only object is difficult
    assert read.coco_ap_large is None


def test_without_any_detection_the_numbers_are_zero() -> None:
    given = tables()
    found = evaluate(DetectionCollector().table(), given.truth, given.images, CLASSES)
    assert found["voc07_map"] == found["voc_area_map"] == found["coco_ap"] == 0.0
    assert found["per_class"]["dog"]["detections"] == 0


def test_without_any_object_the_numbers_are_undefined() -> None:
    given = tables()
    found = evaluate(given.detections, given.truth.iloc[:0], given.images, CLASSES)
    assert found["voc07_map"] is found["coco_ap"] is found["per_class"]["dog"]["coco_ap"] is None
    assert found["per_class"]["dog"]["objects"] == 0


def test_without_images_nothing_is_measured() -> None:
    truth, images = TruthCollector().tables()
    found = evaluate(DetectionCollector().table(), truth, images, CLASSES)
    assert found["voc07_map"] is found["coco_ap50"] is None


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("score", 1, np.nan, "detections row 1: score: found nan, allowed: a finite number"),
        ("score", 0, np.inf, "detections row 0: score: found inf"),
        ("x2", 0, 0.5, "detections row 0: box: .* allowed: x1 <= x2 and y1 <= y2"),
        ("y1", 1, np.nan, "detections row 1: box: .* allowed: finite numbers"),
        ("label", 1, 2, r"detections row 1: label: found 2, allowed: 0..1 \(cat, dog\)"),
        ("label", 0, -1, "label: found -1"),
        ("image_id", 0, "bb", "unknown image_id 'bb'; did you mean 'b'"),
    ],
)
def test_a_detection_that_cannot_be_judged_is_named(
    column: str, row: int, value: Any, message: str
) -> None:
    given = tables()
    given.detections.loc[row, column] = value
    with pytest.raises(EvaluationError, match=message):
        metrics(given)


def test_truth_and_images_are_checked_as_well() -> None:
    given = tables()
    given.truth.loc[2, "x2"] = -1
    with pytest.raises(EvaluationError, match="truth row 2: box"):
        metrics(given)
    given = tables()
    given.images.loc[1, "image_id"] = "a"
    with pytest.raises(EvaluationError, match="'a' occurs more than once"):
        metrics(given)
    with pytest.raises(EvaluationError, match="a name occurs more than once"):
        check(given.detections, given.truth, tables().images, ("cat", "cat"))
    renamed = tables().detections.rename(columns={"score": "scores"})
    with pytest.raises(EvaluationError, match="no column 'score'; did you mean 'scores'"):
        evaluate(renamed, given.truth, given.images, CLASSES)


def test_boxes_without_area_are_allowed_and_find_nothing() -> None:
    given = tables()
    given.detections.loc[0, ["x2", "y2"]] = [1.25, 2.0]
    assert metrics(given)["voc_area_map"] == 0.0


def test_collectors_refuse_columns_of_different_length() -> None:
    with pytest.raises(EvaluationError, match="image 'a': 1 boxes, 2 scores, 1 labels"):
        DetectionCollector().add("a", [[0, 0, 1, 1]], [0.5, 0.5], [0])


def test_files_that_are_no_dump_are_named(tmp_path: Path) -> None:
    path = tmp_path / "detections.parquet"
    with pytest.raises(EvaluationError, match="no such file"):
        read_table(path, "detections")
    path.write_bytes(b"")
    with pytest.raises(EvaluationError, match="not a Parquet file"):
        read_table(path, "detections")
    pd.DataFrame({"a": [1]}).to_parquet(path)
    with pytest.raises(EvaluationError, match="expected detections, found a foreign table"):
        read_table(path, "detections")
    write_table(path, tables().truth, "truth", CLASSES)
    with pytest.raises(EvaluationError, match="expected detections, found truth"):
        read_table(path, "detections")


def test_files_of_different_classes_are_not_mixed(tmp_path: Path) -> None:
    write_dump(tmp_path, tables())
    write_table(tmp_path / "truth.parquet", tables().truth, "truth", ("dog", "cat"))
    with pytest.raises(EvaluationError, match="different classes"):
        read_dump(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_table(tmp_path / "truth.parquet", tables().truth, "truth", CLASSES)
    before = path.read_bytes()
    broken = tables().truth.assign(label=["one", "two", "three"])
    with pytest.raises(ValueError, match="invalid literal"):
        write_table(path, broken, "truth", CLASSES)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["truth.parquet"]
