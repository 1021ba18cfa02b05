"""Truth for `eval` and `errors`: read by the reader of training, whatever names it."""

import json
from pathlib import Path
from typing import Any

import pytest

from datasets.errors import DataError
from experiments.evaluation import evaluate
from experiments.evaluation.tables import CORNERS
from experiments.run.truth import load, read_truth

INSTANCE = {
    "images": [{"id": 5, "width": 10, "height": 10, "file_name": "a.jpg"}],
    "categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
    "annotations": [{"image_id": 5, "category_id": 18, "bbox": [1, 2, 3, 4]}],
}
OBJECT = (
    "<object><name>cat</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>"
    "<xmax>10</xmax><ymax>20</ymax></bndbox></object>"
)
SIZE = "<size><width>30</width><height>40</height></size>"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTGAMMA_CACHE", str(tmp_path / "cache"))  # not the user's own


def write_json(folder: Path, values: Any) -> Path:
    path = folder / "file.json"
    path.write_text(json.dumps(values))
    return path


def write_voc(root: Path, xml: str) -> Path:
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "Annotations").mkdir()
    (root / "ImageSets/Main/test.txt").write_text("one\n")
    (root / "Annotations/one.xml").write_text(xml)
    return root


def test_labels_stand_in_order_of_category_ids(tmp_path: Path) -> None:
    truth = read_truth(write_json(tmp_path, INSTANCE), "test")
    assert (truth.classes, truth.label_by_category) == (("cat", "dog"), {17: 0, 18: 1})
    assert truth.objects.loc[0, CORNERS].tolist() == [1, 2, 4, 6]
    assert (truth.objects.loc[0, "area"], truth.objects.loc[0, "label"]) == (12, 1)
    assert truth.images["image_id"].tolist() == ["5"]


def test_voc_corners_become_zero_based_and_exclusive(tmp_path: Path) -> None:
    truth = read_truth(write_voc(tmp_path, f"<annotation>{SIZE}{OBJECT}</annotation>"), "test")
    assert truth.classes == ("cat",) and not truth.listed
    assert truth.objects[CORNERS].to_numpy().tolist() == [[0, 1, 10, 20]]
    assert truth.objects["difficult"].tolist() == [True]
    assert truth.images[["width", "height"]].to_numpy().tolist() == [[30, 40]]


def test_what_can_not_be_read_is_named(tmp_path: Path) -> None:
    write_voc(tmp_path, "<annotation>")
    with pytest.raises(DataError, match=r"one.xml: line 1: broken XML"):
        read_truth(tmp_path, "test")
    with pytest.raises(DataError, match=r"no such split .* \(found: test\)"):
        read_truth(tmp_path, "train")
    with pytest.raises(DataError, match=r"file.json: annotations: missing or not a list"):
        read_truth(write_json(tmp_path, INSTANCE | {"annotations": None}), "test")


def test_annotation_id_0_counts_as_any_other(tmp_path: Path) -> None:
    """pycocotools takes the id 0 of a match for no match."""
    first = INSTANCE["annotations"][0] | {"id": 0}
    truth = write_json(tmp_path, INSTANCE | {"annotations": [first]})
    found = tmp_path / "results.json"
    found.write_text(json.dumps([{key: first[key] for key in first if key != "id"} | {"score": 1}]))
    tables = load(found, truth)
    inputs = (tables.detections, tables.truth, tables.images, tables.classes)
    for backend in ("hotcoco", "pycocotools"):
        metrics = evaluate(*inputs, backend=backend)  # type: ignore[arg-type]
        assert (metrics["coco_ap"], metrics["voc07_map"]) == pytest.approx((100, 100))
