"""Folders as people have them become splits that the readers open."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets import DATASETS
from datasets.errors import DataError
from datasets.importing.proposing import Imported, import_folder

BOX = (11, 6, 40, 30)  # xmin, ymin, xmax, ymax, from 1
COUNT = 24
KEYS = ("xmin", "ymin", "xmax", "ymax")


def photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC).save(path, quality=90)


def name_of(row: int) -> str:
    return "emu" if row % 4 == 0 else "kangaroo"


def xml(name: str, file: str) -> str:
    corners = "".join(f"<{key}>{value}</{key}>" for key, value in zip(KEYS, BOX, strict=True))
    return (
        f"<annotation><filename>{file}</filename><size><width>64</width><height>48</height></size>"
        f"<object><name>{name}</name><bndbox>{corners}</bndbox></object></annotation>"
    )


def voc(root: Path, images: str = "images", labels: str = "annots") -> None:
    (root / labels).mkdir(parents=True, exist_ok=True)
    for row in range(COUNT):
        photo(root / images / f"photo {row}.jpg", row)
        (root / labels / f"photo {row}.xml").write_text(xml(name_of(row), f"photo {row}.jpg"))


def coco(root: Path) -> None:
    document: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": []}
    document["categories"] = [{"id": 4, "name": "kangaroo"}, {"id": 7, "name": "emu"}]
    for row in range(COUNT):
        photo(root / f"pictures/deep/{row}.jpg", row)
        document["images"].append({"id": row, "file_name": f"{row}.jpg", "width": 64, "height": 48})
        document["annotations"].append(
            {
                "id": row,
                "image_id": row,
                "category_id": 7 if row % 4 == 0 else 4,
                "bbox": [10, 5, 30, 25],
            }
        )
    (root / "labels.json").write_text(json.dumps(document))


def yolo(root: Path) -> None:
    for row in range(COUNT):
        photo(root / f"images/{row}.jpg", row)
        (root / "labels").mkdir(exist_ok=True)
        text = f"{int(row % 4 == 0)} {25 / 64} {17.5 / 48} {30 / 64} {25 / 48}\n"
        (root / f"labels/{row}.txt").write_text(text)
    (root / "data.yaml").write_text("names: [kangaroo, emu]\n")


def opened(root: Path, made: Imported) -> dict[str, Any]:
    settings = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in made.settings.items()
        if key != "name"
    }
    data = DATASETS[made.found.layout](str(root), **settings)
    return {role: data.open(role) for role in ("train", "val", "test")}  # type: ignore[arg-type]


def nested(root: Path) -> None:
    voc(root, "a/b/photos", "c/xml/all")


def beside(root: Path) -> None:
    voc(root, ".", ".")


@pytest.mark.parametrize("make", [voc, nested, beside, coco, yolo])
def test_labels_of_any_layout_become_splits(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    before = sorted(path for path in tmp_path.rglob("*"))
    made = import_folder(tmp_path)
    assert [path for path in before if not path.exists()] == []
    assert set(tmp_path.rglob("*.jpg")) == {p for p in before if p.suffix == ".jpg"}  # no copy
    splits = opened(tmp_path, made)
    assert sum(len(split) for split in splits.values()) == COUNT
    assert [len(split) for split in splits.values()] == [16, 4, 4]
    seen = set()
    for split in splits.values():
        for index in range(len(split)):
            labels = split.annotation(index)
            assert labels.boxes_N4 == pytest.approx(np.array([[10, 5, 40, 30]]), abs=1e-3)
            row = int(Path(labels.path).stem.split()[-1])
            assert split.classes[int(labels.labels_N[0])] == name_of(row)
            seen.add(labels.path)
        assert set(split.columns["label"].tolist()) == {0, 1}  # in proportion: 6 of 24 are emus
    assert len(seen) == COUNT


def test_the_same_seed_gives_the_same_lists_and_an_import_may_be_repeated(tmp_path: Path) -> None:
    voc(tmp_path)
    first = import_folder(tmp_path, seed=1)
    lists = {p.name: p.read_text() for p in first.folder.glob("*.txt")}
    import_folder(tmp_path, seed=1)
    assert lists == {p.name: p.read_text() for p in first.folder.glob("*.txt")}
    import_folder(tmp_path, seed=2, val=0.3)
    assert lists != {p.name: p.read_text() for p in first.folder.glob("*.txt")}


def test_copies_of_a_photo_stay_in_one_split(tmp_path: Path) -> None:
    voc(tmp_path)
    for row in range(12):
        with Image.open(tmp_path / f"images/photo {row}.jpg") as image:
            image.resize((128, 96)).save(tmp_path / f"images/copy {row}.jpg", quality=40)
        text = xml(name_of(row), f"copy {row}.jpg")
        (tmp_path / f"annots/copy {row}.xml").write_text(text)
    made = import_folder(tmp_path)
    assert made.copies == 12
    split_of = {Path(i.image).stem: role for role, items in made.splits.items() for i in items}
    assert all(split_of[f"photo {row}"] == split_of[f"copy {row}"] for row in range(12))


def test_what_can_not_be_used_is_counted_and_named(tmp_path: Path) -> None:
    voc(tmp_path)
    (tmp_path / "images/photo 3.jpg").write_bytes(b"none")
    (tmp_path / "images/photo 4.jpg").unlink()
    (tmp_path / "annots/photo 5.xml").write_text("<annotation>")
    (tmp_path / "annots/manifest.xml").write_text("<manifest/>")
    (tmp_path / "annots/._photo 1.xml").write_bytes(b"\0")
    found = import_folder(tmp_path).found
    assert dict(found.left_out) == {
        "labels without an image": 1,
        "label files that can't be read": 2,
        "images that can't be read": 1,
    }
    assert found.first["images that can't be read"].startswith("images/photo 3.jpg: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val": 0.6, "test": 0.5}, "--val: parts of the whole, together below 1"),
        ({"test": -0.1}, "--test: parts of the whole"),
        ({"layout": "coco"}, "no image with labels"),
    ],
)
def test_what_can_not_be_done_is_said(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    voc(tmp_path)
    with pytest.raises(DataError, match=message):
        import_folder(tmp_path, **options)


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    voc(tmp_path / "data")
    (tmp_path / "data/splits").mkdir()
    (tmp_path / "data/splits/train.txt").write_text("mine")
    with pytest.raises(DataError, match="splits: holds files that no import wrote"):
        import_folder(tmp_path / "data")
    with pytest.raises(DataError, match="no such folder"):
        import_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no image with labels"):
        import_folder(tmp_path / "empty")
