"""Sizes and orientations come from the images themselves; what labels say of a size gives way."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from datasets import VOC
from datasets.dataset import Dataset
from datasets.decoding import decode
from datasets.doctor.examine import examine
from datasets.doctor.kinds import REMARKS
from datasets.errors import DataError
from datasets.pixels.header import image_header

Make = Callable[..., Path]
CAT = {"name": "cat", "box": (11, 6, 30, 25)}
_ORIENTATION = 0x0112


def photo(path: Path, orientation: int | None = None, size: tuple[int, int] = (60, 40)) -> None:
    """Six flat tiles, so that JPEG keeps them apart."""
    tiles = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    image = Image.fromarray(tiles).resize(size, Image.Resampling.NEAREST)
    exif = Image.Exif()
    if orientation is not None:
        exif[_ORIENTATION] = orientation
    image.save(path, exif=exif)


def opened(root: Path) -> Dataset:
    return VOC(str(root), "train", "train", "train").open("train")


def restate(root: Path, width: Any, height: Any) -> None:
    """Make the only annotation say another size."""
    path = root / "Annotations/a.xml"
    text = path.read_text().replace("<width>60<", f"<width>{width}<")
    path.write_text(text.replace("<height>40<", f"<height>{height}<"))


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "webp", "tif"])
def test_size_is_read_from_any_format(tmp_path: Path, ending: str) -> None:
    photo(tmp_path / f"a.{ending}")
    assert image_header(tmp_path / f"a.{ending}") == (40, 60, 0, False)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied_as_pillow_does(
    tmp_path: Path, ending: str, orientation: int
) -> None:
    path = tmp_path / f"a.{ending}"
    photo(path, orientation)
    assert image_header(path) == (40, 60, orientation, False)
    with Image.open(path) as image:
        turned = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(decode(path, orientation).permute(1, 2, 0), turned)


@pytest.mark.parametrize("stated", [(0, 0), (30, 20), (600, 400)])
def test_the_images_own_size_wins(make_voc: Make, stated: tuple[int, int]) -> None:
    root = make_voc({"train": {"a": [CAT, {"name": "cat", "box": (41, 21, 90, 60)}]}})
    restate(root, *stated)
    data = opened(root)
    assert data.sizes_I2.tolist() == [[40, 60]]
    assert data.annotation(0).boxes_N4.tolist() == [[10, 5, 30, 25], [40, 20, 60, 40]]
    told = [finding.kind for finding in data.problems]
    assert told == (["other_size", "outside"] if any(stated) else ["outside"])


def test_without_an_image_the_stated_size_holds(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [CAT]}}, images=False)
    restate(root, 25, 40)
    assert opened(root).annotation(0).boxes_N4.tolist() == [[10, 5, 25, 25]]


def test_a_photo_is_turned_where_the_labels_are_of_the_upright_size(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [CAT]}}, images=False)
    photo(root / "JPEGImages/a.jpg", 6)
    assert opened(root)[0].image_CHW.shape == (3, 40, 60)  # the labels say 60x40: as stored
    restate(root, 40, 60)
    assert opened(root)[0].image_CHW.shape == (3, 60, 40)
    assert opened(root).sizes_I2.tolist() == [[60, 40]]


def test_another_image_of_the_same_size_changes_the_hash(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [CAT]}})
    before = opened(root).content_hash()
    os.utime(root / "JPEGImages/a.jpg")
    assert opened(root).content_hash() == before
    with (root / "JPEGImages/a.jpg").open("ab") as file:
        file.write(b"more")
    assert opened(root).content_hash() != before


def test_labels_that_fit_neither_frame_are_refused_by_name(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [CAT]}}, images=False)
    photo(root / "JPEGImages/a.jpg", 6)
    restate(root, 30, 20)
    with pytest.raises(DataError, match=r"a\.jpg: EXIF turns it: 60x40 .* labels say 30x20"):
        opened(root)
    assert "undecided_turn" in [finding.kind for finding in examine(root).findings]


def test_turned_photos_and_deep_grey_are_told_once_and_counted(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [CAT], "b": [CAT], "c": [CAT]}}, images=False)
    grey = np.linspace(8000, 60000, 2400).astype(np.uint16).reshape(40, 60)
    for name in "ab":
        Image.fromarray(grey).save(root / f"JPEGImages/{name}.png")
    photo(root / "JPEGImages/c.jpg", 3)
    data = opened(root)
    assert [(told.kind, told.message[0]) for told in data.remarks] == [
        ("deep_grey", "2"),
        ("turned", "1"),
    ]
    assert len(torch.unique(data[0].image_CHW)) == 256
    assert {finding.kind for finding in examine(root).findings} <= REMARKS
