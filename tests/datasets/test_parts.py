"""A part of train held back as val: the same images everywhere, none of them trained on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasets import COCO, VOC
from datasets.dataset import Dataset
from datasets.errors import DataError
from datasets.parts import Part, shared_images

Make = Callable[..., Path]
THING = {"name": "cat", "box": (5, 5, 25, 25)}


def names(dataset: Dataset) -> list[str]:
    return [dataset.annotation(index).image_id for index in range(len(dataset))]


@pytest.fixture
def folder(make_voc: Make) -> Path:
    train = {f"a{number:02}": [THING] * (number % 3) for number in range(20)}
    return make_voc({"train": train, "test": {"b0": [THING]}})


def test_a_tenth_is_held_back_and_both_sides_are_whole(folder: Path) -> None:
    whole = VOC(str(folder), "train", None, "test")
    data = VOC(str(folder), "train", Part(0.1), "test")
    train, val = data.open("train"), data.open("val")
    assert len(val) == 2 and sorted(names(train) + names(val)) == names(whole.open("train"))
    for side in (train, val):
        for index in range(len(side)):
            labels = side.annotation(index)
            number = int(labels.image_id[1:])
            assert len(labels.boxes_N4) == number % 3 and Path(labels.path).stem == labels.image_id
            assert (labels.boxes_N4 == [4, 4, 25, 25]).all()
            assert side[index].image_CHW.shape == (3, 40, 60)
    assert names(data.open("test")) == ["b0"]
    assert len({one.content_hash() for one in (train, val, whole.open("train"))}) == 3


def test_the_part_is_a_matter_of_its_seed_alone(folder: Path) -> None:
    def held(part: Part) -> list[str]:
        return names(VOC(str(folder), "train", part, "test").open("val"))

    assert held(Part(0.25)) == held(Part(0.25)) != held(Part(0.25, seed=1))
    assert set(held(Part(0.1))) < set(held(Part(0.25)))


def test_flaws_are_told_once(make_voc: Make) -> None:
    flawed = {"name": "cat", "box": (9, 9, 8, 30)}
    folder = make_voc({"train": {f"a{number}": [flawed] for number in range(8)}})
    data = VOC(str(folder), "train", Part(0.25), "train")
    assert len(data.open("train").problems) == 8 and not data.open("val").problems


def test_without_val_and_with_an_empty_side_it_says_what_to_do(folder: Path) -> None:
    with pytest.raises(DataError, match="data.val: null.*hold a tenth of train back"):
        VOC(str(folder), "train", None, "test").open("val")
    with pytest.raises(DataError, match="0.01 of 20 training images leaves one side empty"):
        VOC(str(folder), "train", Part(0.01), "test").open("train")
    with pytest.raises(ValueError, match="part: must lie between 0 and 1, found 1.0"):
        Part(1.0)


def test_cocos_train_is_parted_too(make_coco: Make) -> None:
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 60, "height": 40} for n in range(10)]
    boxes = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [n, 0, 9, 9], "area": 81, "iscrowd": 0}
        for n in range(10)
    ]
    document = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    name = "annotations/instances_train.json"
    data = COCO(str(make_coco(document)), name, Part(0.3), name, images="images")
    train, val = data.open("train"), data.open("val")
    assert (len(train), len(val)) == (7, 3)
    lefts = np.concatenate([train.columns["boxes"][:, 0], val.columns["boxes"][:, 0]])
    assert sorted(lefts) == list(range(10))


def test_images_are_shared_by_their_bytes_whatever_they_are_called(
    make_voc: Make, draw_image: Callable[..., None]
) -> None:
    folder = make_voc({"train": {"a": [THING], "b": [THING]}, "test": {"c": [], "d": []}})
    pictures = folder / "JPEGImages"
    for seed, name in enumerate("abcd"):
        draw_image(pictures / f"{name}.jpg", seed)

    def shared() -> int:
        data = VOC(str(folder), "train", None, "test")
        return shared_images(data.open("train"), data.open("test"))

    train = VOC(str(folder), "train", None, "test").open("train")
    assert (shared_images(train, train), shared()) == (2, 0)
    pixels = (pictures / "b.jpg").read_bytes()
    (pictures / "c.jpg").write_bytes(pixels)
    assert shared() == 1
    (pictures / "c.jpg").write_bytes(pixels[:-3] + b"\0" + pixels[-2:])
    assert shared() == 0
