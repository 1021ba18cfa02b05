from collections.abc import Callable
from pathlib import Path

import pytest

from datasets import VOC
from datasets.errors import DataError
from datasets.formats.split_names import coco_splits, voc_splits
from datasets.labels import COCO_CATEGORY_IDS, COCO_CLASSES, VOC_CLASSES
from datasets.layouts import layout_of, open_all
from datasets.stats import describe

Make = Callable[..., Path]
CAT = {"name": "cat", "box": (1, 1, 20, 20)}
DOG = {"name": "dog", "box": (1, 1, 60, 40)}


def test_counts_by_hand(make_voc: Make) -> None:
    bird = {"name": "bird", "box": (1, 1, 9, 9)}
    root = make_voc({"train": {"a": [CAT, CAT | {"difficult": 1}, DOG], "b": [DOG, bird], "c": []}})
    data = VOC(str(root), "train", "train", "train", classes=("cat", "dog")).open("train")
    stats = describe(data)
    assert (stats.images, stats.empty_images, stats.objects, stats.ignored) == (3, 1, 3, 1)
    assert (stats.small, stats.medium, stats.large) == (1, 2, 0)
    rows = [(row.name, row.images, row.objects, row.ignored) for row in stats.per_class]
    assert rows == [("cat", 1, 1, 1), ("dog", 2, 2, 0)]
    assert stats.sides[0] == 20 and stats.sides[-1] == pytest.approx(2400**0.5)
    assert stats.aspects[0] == 1 and stats.aspects[-1] == 1.5
    assert stats.imbalance == 2 and stats.unknown == {"bird": 1}
    assert stats.heights == (40, 40) and stats.widths == (60, 60)


def test_an_empty_split_is_counted_too(make_voc: Make) -> None:
    root = make_voc({"train": {"a": []}})
    stats = describe(VOC(str(root), "train", "train", "train").open("train"))
    assert stats.objects == 0 and stats.sides == () and stats.imbalance == 0


def test_layouts_and_splits_are_recognised(make_voc: Make, make_coco: Make) -> None:
    flat = make_voc({"train": {"a": []}, "val": {"b": []}, "trainval": {}, "cat_train": {}})
    assert voc_splits(flat) == ["train", "val"] and layout_of(flat) == "voc"
    kit = make_voc({"trainval": {"a": []}, "test": {"b": []}}, folder="kit/VOC2007").parent
    assert voc_splits(kit) == ["VOC2007/test", "VOC2007/trainval"]
    coco = make_coco({"images": [], "annotations": [], "categories": []})
    assert coco_splits(coco) == ["annotations/instances_train.json"]
    assert layout_of(coco) == "coco" and layout_of(flat, ["a.json"]) == "coco"
    with pytest.raises(DataError, match="no such folder"):
        layout_of(flat / "nowhere")


def test_all_splits_are_opened_with_the_same_classes(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [DOG]}, "val": {"b": [CAT]}})
    opened = open_all(root)
    assert {name: data.classes for name, data in opened.items()} == {
        "train": ("cat", "dog"),
        "val": ("cat", "dog"),
    }


def test_names_and_ids() -> None:
    assert len(VOC_CLASSES) == 20 and VOC_CLASSES == tuple(sorted(VOC_CLASSES))
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    assert sorted(set(COCO_CATEGORY_IDS)) == list(COCO_CATEGORY_IDS)
    assert (COCO_CATEGORY_IDS[0], COCO_CATEGORY_IDS[79], COCO_CATEGORY_IDS.index(13)) == (1, 90, 11)
    assert not {12, 0, 91} & set(COCO_CATEGORY_IDS)
