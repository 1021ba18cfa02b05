"""YOLO's text labels in the layouts of ultralytics, Roboflow and Darknet are read as boxes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets import YOLO
from datasets.dataset import Dataset
from datasets.doctor.examine import examine
from datasets.doctor.kinds import REMARKS
from datasets.doctor.repair import repair
from datasets.errors import DataError

Image = Callable[..., None]
BOX = "1 0.5 0.5 0.5 0.25\n"  # of 60x40: 15 15 45 25
NAMES = "names: [cat, dog]\n"


def opened(root: Path, split: str = "train", **options: object) -> Dataset:
    return YOLO(str(root), **options).open(split)  # type: ignore[arg-type]


def write(root: Path, draw: Image, labels: dict[str, str | None]) -> Path:
    """Images at these paths, with the label file that ultralytics and Darknet would look for."""
    for number, (image, text) in enumerate(labels.items()):
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        draw(root / image, number)
        if text is not None:
            swapped = ("/" + image).replace("/images/", "/labels/").lstrip("/")
            label = (root / swapped).with_suffix(".txt")
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_bytes(text.encode())
    return root


LAYOUTS: dict[str, tuple[str, dict[str, str], str]] = {
    "ultralytics": (
        "images/train/a.jpg",
        {"data.yaml": f"path: ../elsewhere\ntrain: images/train\nval: images/val\n{NAMES}"},
        "images/val/b.jpg",
    ),
    "names_by_number": (
        "images/train/a.jpg",
        {"coco8.yaml": "train: images/train\nval: [images/val]\nnames: {0: cat, 1: dog}\n"},
        "images/val/b.jpg",
    ),
    "roboflow": (
        "train/images/a.jpg",
        {"data.yaml": "train: ../train/images\nval: ../valid/images\nnc: 2\n" + NAMES},
        "valid/images/b.jpg",
    ),
    "lists": (
        "images/a.jpg",
        {
            "data.yaml": "train: train.txt\nval: val.txt\n" + NAMES,
            "train.txt": "\ufeff./images/a.jpg\r\n",
            "val.txt": "/content/drive/x/images/b.jpg\n",
        },
        "images/b.jpg",
    ),
    "darknet": (
        "obj_train_data/a.jpg",
        {
            "obj.data": "classes = 2\ntrain = data/train.txt\nvalid = data/test.txt\n"
            "names = data/obj.names\nbackup = backup/\n",
            "obj.names": "cat\ndog\n",
            "train.txt": "data/obj_train_data/a.jpg\n",
            "test.txt": "data/obj_test_data/b.jpg\n",
        },
        "obj_test_data/b.jpg",
    ),
    "folders_alone": (
        "images/train/a.jpg",
        {"classes.txt": "cat\r\ndog\r\n"},
        "images/val/b.jpg",
    ),
}


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_every_layout_gives_the_same_boxes(tmp_path: Path, draw_image: Image, layout: str) -> None:
    train, files, val = LAYOUTS[layout]
    root = write(tmp_path / "set", draw_image, {train: BOX, val: "0 0.25 0.5 0.5 1\n"})
    for name, text in files.items():
        (root / name).write_bytes(text.encode())
    for split, image, box, label in (
        ("train", "a", [15, 15, 45, 25], 1),
        ("val", "b", [0, 0, 30, 40], 0),
    ):
        data = opened(root, split)
        labels = data.annotation(0)
        assert (len(data), data.classes, labels.image_id) == (1, ("cat", "dog"), image)
        np.testing.assert_allclose(labels.boxes_N4, [box], atol=1e-4)
        assert labels.labels_N.tolist() == [label] and data.problems == []
        assert data[0].image_CHW.shape == (3, 40, 60)
    seen = examine(root)
    assert set(seen.splits) >= {"train", "val"} or len(seen.splits) == 2
    assert {finding.kind for finding in seen.findings} <= REMARKS


def one(tmp_path: Path, draw: Image, text: str | None, yaml: str = NAMES) -> Path:
    root = write(tmp_path / "set", draw, {"images/train/a.jpg": text})
    (root / "data.yaml").write_text(f"train: images/train\n{yaml}")
    return root


# What the label file says -> the boxes that are read.
LINES: dict[str, tuple[str | None, list[list[float]]]] = {
    "no_file": (None, []),
    "empty": ("\n \n", []),
    "bom_crlf_tabs": ("\ufeff1\t0.5  0.5 0.5\t0.25\r\n", [[15, 15, 45, 25]]),
    "float_class": ("1.0 0.5 0.5 0.5 0.25", [[15, 15, 45, 25]]),
    "name_for_class": ("dog 0.5 0.5 0.5 0.25", [[15, 15, 45, 25]]),
    "polygon": ("0 0.25 0.25 0.75 0.25 0.5 0.75", [[15, 10, 45, 30]]),
    "oriented": ("0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5", [[6, 4, 30, 20]]),
    "beyond_the_edge": ("0 0.9 0.5 0.4 0.5", [[42, 10, 60, 30]]),
    "negative_width": ("0 0.5 0.5 -0.5 0.25", [[15, 15, 45, 25]]),
    "score": ("0 0.5 0.5 0.5 0.25 0.9", [[15, 15, 45, 25]]),
    "first_track": ("0 0.5 0.5 0.5 0.25 0.9 1", [[15, 15, 45, 25]]),
    "second_track": ("0 0.5 0.5 0.5 0.25 0.9 2", [[15, 15, 45, 25]]),
    "later_track": ("0 0.5 0.5 0.5 0.25 0.9 117", [[15, 15, 45, 25]]),
    "triangle_to_the_edge": ("0 0.25 0.25 0.75 0.25 0.5 1", [[15, 10, 45, 40]]),
    "triangle_written_alike": ("0 0.25 0.25 0.5 0.75 0.5 1.0", [[15, 10, 30, 40]]),
}


@pytest.mark.parametrize("kind", list(LINES))
def test_lines_as_programs_write_them(tmp_path: Path, draw_image: Image, kind: str) -> None:
    text, boxes = LINES[kind]
    data = opened(one(tmp_path, draw_image, text))
    np.testing.assert_allclose(
        data.annotation(0).boxes_N4.reshape(-1, 4), np.reshape(boxes, (-1, 4)), atol=1e-4
    )


# Lines that can't be used -> what is said of them.
LOST = {
    "short": ("0 0.5 0.5", "expected class cx cy w h"),
    "class_unknown": ("7 0.5 0.5 0.1 0.1", "class '7' is none of 0 to 1"),
    "pixels": ("0 300 200 50 40", "expected fractions"),
    "comma": ("0,0.5,0.5,0.1,0.1", "with blanks between"),
    "words": ("0 a b c d", "not a number"),
    "odd_polygon": ("0 0.1 0.1 0.5 0.1 0.5 0.5 0.2", "expected class"),
    "no_width": ("0 0.5 0.5 0 0.2", "no area"),
}


@pytest.mark.parametrize("kind", list(LOST))
def test_lines_that_can_not_be_used_are_named(tmp_path: Path, draw_image: Image, kind: str) -> None:
    line, message = LOST[kind]
    data = opened(one(tmp_path, draw_image, f"{BOX}{line}\n"))
    assert len(data.annotation(0).boxes_N4) == 1
    (problem,) = data.problems
    assert (problem.file, problem.object) == ("labels/train/a.txt", 2)
    assert message in problem.message


@pytest.mark.parametrize(("more", "told"), [("0.9", "read as a score"), ("0.9 2", "as a track's")])
def test_what_a_detector_writes_behind_a_box_is_named(
    tmp_path: Path, draw_image: Image, more: str, told: str
) -> None:
    seen = examine(one(tmp_path, draw_image, f"0 0.5 0.5 0.5 0.25 {more}"))
    (finding,) = [each for each in seen.findings if each.kind == "extra_number"]
    assert told in finding.message


def test_keypoints_are_no_polygon(tmp_path: Path, draw_image: Image) -> None:
    text = "0 0.5 0.5 0.5 0.25 0.1 0.1 2 0.9 0.9 2\n"
    data = opened(one(tmp_path, draw_image, text, f"kpt_shape: [2, 3]\n{NAMES}"))
    np.testing.assert_allclose(data.annotation(0).boxes_N4, [[15, 15, 45, 25]], atol=1e-4)


def test_an_image_without_a_size_has_no_boxes_and_says_so(
    tmp_path: Path, draw_image: Image
) -> None:
    root = one(tmp_path, draw_image, BOX)
    (root / "images/train/a.jpg").write_bytes(b"no image")
    data = opened(root)
    assert [problem.kind for problem in data.problems] == ["unplaced"]


def test_what_is_not_there_is_named(tmp_path: Path, draw_image: Image) -> None:
    root = one(tmp_path, draw_image, BOX)
    with pytest.raises(DataError, match=r"no such split 'test' .*\(found: train\)"):
        opened(root, "test")
    with pytest.raises(DataError, match=r"no class 'dgo'; did you mean 'dog'\?.*classes=null"):
        opened(root, classes=("dgo",))
    (root / "labels/train/a.txt").write_bytes(b"\xff\x00")
    with pytest.raises(DataError, match=r"labels/train/a\.txt: not a text file in UTF-8"):
        opened(root)
    (root / "data.yaml").write_text("names: [a\ntrain: {")
    with pytest.raises(DataError, match=r"data\.yaml: line 2: broken YAML"):
        opened(root)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\nnames: [*b, *b]\ntrain: images/train\n", "aliases"),
        ("nc: 2000000000\ntrain: images/train\nval: images/val\n", "nc: expected 0 to 100,000"),
    ],
)
def test_a_strangers_description_can_not_grow(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "images/train").mkdir(parents=True)
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=told):
        opened(tmp_path, data="data.yaml")


def test_the_repaired_copy_keeps_every_object_that_is_understood(
    tmp_path: Path, draw_image: Image
) -> None:
    text = f"{BOX}0 0.9 0.5 0.4 0.5\n7 0.5 0.5 0.1 0.1\n"
    root = one(tmp_path, draw_image, text)
    with pytest.raises(DataError, match="1 of 3 objects would go: 1 bad_row. --allow-loss"):
        repair(examine(root), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    balance = repair(examine(root), tmp_path / "copy", allow_loss=True)["train"]
    assert (balance.kept, balance.changed, dict(balance.gone)) == (1, 1, {"bad_row": 1})
    before, after = opened(root), opened(tmp_path / "copy")
    np.testing.assert_allclose(
        before.annotation(0).boxes_N4, after.annotation(0).boxes_N4, atol=1e-3
    )
    assert after.problems == [] and after.classes == before.classes


def test_labels_of_an_image_that_is_not_there_are_named(tmp_path: Path, draw_image: Image) -> None:
    root = one(tmp_path, draw_image, BOX)
    (root / "labels/train/lost.txt").write_text(BOX * 2)
    (root / "labels/train/classes.txt").write_text("cat\ndog\n")
    (root / "labels/train/notes.txt").write_text("of last summer\n")
    # None of these can be used, whatever image there were: a class beyond the list, a missing word.
    (root / "labels/train/worse.txt").write_text("99 .5 .5 .1 .1\n0 .5 .5\n0 .5 oops .1 .1\n")
    worse, finding = sorted(opened(root).problems, key=lambda one: one.file, reverse=True)
    assert worse.file == "labels/train/worse.txt" and "3 objects" in worse.message
    assert finding.file == "labels/train/lost.txt" and finding.kind == "missing_image"
    assert "2 objects" in finding.message
    (root / "labels/train/worse.txt").unlink()
    assert examine(root).splits["train"].written == 3
    with pytest.raises(DataError, match="2 of 3 objects would go"):
        repair(examine(root), tmp_path / "copy")


def test_the_copy_keeps_keypoints_and_what_else_data_yaml_says(
    tmp_path: Path, draw_image: Image
) -> None:
    root = one(tmp_path, draw_image, "0 0.9 0.5 0.4 0.5 0.1 0.2 2\n", f"{NAMES}kpt_shape: [1, 3]\n")
    repair(examine(root), tmp_path / "copy")
    assert (tmp_path / "copy/labels/train/a.txt").read_text().endswith(" 0.1 0.2 2\n")
    assert "kpt_shape:" in (tmp_path / "copy/data.yaml").read_text()
    np.testing.assert_allclose(opened(tmp_path / "copy").annotation(0).boxes_N4, [[42, 10, 60, 30]])
