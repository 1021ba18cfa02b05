"""Real files beside the checkout are read as others read them."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets import COCO, VOC
from datasets.coco import category_ids
from datasets.doctor.told import stats_csv
from datasets.labels import COCO_CATEGORY_IDS, COCO_CLASSES, VOC_CLASSES
from datasets.stats import describe
from docs import counts

Shared = Callable[[str], Path]
VOC07_TEST_BY_CLASS = dict(
    zip(
        VOC_CLASSES,
        [285, 337, 459, 263, 469, 213, 1201, 358, 756, 244]
        + [206, 489, 348, 325, 4528, 480, 242, 239, 282, 308],
        strict=True,
    )
)


@pytest.mark.parametrize(
    ("split", "images", "objects", "with_difficult"),
    [
        ("2007/test", 4952, 12032, 14976),
        pytest.param("2007/trainval", 5011, 12608, 15662, marks=pytest.mark.slow),
        pytest.param("2012/trainval", 11540, 27450, 31561, marks=pytest.mark.slow),
    ],
)
def test_voc_counts_are_the_known_ones(
    shared: Shared, split: str, images: int, objects: int, with_difficult: int
) -> None:
    root = str(shared("VOCdevkit"))
    data = VOC(root, train=split, val=split, test=split).open("train")
    assert len(data) == images
    assert len(data.columns["boxes"]) == with_difficult
    assert int((~data.columns["difficult"]).sum()) == objects
    assert data.classes == VOC_CLASSES
    assert data.problems == [] and data.unknown == {}
    if split == "2007/test":
        easy = data.columns["label"][~data.columns["difficult"]]
        found = Counter(data.classes[label] for label in easy.tolist())
        assert found == VOC07_TEST_BY_CLASS
    committed = counts.COUNTS.read_text().splitlines()
    counted = stats_csv({split: describe(data)}).splitlines()
    assert counted == [committed[0]] + [line for line in committed if line.startswith(split)]


def test_bccd_names_its_two_boxes_without_area_and_goes_on(shared: Shared) -> None:
    settings = VOC(str(shared("BCCD")), "train", "val", "test")
    named = {
        (finding.file, finding.object, finding.kind)
        for split in ("train", "val", "test")
        for finding in settings.open(split).problems  # type: ignore[arg-type]
    }
    assert named == {
        ("Annotations/BloodImage_00343.xml", 4, "zero_size"),
        ("Annotations/BloodImage_00338.xml", 13, "zero_size"),
    }
    train = settings.open("train")
    assert (len(train), train.classes) == (205, ("Platelets", "RBC", "WBC"))
    assert train[0].image_CHW.shape == (3, 480, 640)


def test_voc_animals_keeps_decimals_and_counts_the_classes_nobody_asked_for(shared: Shared) -> None:
    classes = ("cat", "cow", "dog", "horse", "sheep", "person")
    data = VOC(str(shared("VOC-animals")), "train", "val", "val", classes=classes).open("train")
    assert (len(data), data.classes) == (1697, classes)
    assert sum(data.unknown.values()) + len(data.columns["boxes"]) == 3625
    assert data.unknown["sofa"] == 82
    first = data.annotation(0)
    np.testing.assert_allclose(first.boxes_N4[0], [33.3, 55.1, 301.4, 268.9], atol=1e-4)
    assert data.classes[first.labels_N[0]] == "horse"


def test_coco128_is_read_as_pycocotools_reads_it(shared: Shared) -> None:
    from pycocotools import coco

    root = shared("coco128")
    name = "annotations/instances_train2017.json"
    data = COCO(str(root), name, name, name).open("train")
    peer = coco.COCO(str(root / name))
    assert data.classes == COCO_CLASSES
    assert category_ids(data) == COCO_CATEGORY_IDS
    assert len(data) == len(peer.getImgIds()) == 128
    for index in range(len(data)):
        mine = data.annotation(index)
        theirs = {a["id"]: a for a in peer.loadAnns(peer.getAnnIds(imgIds=int(mine.image_id)))}
        assert Path(mine.path).is_file()
        assert set(theirs) == set(mine.object_N.tolist())
        for box, label, crowd, area, identity in zip(
            mine.boxes_N4, mine.labels_N, mine.crowd_N, mine.area_N, mine.object_N, strict=True
        ):
            x, y, width, height = theirs[int(identity)]["bbox"]
            np.testing.assert_allclose(box, [x, y, x + width, y + height], atol=1e-4)
            assert COCO_CATEGORY_IDS[label] == theirs[int(identity)]["category_id"]
            assert crowd == theirs[int(identity)]["iscrowd"]
            assert area == pytest.approx(theirs[int(identity)]["area"], rel=1e-6)
