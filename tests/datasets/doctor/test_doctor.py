"""The doctor names every flaw that was planted, nothing in sound data, and repairs a copy."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from datasets import COCO, VOC
from datasets.doctor.examine import examine
from datasets.doctor.kinds import KINDS
from datasets.doctor.repair import repair
from datasets.errors import DataError
from datasets.glyphs.write import write_glyphs

Make = Callable[..., Path]
Image = Callable[..., None]
CAT = {"name": "cat", "box": (11, 6, 30, 25)}
DOG = {"name": "dog", "box": (2, 2, 58, 38)}


def found(root: Path, *splits: str, **options: Any) -> list[tuple[str, int | None, str]]:
    return [(f.file, f.object, f.kind) for f in examine(root, splits, **options).findings]


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def flawed(make_voc: Make, draw_image: Image) -> Path:
    """A VOC folder with one flaw of each kind."""
    root = make_voc(
        {
            "train": {
                "a": [CAT, {"name": "cat", "box": (30, 25, 11, 9)}],
                "bb": [
                    {"name": "cat", "box": (5, 5, 5, 9)},
                    {"name": "cat", "box": ("?", 1, 9, 9)},
                ],
                "ccc": [DOG, {"name": "dog", "box": (40, 30, 90, 38)}, DOG],
                "dddd": [CAT | {"difficult": None}, {"name": "kat", "box": (1, 1, 9, 9)}],
                "lost": [CAT],
                "rotten": [CAT],
                "broken": [CAT],
                "wide": [CAT],
                "no_size": [CAT],
            },
            "val": {"fffff": [CAT], "twin": [DOG]},
        }
    )
    (root / "JPEGImages/lost.jpg").unlink()
    (root / "JPEGImages/rotten.jpg").write_bytes(b"\xff\xd8 no image")
    (root / "Annotations/broken.xml").write_text("<annotation>")
    draw_image(root / "JPEGImages/wide.jpg", 99, width=80)
    path = root / "Annotations/no_size.xml"
    path.write_text(path.read_text().replace("<height>40</height>", ""))
    (root / "JPEGImages/twin.jpg").write_bytes((root / "JPEGImages/a.jpg").read_bytes())
    with (root / "ImageSets/Main/train.txt").open("a") as file:
        file.write("a\nghost\n")
    return root


PLANTED = {
    ("Annotations/a.xml", 2, "swapped"),
    ("Annotations/bb.xml", 1, "zero_size"),
    ("Annotations/bb.xml", 2, "not_a_number"),
    ("Annotations/ccc.xml", 2, "outside"),
    ("Annotations/ccc.xml", 3, "duplicate_object"),
    ("Annotations/dddd.xml", 1, "missing_difficult"),
    ("Annotations/dddd.xml", 2, "unknown_class"),
    ("Annotations/broken.xml", None, "broken_labels"),
    ("Annotations/ghost.xml", None, "missing_labels"),
    ("Annotations/no_size.xml", None, "missing_size"),
    ("JPEGImages/lost.jpg", None, "missing_image"),
    ("JPEGImages/rotten.jpg", None, "unreadable_image"),
    ("JPEGImages/wide.jpg", None, "other_size"),
    ("JPEGImages/a.jpg", None, "in_two_splits"),
    ("ImageSets/Main/train.txt", None, "duplicate_id"),
}


def test_every_planted_flaw_is_named_and_nothing_else(flawed: Path) -> None:
    findings = found(flawed, classes=("cat", "dog"))
    assert set(findings) == PLANTED and len(findings) == len(PLANTED)
    assert {kind for _, _, kind in findings} <= set(KINDS)


def test_messages_say_what_is_there_and_what_is_near(flawed: Path) -> None:
    messages = {f.kind: str(f) for f in examine(flawed, classes=("cat", "dog")).findings}
    assert "did you mean 'cat'?" in messages["unknown_class"]
    assert "xmin 30, ymin 25, xmax 11, ymax 9 in an image of 60x40" in messages["swapped"]
    assert "is 80x40, its labels say 60x40" in messages["other_size"]
    assert "train, val (also as JPEGImages/twin.jpg)" in messages["in_two_splits"]
    assert "line 10: a is there since line 1" in messages["duplicate_id"]


def test_the_repaired_copy_is_sound_and_the_original_untouched(
    flawed: Path, tmp_path: Path
) -> None:
    before = digests(flawed)
    out = tmp_path / "out"
    repair(examine(flawed, classes=("cat", "dog")), out, allow_loss=True)
    assert digests(flawed) == before
    assert {kind for _, _, kind in found(out, classes=("cat", "dog"))} == {"in_two_splits"}
    data = VOC(str(out), "train", "val", "val", bad_label="fail").open("train")
    boxes = {
        data.annotation(i).image_id: data.annotation(i).boxes_N4.tolist() for i in range(len(data))
    }
    assert boxes == {
        "a": [[10, 5, 30, 25], [10, 8, 30, 25]],
        "bb": [],
        "ccc": [[1, 1, 58, 38], [39, 29, 60, 38]],
        "dddd": [[10, 5, 30, 25]],
        "wide": [[10, 5, 30, 25]],
        "no_size": [[10, 5, 30, 25]],
    }
    assert data.sizes_I2.tolist()[4] == [40, 80]


def test_sound_data_gets_a_clean_bill(tmp_path: Path) -> None:
    root = write_glyphs(tmp_path / "g", train=6, val=3, test=3)
    assert found(root) == []
    names = [f"annotations/instances_{split}.json" for split in ("train", "val", "test")]
    assert found(root, *names, images="JPEGImages") == []


def test_real_bccd_has_two_boxes_without_area(shared: Callable[[str], Path]) -> None:
    root = shared("BCCD")
    assert found(root, decode=False) == [
        ("Annotations/BloodImage_00338.xml", 13, "zero_size"),
        ("Annotations/BloodImage_00343.xml", 4, "zero_size"),
    ]


def test_zero_based_files_are_recognised(make_voc: Make) -> None:
    boxes = [(0, 0, 20, 20), (3, 0, 59, 39), (0, 5, 9, 9)]
    objects = [{"name": "cat", "box": box} for box in boxes]
    root = make_voc({"train": {"a": objects}})
    findings = examine(root).findings
    assert [f.kind for f in findings] == ["other_base"]
    assert "2 boxes" not in findings[0].message and "first_pixel: 0" in findings[0].message
    assert found(root, first_pixel=0) == []


def test_one_based_files_read_as_zero_based_are_recognised(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [{"name": "cat", "box": (2, 2, 60, 40)}]}})
    assert found(root) == []
    assert [kind for _, _, kind in found(root, first_pixel=0)] == ["other_base"]


def _coco() -> dict[str, Any]:
    images = [{"id": n, "file_name": f"{n}.png", "height": 40, "width": 60} for n in (1, 2, 3)]
    box = {"image_id": 1, "category_id": 5, "area": 9.0, "iscrowd": 0}
    return {
        "info": {"year": 2020},
        "images": images,
        "annotations": [
            box | {"id": 10, "bbox": [1, 2, 30, 20]},
            box | {"id": 11, "bbox": [31, 2, -30, 20]},
            box | {"id": 12, "bbox": [50, 30, 30, 20]},
            box | {"id": 12, "bbox": [5, 5, 5, 5]},
            box | {"id": 13, "bbox": [5, 5, 0, 5]},
            box | {"id": 14, "bbox": [5, 5, 9]},
            box | {"id": 15, "bbox": [5, 5, 9, 9], "image_id": 99},
            box | {"id": 16, "bbox": [5, 5, 9, 9], "category_id": 99},
            {"id": 17, "image_id": 2, "category_id": 6, "bbox": [1, 1, 9, 9], "iscrowd": 1},
            {"id": 18, "image_id": 2, "category_id": 5},
            box | {"id": 19, "bbox": [1, 2, 30, 20]},
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "dog"}],
    }


COCO_PLANTED = {
    (11, "swapped"),
    (12, "outside"),
    (12, "duplicate_id"),
    (13, "zero_size"),
    (14, "not_a_number"),
    (15, "bad_row"),
    (16, "bad_row"),
    (17, "missing_area"),
    (18, "bad_row"),
    (19, "duplicate_object"),
}


def test_coco_flaws_are_named_and_repaired(make_coco: Make, tmp_path: Path) -> None:
    root = make_coco(_coco())
    (root / "images/3.png").unlink()
    name = "annotations/instances_train.json"
    before = digests(root)
    findings = found(root)
    assert {(thing, kind) for _, thing, kind in findings if thing} == COCO_PLANTED
    assert ("images/3.png", None, "missing_image") in findings
    assert len(findings) == len(COCO_PLANTED) + 1  # images alike in one split are no finding
    out = tmp_path / "out"
    repair(examine(root), out, allow_loss=True)
    assert digests(root) == before
    assert found(out) == []
    data = COCO(str(out), name, name, name, images="images", bad_label="fail").open("train")
    assert len(data) == 2
    kept = [[1, 2, 31, 22], [50, 30, 60, 40], [5, 5, 10, 10]]
    assert data.annotation(0).boxes_N4.tolist() == kept
    assert data.annotation(0).object_N.tolist() == [10, 12, 20]  # 12 was there twice
    assert data.annotation(1).crowd_N.tolist() == [True]
    document = json.loads((out / name).read_text())
    assert document["info"] == {"year": 2020} and document["annotations"][-1]["area"] == 81


def test_a_copy_is_never_written_over_anything(flawed: Path, tmp_path: Path) -> None:
    for place in (flawed, flawed / "inside", flawed.parent):
        with pytest.raises(DataError, match="must lie outside"):
            repair(examine(flawed), place)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    with pytest.raises(DataError, match="holds files already"):
        repair(examine(flawed), tmp_path / "full")


def test_a_folder_in_neither_layout_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither VOC layout .* nor COCO layout"):
        examine(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        examine(tmp_path / "nowhere")


def test_a_copy_that_was_compressed_again_is_found_in_another_split(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [CAT], "bb": [CAT]}, "val": {"ccc": [DOG]}})
    for seed, name in enumerate(("a", "bb")):
        rough = np.random.default_rng(seed).integers(0, 255, (4, 6, 3)).astype(np.uint8)
        photo = PIL.Image.fromarray(rough).resize((60, 40), PIL.Image.Resampling.BICUBIC)
        photo.save(root / f"JPEGImages/{name}.jpg", quality=95)
    with PIL.Image.open(root / "JPEGImages/a.jpg") as image:
        image.save(root / "JPEGImages/ccc.jpg", quality=40)
    (finding,) = examine(root).findings
    assert finding.kind == "alike_in_two_splits" and finding.file == "JPEGImages/a.jpg"
    assert "looks the same as JPEGImages/ccc.jpg, of the splits train, val" in finding.message
    assert found(root, decode=False) == []
