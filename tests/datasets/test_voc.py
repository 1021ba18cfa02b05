from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets import VOC
from datasets.errors import DataError

Make = Callable[..., Path]
CAT = {"name": "cat", "box": (11, 6, 30, 25)}
DOG = {"name": "dog", "box": (1, 1, 60, 40)}


def test_one_based_inclusive_becomes_zero_based_exclusive(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [CAT, DOG]}})
    sample = VOC(str(root), "train", "train", "train").open("train")[0]
    assert sample.boxes_N4.tolist() == [[10, 5, 30, 25], [0, 0, 60, 40]]
    assert sample.image_CHW.shape == (3, 40, 60) and sample.original_hw == (40, 60)
    assert sample.image_id == "a" and sample.labels_N.tolist() == [0, 1]


def test_classes_are_found_in_all_splits_and_sorted(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [DOG]}, "val": {"b": [CAT]}, "test": {"c": []}})
    settings = VOC(str(root), "train", "val", "test")
    assert {settings.open(split).classes for split in ("train", "val", "test")} == {("cat", "dog")}


def test_given_classes_keep_their_order_and_others_are_counted(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [DOG, CAT, {"name": "cow", "box": (1, 1, 9, 9)}]}})
    data = VOC(str(root), "train", "train", "train", classes=("dog", "cat")).open("train")
    assert data.annotation(0).labels_N.tolist() == [0, 1]
    assert data.unknown == {"cow": 1}


def test_a_class_that_is_nowhere_is_an_error_with_the_nearest_name(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [DOG, CAT]}})
    with pytest.raises(DataError, match=r"'dgo'.*did you mean 'dog'.*found: cat, dog"):
        VOC(str(root), "train", "train", "train", classes=("cat", "dgo")).open("train")


@pytest.mark.parametrize(
    ("policy", "objects", "ignored"), [("ignore", 2, 1), ("drop", 1, 0), ("keep", 2, 0)]
)
def test_difficult_policies(make_voc: Make, policy: str, objects: int, ignored: int) -> None:
    root = make_voc({"train": {"a": [CAT, DOG | {"difficult": 1}]}})
    data = VOC(str(root), "train", "train", "train", difficult=policy).open("train")  # type: ignore[arg-type]
    labels = data.annotation(0)
    assert (len(labels.labels_N), int(labels.ignore_N.sum())) == (objects, ignored)


def test_a_missing_difficult_counts_as_not_difficult(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [CAT | {"difficult": None}]}})
    assert not VOC(str(root), "train", "train", "train").open("train").annotation(0).difficult_N[0]


BAD = {
    "swapped": ((30, 25, 11, 6), [10, 5, 30, 25]),
    "outside": ((-9, -9, 70, 25), [0, 0, 60, 25]),
    "zero_size": ((5, 5, 5, 20), None),
    "not_a_number": (("x", 5, 9, 20), None),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_bad_labels_are_mended_skipped_or_fail_and_named(make_voc: Make, kind: str) -> None:
    written, mended = BAD[kind]
    root = make_voc({"train": {"a": [CAT, {"name": "cat", "box": written}], "b": [DOG]}})
    fixed = VOC(str(root), "train", "train", "train").open("train")
    assert [(f.file, f.object, f.kind) for f in fixed.problems] == [("Annotations/a.xml", 2, kind)]
    boxes = fixed.annotation(0).boxes_N4.tolist()
    assert boxes == [[10, 5, 30, 25]] + ([mended] if mended else [])
    skipped = VOC(str(root), "train", "train", "train", bad_label="skip").open("train")
    assert len(skipped.annotation(0).boxes_N4) == 1 and len(skipped.problems) == 1
    with pytest.raises(DataError, match=r"a\.xml, object 2: cat: .*doctor --fix"):
        VOC(str(root), "train", "train", "train", bad_label="fail").open("train")


def test_a_pixel_beyond_the_edge_is_neither_changed_nor_reported(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [{"name": "cat", "box": (0, 0, 61, 40)}]}})
    data = VOC(str(root), "train", "train", "train", bad_label="fail").open("train")
    assert data.annotation(0).boxes_N4.tolist() == [[-1, -1, 61, 40]]


def test_small_boxes_are_left_out_without_a_report(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [CAT, {"name": "cat", "box": (1, 1, 3, 30)}]}})
    data = VOC(str(root), "train", "train", "train", min_box_px=4).open("train")
    assert len(data.annotation(0).boxes_N4) == 1 and data.problems == []


def test_zero_based_files(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [{"name": "cat", "box": (0, 0, 59, 39)}]}})
    data = VOC(str(root), "train", "train", "train", first_pixel=0).open("train")
    assert data.annotation(0).boxes_N4.tolist() == [[0, 0, 60, 40]]


def test_devkit_splits_join_years_and_tell_equal_names_apart(make_voc: Make) -> None:
    make_voc({"train": {"a": [CAT]}, "test": {"t": [CAT]}}, folder="kit/VOC2007")
    root = make_voc({"train": {"b": [DOG], "c": []}}, folder="kit/VOC2012").parent
    data = VOC(str(root), "2007/train+2012/train", "2007/test", "2007/test").open("train")
    assert [data.annotation(i).image_id for i in range(3)] == ["a", "b", "c"]
    make_voc({"train": {"a": [DOG]}}, folder="kit/VOC2012")
    twice = VOC(str(root), "2007/train+2012/train", "2007/test", "2007/test").open("train")
    assert [twice.annotation(i).image_id for i in range(2)] == ["VOC2007/a", "VOC2012/a"]


def test_splits_directly_under_image_sets_endings_and_per_class_lists(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [CAT], "b": [], "c d": [DOG]}})
    (root / "ImageSets/mine.txt").write_text("\ufeffa.jpg\n\n b  1\nc d  0\na -1\na\n")
    data = VOC(str(root), "mine", "mine", "mine").open("train")
    assert [data.annotation(i).image_id for i in range(len(data))] == ["a", "b", "c d"]


def test_images_may_be_png(make_voc: Make, draw_image: Callable[..., None]) -> None:
    root = make_voc({"train": {"a": [CAT]}}, images=False)
    draw_image(root / "JPEGImages/a.PNG", 0)
    assert VOC(str(root), "train", "train", "train").open("train")[0].image_CHW.dtype.itemsize == 1


def test_a_missing_size_is_read_from_the_image(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [CAT]}})
    path = root / "Annotations/a.xml"
    path.write_text(path.read_text().replace("<width>60</width>", ""))
    labels = VOC(str(root), "train", "train", "train").open("train").annotation(0)
    assert labels.size_hw == (40, 60)


def test_the_hash_tells_labels_classes_and_images_apart_but_not_places(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [CAT, DOG]}})
    copy = make_voc({"train": {"a": [CAT, DOG]}}, folder="copy")

    def content(folder: Path, **settings: object) -> str:
        return VOC(str(folder), "train", "train", "train", **settings).open("train").content_hash()  # type: ignore[arg-type]

    assert content(root) == content(copy)
    assert content(root) != content(root, classes=("dog", "cat"))
    first = content(copy)
    (copy / "JPEGImages/a.jpg").write_bytes(b"other")
    second = content(copy)
    make_voc({"train": {"a": [CAT, DOG | {"difficult": 1}]}}, folder="copy")
    assert len({first, second, content(copy)}) == 3


def test_unreadable_numbers_do_not_reach_boxes(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [{"name": "cat", "box": ("nan", "inf", "1e300", "")}]}})
    data = VOC(str(root), "train", "train", "train").open("train")
    assert np.isfinite(data.columns["boxes"]).all() and len(data.problems) == 1
