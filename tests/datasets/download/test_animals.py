"""VOC-animals is made of VOC 2012 by a rule: boxes exactly, pixels as they look."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.download import animals
from datasets.errors import DataError
from datasets.formats import voc_xml
from datasets.pixels.likeness import likeness

SHARED = Path(__file__).parents[4] / "shared/data"
FIRST_COPY, DEVKIT = SHARED / "VOC-animals", SHARED / "VOCdevkit/VOC2012"
needs_both = pytest.mark.skipif(
    not (FIRST_COPY.is_dir() and DEVKIT.is_dir()), reason="VOC is not beside this checkout"
)


def stand_in(root: Path, names: list[str]) -> Path:
    """VOC 2012's own labels, with images of the first copy blown up to the original size."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / "VOC2012" / folder).mkdir(parents=True)
    for name in names:
        data = (DEVKIT / f"Annotations/{name}.xml").read_bytes()
        (root / f"VOC2012/Annotations/{name}.xml").write_bytes(data)
        raw = voc_xml.parse(data, DEVKIT)
        with Image.open(FIRST_COPY / f"JPEGImages/{name}.jpg") as image:
            large = image.resize((raw.width, raw.height), Image.Resampling.BICUBIC)
        large.save(root / f"VOC2012/JPEGImages/{name}.jpg", quality=90)
    for split in ("train", "val"):
        text = (DEVKIT / f"ImageSets/Main/{split}.txt").read_text()
        (root / f"VOC2012/ImageSets/Main/{split}.txt").write_text(text)
    return root


@needs_both
def test_some_of_it_has_the_same_boxes_and_looks_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = animals.listed()[::150]
    names = [one.image_id for one in some]
    small = tmp_path / "list.txt"
    small.write_text("".join(f"{one.image_id} {one.look:016x}\n" for one in some))
    monkeypatch.setattr(animals, "LIST", small)
    monkeypatch.setattr(animals, "BOXES", animals.boxes_hash(FIRST_COPY, iter(names)))
    devkit, out = stand_in(tmp_path / "VOCdevkit", names), tmp_path / "animals"
    animals.make_animals(devkit, out)
    for split in ("train", "val"):
        whole = (FIRST_COPY / f"ImageSets/Main/{split}.txt").read_text().split()
        mine = (out / f"ImageSets/Main/{split}.txt").read_text().split()
        assert mine == [name for name in names if name in set(whole)]
    for name in names:
        one, other = (
            np.asarray(Image.open(root / f"JPEGImages/{name}.jpg").convert("L")).astype(float)
            for root in (FIRST_COPY, out)
        )
        assert one.shape == other.shape
        assert np.abs(one - other).mean() < 10  # of a stand-in, scaled twice
        again = voc_xml.parse((out / f"Annotations/{name}.xml").read_bytes(), out)
        first = voc_xml.parse((FIRST_COPY / f"Annotations/{name}.xml").read_bytes(), out)
        assert again == first
    written = (out / f"JPEGImages/{names[0]}.jpg").stat().st_mtime_ns
    animals.make_animals(devkit, out)  # whole: left as it is
    assert (out / f"JPEGImages/{names[0]}.jpg").stat().st_mtime_ns == written


@needs_both
def test_other_labels_or_pixels_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = animals.listed()[0]
    (tmp_path / "list.txt").write_text(f"{one.image_id} {one.look:016x}\n")
    monkeypatch.setattr(animals, "LIST", tmp_path / "list.txt")
    devkit = stand_in(tmp_path / "VOCdevkit", [one.image_id])
    with pytest.raises(DataError, match="boxes are not the set's"):
        animals.make_animals(devkit, tmp_path / "one")
    monkeypatch.setattr(animals, "BOXES", animals.boxes_hash(FIRST_COPY, iter([one.image_id])))
    path = devkit / f"VOC2012/JPEGImages/{one.image_id}.jpg"
    with Image.open(path) as image:
        image.transpose(Image.Transpose.ROTATE_180).save(path)
    with pytest.raises(DataError, match="1 images look otherwise, the first is 2008_000008"):
        animals.make_animals(devkit, tmp_path / "two")


@needs_both
def test_the_list_is_the_first_copys() -> None:
    listed = animals.listed()
    names = sorted((FIRST_COPY / "ImageSets/Main/trainval.txt").read_text().split())
    assert [one.image_id for one in listed] == names and len(names) == 3_426
    assert animals.boxes_hash(FIRST_COPY, iter(names)) == animals.BOXES
    for one in listed[::500]:
        data = (FIRST_COPY / f"JPEGImages/{one.image_id}.jpg").read_bytes()
        assert likeness(data).hash == one.look


def test_a_devkit_without_the_images_is_told_what_brings_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'data voc --years 2012' brings it"):
        animals.make_animals(tmp_path, tmp_path / "out")
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / "VOC2012" / folder).mkdir(parents=True)
    with pytest.raises(DataError, match="3426 of 3426 images are not there"):
        animals.make_animals(tmp_path, tmp_path / "out")
    assert animals.scaled_size(500, 375) == (320, 240)
    assert animals.scaled_size(182, 250) == (182, 250)
