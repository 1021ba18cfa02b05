"""Perfect detections in every form that the world writes give 100 percent."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets.formats.finder import IMAGE_ENDINGS
from experiments.evaluation import TruthCollector, check
from experiments.evaluation.interchange import names
from experiments.evaluation.interchange.devkit import write_devkit
from experiments.evaluation.interchange.names import Truth
from experiments.evaluation.interchange.reading import Read, read_detections
from experiments.evaluation.interchange.results import write_results
from experiments.evaluation.tables import EvaluationError
from experiments.evaluation.voc import voc_average_precision

CLASSES = ("helmet", "no_helmet", "traffic light")
NAMES = ("GX0_jpg.rf.0ab0", "000012", "my photo", "im3")
WIDTH, HEIGHT = 320, 240


def truth_of(
    names: tuple[str, ...] = NAMES,
    *,
    categories: dict[int, int] | None = None,
    ids: tuple[str, ...] | None = None,
    **more: Any,
) -> Truth:
    """An object of each class in each image, each at a place of its own."""
    collector = TruthCollector()
    for row, name in enumerate(names):
        boxes = [[30 * k + row, 20 * k + row, 30 * k + row + 90, 20 * k + 60] for k in range(3)]
        collector.add(
            ids[row] if ids else name,
            width=WIDTH,
            height=HEIGHT,
            path=f"/data/JPEGImages/{name}.jpg",
            boxes_N4=boxes,
            labels_N=[0, 1, 2],
        )
    return Truth(*collector.tables(), CLASSES, categories or {}, **({"listed": True} | more))


def perfect(truth: Truth) -> pd.DataFrame:
    return truth.objects.assign(score=np.linspace(0.9, 0.1, len(truth.objects)))


def mean_ap(read: Read) -> float:
    truth = read.truth
    dump = check(read.detections, truth.objects, truth.images, truth.classes)
    return voc_average_precision(dump).map_area


def rows(truth: Truth) -> Iterator[Any]:
    return perfect(truth).itertuples(index=False)


# --- one file a class


@pytest.mark.parametrize("prefix", ["comp4_det_test_", "", "results-", "no_"])
def test_devkit_files_with_any_prefix(tmp_path: Path, prefix: str) -> None:
    truth = truth_of()
    write_devkit(tmp_path, perfect(truth), CLASSES, prefix)
    read = read_detections(tmp_path, truth)
    assert mean_ap(read) == 1.0 and read.notes == ()
    before = perfect(truth).sort_values("label", kind="stable", ignore_index=True)
    after = read.detections[["image_id", "label", "x1", "y1", "x2", "y2"]]
    pd.testing.assert_frame_equal(
        after, before[list(after)], check_dtype=False, check_exact=False, atol=1e-6
    )


def test_the_folder_that_detect_writes_is_read(tmp_path: Path) -> None:
    truth = truth_of()
    write_devkit(tmp_path / "voc", perfect(truth), CLASSES, "")
    (tmp_path / "im3.jpg").touch()
    assert mean_ap(read_detections(tmp_path, truth)) == 1.0


def test_a_class_with_a_slash_has_a_file(tmp_path: Path) -> None:
    classes = ("fork/knife", "knife", "n/a")
    truth = replace(truth_of(), classes=classes)
    paths = write_devkit(tmp_path, perfect(truth), classes, "det_")
    assert paths[0].name == "det_fork%2Fknife.txt" and paths[0].parent == tmp_path
    assert mean_ap(read_detections(tmp_path, truth)) == 1.0


def test_a_class_without_a_file_is_one_without_detections(tmp_path: Path) -> None:
    truth = truth_of()
    write_devkit(tmp_path, perfect(truth), CLASSES, "comp4_det_test_")
    (tmp_path / "comp4_det_test_helmet.txt").unlink()
    (tmp_path / "comp4_det_test_trafic light.txt").write_text("")
    read = read_detections(tmp_path, truth)
    assert mean_ap(read) == pytest.approx(2 / 3)
    assert "no file for helmet: taken as without detections" in read.notes[0]
    assert read.notes[1].startswith("comp4_det_test_trafic light.txt: of no class")
    asked = read_detections(tmp_path, truth, ("no_helmet", "helmet"))
    assert mean_ap(asked) == 0.5 and asked.truth.classes == ("no_helmet", "helmet")
    assert "no file" not in " ".join(asked.notes)
    assert "objects of other classes are left out: traffic light 4" in asked.notes
    alone = read_detections(tmp_path, truth, ("no_helmet",))
    assert mean_ap(alone) == 1.0


def test_one_class_that_ends_as_another(tmp_path: Path) -> None:
    truth = truth_of()
    write_devkit(tmp_path, perfect(truth), ("helmet", "no_helmet"), "")
    (tmp_path / "helmet.txt").unlink()
    read = read_detections(tmp_path, truth, ("helmet", "no_helmet"))
    assert mean_ap(read) == 0.5
    assert read.detections["label"].unique().tolist() == [1]  # no_helmet, not helmet after no_


# --- one file an image


def write_per_image(folder: Path, truth: Truth, line: Callable[[Any], str]) -> None:
    for name, group in perfect(truth).groupby("image_id"):
        lines = [line(row) for row in group.itertuples(index=False)]
        (folder / f"{name}.txt").write_text("\n".join(lines))


def corners(row: Any) -> str:
    return f"{CLASSES[row.label]} {row.score} {row.x1} {row.y1} {row.x2} {row.y2}"


def sizes(row: Any) -> str:
    width, height = row.x2 - row.x1, row.y2 - row.y1
    return f"{CLASSES[row.label]} {row.score} {row.x1} {row.y1} {width} {height}"


def centres(row: Any) -> list[float]:
    width, height = (row.x2 - row.x1) / WIDTH, (row.y2 - row.y1) / HEIGHT
    return [row.x1 / WIDTH + width / 2, row.y1 / HEIGHT + height / 2, width, height]


def score_first(row: Any) -> str:
    return " ".join(map(str, [row.label, row.score, *centres(row)]))


def score_last(row: Any) -> str:
    return " ".join(map(str, [row.label, *centres(row), row.score]))


def float_class(row: Any) -> str:
    """As programs write arrays of numbers."""
    return " ".join(map(str, [float(row.label), row.score, *centres(row)]))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (float_class, "class score centre_x"),
        (corners, "left top right bottom"),
        (sizes, "left top width height"),
        (score_first, "class score centre_x"),
        (score_last, "height score, in fractions"),
    ],
)
def test_one_file_an_image(tmp_path: Path, line: Callable[[Any], str], told: str) -> None:
    truth = truth_of()
    write_per_image(tmp_path, truth, line)
    read = read_detections(tmp_path, truth)
    assert mean_ap(read) == 1.0
    assert [note for note in read.notes if told in note]
    left = truth.objects[["x1", "y1", "x2", "y2"]].to_numpy()
    found = read.detections.sort_values(["image_id", "label"])[["x1", "y1", "x2", "y2"]].to_numpy()
    order = truth.objects.sort_values(["image_id", "label"]).index
    assert found == pytest.approx(left[order], abs=1e-3)


def test_pixels_are_counted_as_the_truth_counts_them(tmp_path: Path) -> None:
    voc = truth_of(first_pixel=1)
    moved = voc.objects.assign(x1=voc.objects["x1"] + 1, y1=voc.objects["y1"] + 1)
    write_per_image(tmp_path, truth_of(), corners)
    for name, group in moved.assign(score=0.5).groupby("image_id"):
        text = "\n".join(corners(row) for row in group.itertuples(index=False))
        (tmp_path / f"{name}.txt").write_text(text)
    read = read_detections(tmp_path, voc)
    assert read.detections["x1"].min() == 0


def test_an_image_without_a_file_has_no_detections(tmp_path: Path) -> None:
    truth = truth_of()
    write_per_image(tmp_path, truth, corners)
    (tmp_path / "im3.txt").unlink()
    (tmp_path / "classes.txt").write_text("helmet\n")
    read = read_detections(tmp_path, truth)
    assert "1 of 4 images have no file: without detections" in read.notes
    assert "1 files of no image of the truth left out, classes.txt first" in read.notes
    assert mean_ap(read) == pytest.approx(0.75)


# --- JSON


def results(truth: Truth, ids: list[Any], categories: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            "image_id": ids[row // 3],
            "category_id": categories[one.label],
            "bbox": [one.x1, one.y1, one.x2 - one.x1, one.y2 - one.y1],
            "score": one.score,
        }
        for row, one in enumerate(rows(truth))
    ]


def write(folder: Path, values: Any) -> Path:
    path = folder / "predictions.json"
    path.write_text(json.dumps(values))
    return path


COCO = {0: 0, 1: 1, 7: 2}
IDS = ("0", "1", "2", "3")


@pytest.mark.parametrize("text", [False, True])
def test_cocos_results_with_numbers_as_numbers_or_text(tmp_path: Path, text: bool) -> None:
    truth = truth_of(categories=COCO, ids=IDS)
    found = results(truth, [0, 1, 2, 3], [0, 1, 7])
    if text:
        found = [
            {
                key: [str(v) for v in value] if isinstance(value, list) else str(value)
                for key, value in entry.items()
            }
            for entry in found
        ]
    assert mean_ap(read_detections(write(tmp_path, found), truth)) == 1.0


@pytest.mark.parametrize("key", ["annotations", "predictions", "results"])
def test_results_in_an_object(tmp_path: Path, key: str) -> None:
    truth = truth_of(categories=COCO, ids=IDS)
    found = {key: results(truth, [0, 1, 2, 3], [0, 1, 7])}
    assert mean_ap(read_detections(write(tmp_path, found), truth)) == 1.0
    own = {  # with ids of its own, told by names
        key: results(truth, [10, 11, 12, 13], [3, 2, 1]),
        "categories": [{"id": 3 - k, "name": name} for k, name in enumerate(CLASSES)],
        "images": [{"id": 10 + k, "file_name": f"x/{name}.jpg"} for k, name in enumerate(NAMES)],
    }
    assert mean_ap(read_detections(write(tmp_path, own), truth)) == 1.0


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("categories", [None, {0: 0, 1: 1, 2: 2}])
def test_predictions_of_ultralytics_name_images_and_number_classes(
    tmp_path: Path, first: int, categories: dict[int, int] | None
) -> None:
    truth = truth_of(categories=categories)
    found = results(truth, [NAMES[0], 12, *NAMES[2:]], [first, first + 1, first + 2])
    assert mean_ap(read_detections(write(tmp_path, found), truth)) == 1.0


def test_classes_by_number_need_names_where_the_truth_has_no_list(tmp_path: Path) -> None:
    truth = truth_of(listed=False)
    path = write(tmp_path, results(truth, list(NAMES), [2, 1, 0]))
    with pytest.raises(EvaluationError, match=r"--classes NAME \.\. says which"):
        read_detections(path, truth)
    assert mean_ap(read_detections(path, truth, CLASSES[::-1])) == 1.0


def test_our_own_detections_json_is_read(tmp_path: Path) -> None:
    truth = truth_of()
    found = [
        {
            "image": f"photos/{name}.jpg",
            "detections": [
                {
                    "class": CLASSES[row.label],
                    "score": row.score,
                    "box": [row.x1, row.y1, row.x2, row.y2],
                }
                for row in group.itertuples(index=False)
            ],
        }
        for name, group in perfect(truth).groupby("image_id")
    ]
    assert mean_ap(read_detections(write(tmp_path, found), truth)) == 1.0


def test_what_is_written_as_results_is_read_again(tmp_path: Path) -> None:
    truth = truth_of(categories=COCO, ids=IDS)
    path = write_results(tmp_path / "results.json", perfect(truth), [0, 1, 7])
    assert mean_ap(read_detections(path, truth)) == 1.0
    assert len(read_detections(write(tmp_path, []), truth).detections) == 0


# --- refusals


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "expected COCO's results, a list of .*; found neither"),
        ({"info": 1}, "found an object of info"),
        (7, "found neither"),
        ([{"image_id": 0}], r"entry 0 has no category_id; expected COCO's results"),
        ([5], "entry 0 has no image_id"),
        ({"annotations": [{"image_id": 0, "bbox": []}]}, "have no score: labels, not detections"),
        ([{"image_id": 0, "category_id": 5, "bbox": [0, 0, 1, 1], "score": 1}], "category_id 5"),
        (
            [{"image_id": 0, "category_id": 0, "bbox": [0, 0, 1], "score": 1}],
            "entry 0: expected num",
        ),
        ([{"image_id": 9, "category_id": 0, "bbox": [0, 0, 1, 1], "score": 1}], "another split"),
        ([{"image_id": 0, "category_id": 0, "bbox": [0, "x", 1, 1], "score": 1}], "entry 0: exp"),
        ([{"detections": [{"class": "helmet"}], "image": "a"}], "not the detections.json"),
    ],
)
def test_json_of_another_form_is_refused_by_entry(
    tmp_path: Path, values: Any, message: str
) -> None:
    truth = truth_of(categories=COCO, ids=IDS)
    with pytest.raises(EvaluationError, match=message):
        read_detections(write(tmp_path, values), truth)
    (tmp_path / "predictions.json").write_text("{")
    with pytest.raises(EvaluationError, match="broken JSON"):
        read_detections(tmp_path / "predictions.json", truth)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("helmet.txt", "im3 0.5 1 2 3\n", r"helmet.txt:1: expected 'image score xmin"),
        ("helmet.txt", "\nim3 x 1 2 3 4\n", r"helmet.txt:2: expected .* found 'x' for a number"),
        ("helmet.txt", "im3 0.5 1 nan 3 4\n", r"helmet.txt:1: a value is no finite number"),
        ("helmet.txt", "im4 0.5 1 2 3 4\n", r"1 of 1 images are not in the truth's 4, .*'im4'"),
        ("im3.txt", "helmet 0.5 1 2\n", r"im3.txt:1: expected 'class score left top"),
        ("im3.txt", "hemlet 0.5 1 2 3 4\n", r"none of its classes \(hemlet\)"),
        ("notes.txt", "hello", r"1 text files \(notes.txt\), none of a class .* expected a text"),
        ("a.csv", "", r"holds no text files; expected a text file a class"),
    ],
)
def test_text_of_another_form_is_refused_by_line(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(EvaluationError, match=message):
        read_detections(tmp_path, truth_of())
    with pytest.raises(EvaluationError, match=r"expected a text .* found a file '"):
        read_detections(tmp_path / name, truth_of())


def test_an_empty_file_means_no_detections(tmp_path: Path) -> None:
    (tmp_path / "helmet.txt").touch()
    assert mean_ap(read_detections(tmp_path, truth_of())) == 0.0


def test_a_class_that_is_not_there_is_named() -> None:
    with pytest.raises(EvaluationError, match=r"no class 'helmt'; did you mean 'helmet'"):
        read_detections(Path("x.json"), truth_of(), ("helmt",))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_bytes_give_a_traceback(tmp_path: Path, junk: bytes) -> None:
    for name in ("helmet.txt", "im3.txt", "results.json"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(junk)
        path = folder / name if name.endswith("json") else folder
        try:
            read_detections(path, truth_of())
        except EvaluationError as error:
            assert str(folder) in str(error)


def test_an_image_has_the_endings_here_that_it_has_in_labels() -> None:
    # The referee imports no data room, so the list stands in both.
    assert sorted(names._ENDINGS) == sorted(IMAGE_ENDINGS)
