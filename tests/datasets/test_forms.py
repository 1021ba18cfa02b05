"""Boxes, names and files in other forms than their layout has: told by what was found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.doctor.examine import examine
from datasets.doctor.repair import repair
from datasets.errors import DataError
from datasets.formats.foreign import foreign
from datasets.importing.finding import ELSEWHERE, find
from datasets.importing.proposing import import_folder
from datasets.layouts import open_all
from experiments.config.run import load_config
from tests.calling import call, refused
from tests.experiments.verbs.test_world import JSON, coco, each, photo, voc, xml, yolo


def messages(root: Path, kind: str, split: str = JSON) -> list[str]:
    return [f.message for f in examine(root, [split]).findings if f.kind == kind]


@pytest.mark.parametrize("layout", ["voc", "coco"])
def test_boxes_in_fractions_are_refused(tmp_path: Path, layout: str) -> None:
    """They lie within a pixel: no object would be learned, and nothing would fail."""
    if layout == "voc":
        voc(tmp_path, xml(box=(0.1, 0.2, 0.5, 0.7)))
    else:
        coco(tmp_path, edit=each("annotations", bbox=[0.1, 0.2, 0.4, 0.5]))
    split = "train" if layout == "voc" else JSON
    assert "all 3 boxes lie within a pixel" in messages(tmp_path, "fractions", split)[0]
    refused("object .: all 3 boxes .*expected pixels", "data", "stats", tmp_path, split)


def test_corners_in_place_of_sizes_are_named(tmp_path: Path) -> None:
    coco(tmp_path, edit=each("annotations", bbox=[50, 30, 90, 60]))
    (told,) = messages(tmp_path, "corners")
    assert "3 of 3 boxes leave their images as x, y, width, height" in told
    (data,) = open_all(tmp_path, [JSON]).values()
    assert "corners" in {finding.kind for finding in data.problems}


def one_box(root: Path, box: Any) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["annotations"][0]["bbox"] = box

    coco(root, edit=edit)


@pytest.mark.parametrize("box", [[[1, 2, 30, 20]], [1, 2, 30, 20, 0.9], [], ["1,5", 2, 30, 20]])
def test_a_box_that_is_no_four_numbers_is_shown(tmp_path: Path, box: Any) -> None:
    one_box(tmp_path, box)
    (told,) = messages(tmp_path, "not_a_number")
    assert f"bbox {box!r} in an image of 96x64; left out" in told


def test_a_coordinate_that_is_no_number_is_shown(tmp_path: Path) -> None:
    voc(tmp_path / "voc", xml())
    (tmp_path / "voc/Annotations/b.xml").write_text(xml(box=("12,5", 13, "", 44)))
    yolo(tmp_path / "yolo")
    (tmp_path / "yolo/labels/train/b.txt").write_text("0 0,5 0,5 0,4 0,4\n0,.5,.5,.4,.4\n")
    (told,) = messages(tmp_path / "voc", "not_a_number", "train")
    assert "xmin '12,5', ymin '13', xmax '', ymax '44'" in told
    (told,) = messages(tmp_path / "yolo", "not_a_number", "train")
    assert "number: 0 0,5 0,5 0,4 0,4 in" in told
    (told,) = messages(tmp_path / "yolo", "bad_row", "train")
    assert "'0,.5,.5,.4,.4': expected class cx cy w h with blanks" in told


def by_address(document: dict[str, Any]) -> None:
    """As LVIS has images."""
    for row in document["images"]:
        row["coco_url"] = f"http://images.cocodataset.org/train/{row.pop('file_name')}"


def digits(document: dict[str, Any]) -> None:
    document["categories"] = [{"id": n, "name": n} for n in range(3)]
    for number, thing in enumerate(document["annotations"]):
        thing["category_id"] = number


@pytest.mark.parametrize("edit", [by_address, digits])
def test_names_may_be_addresses_and_numbers(
    tmp_path: Path, edit: Callable[[dict[str, Any]], None]
) -> None:
    coco(tmp_path / "set", edit=edit)
    seen = examine(tmp_path / "set", [JSON])
    assert (seen.splits[JSON].objects, seen.findings) == (3, [])
    repair(seen, tmp_path / "copy")
    made = import_folder(tmp_path / "set", val=0, test=0)
    assert len(made.splits["train"]) == 3
    for root, split in ((tmp_path / "copy", JSON), (tmp_path / "set", "splits/train.json")):
        assert (examine(root, [split]).splits[split].objects) == 3
    assert made.found.classes == (("0", "1", "2") if edit is digits else ("cat",))


def test_ignored_annotations_count_and_are_told(tmp_path: Path) -> None:
    coco(tmp_path, edit=each("annotations", ignore=1))
    assert "an object like any other" in messages(tmp_path, "ignore_mark")[0]
    assert call("doctor", tmp_path) == 0


FOREIGN = {
    b"": "an empty file",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "git lfs pull",
    b"\n<!DOCTYPE html><html>": "page of HTML",
    b"\0\0\0\x18ftypheic\0\0\0\0": "HEIC",
    b"PK\x03\x04": "ZIP",
}


@pytest.mark.parametrize("data", list(FOREIGN), ids=list(FOREIGN.values()))
def test_files_of_another_kind_are_told_as_what_they_are(tmp_path: Path, data: bytes) -> None:
    told = FOREIGN[data]
    assert told in str(foreign(data)) and foreign(b"\xff\xd8\xff") is None
    voc(tmp_path, xml())
    (tmp_path / "JPEGImages/a.jpg").write_bytes(data)
    (tmp_path / "Annotations/b.xml").write_bytes(data)
    found = examine(tmp_path, ["train"]).findings
    kinds = {finding.kind: finding.message for finding in found}
    assert told in kinds["unreadable_image"] and told in kinds["broken_labels"]
    made = import_folder(tmp_path, val=0, test=0).found
    assert told in made.first["images that can't be read"]


def test_images_of_rarer_formats_are_found(tmp_path: Path) -> None:
    for ending in (".gif", ".avif", ".jp2", ".ppm", ".JPE"):
        form = {"format": "JPEG"} if ending == ".JPE" else {}
        photo(tmp_path / f"JPEGImages/{ending[1:]}{ending}", **form)
        path = tmp_path / f"Annotations/{ending[1:]}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(xml())
    made = import_folder(tmp_path, val=0, test=0)
    assert len(made.splits["train"]) == 5 and not made.found.left_out
    (data,) = open_all(tmp_path, ["splits/train.txt"]).values()
    assert all(len(data[row].boxes_N4) == 1 for row in range(5))


def test_lists_elsewhere_are_named_by_their_whole_path(tmp_path: Path) -> None:
    voc(tmp_path / "set", xml())
    (tmp_path / "list.txt").write_text("a\n")
    refused("leads out of .*by its whole path", "data", "stats", tmp_path / "set", "../list.txt")
    refused("a split is a list's name", "data", "stats", tmp_path / "set", tmp_path)
    (data,) = open_all(tmp_path / "set", [str(tmp_path / "list.txt")]).values()
    assert len(data) == 1


@pytest.mark.parametrize("make", [lambda root: voc(root, xml()), coco, yolo])
def test_data_that_can_not_be_written_to_has_its_splits_elsewhere(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """As Kaggle mounts its inputs."""
    make(tmp_path / "input")
    for seed, path in enumerate(sorted((tmp_path / "input").rglob("*.jpg"))):
        pixels = np.random.default_rng(seed).integers(0, 255, (64, 96, 3))  # none like another
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    before = sorted((tmp_path / "input").rglob("*"))
    out = tmp_path / "working/splits"
    words = ["--val", "0", "--test", "0.34", "--out", out]
    assert call("data", "import", tmp_path / "input", *words) == 0
    assert sorted((tmp_path / "input").rglob("*")) == before
    config = load_config(out / "yolov2.yaml")
    train, test = (config.data.open(role) for role in ("train", "test"))
    assert len(train) > 0 and len(test) > 0
    assert all(Path(train.annotation(n).path).is_file() for n in range(len(train)))


SPLITS = "train: images/train\nval: images/val\n"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("data.yaml", f"{SPLITS}nc: 3\nnames: [cat]\n", "nc is 3, but there are 1 names"),
        ("obj.data", "classes = 2\ntrain = images/train\nnames = obj.names\n", "classes is 2, but"),
        ("data.yaml", f"{SPLITS}names:\n- name: cat\n", "expected words or numbers, found {'name'"),
        ("other.yaml", "train: images/val\nnames: [dog]\n", "data.yaml and other.yaml describe"),
        ("data.yaml", 'train: "C:\\new"\nnames: [cat]\n', r"said to be at 'C:\new'"),
    ],
    ids=["nc", "classes", "rows", "two", "escape"],
)
def test_descriptions_that_contradict_are_refused(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    yolo(tmp_path)
    if name == "obj.data":
        (tmp_path / "data.yaml").unlink()
        (tmp_path / "obj.names").write_text("cat\n")
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as error:
        open_all(tmp_path, ["train"])
    assert told in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "train: images/train/*.jpg\nnames: [cat]\n",
        "Train: images/train\nNames: [cat]\n",
        "train: images/train\nnc: '1'\n",
    ],
)
def test_descriptions_are_read_as_their_writers_meant(tmp_path: Path, text: str) -> None:
    yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(text)
    (data,) = open_all(tmp_path).values()
    assert len(data) == 3 and len(data.classes) == 1 and data.counts == (3, 0)


def test_texts_are_found_by_other_endings(tmp_path: Path) -> None:
    yolo(tmp_path)
    for stem, ending in (("a", ".TXT"), ("b", ".jpg.txt")):
        path = tmp_path / f"labels/train/{stem}.txt"
        path.rename(path.with_name(stem + ending))
    seen = examine(tmp_path, ["train"])
    assert (seen.splits["train"].objects, seen.findings) == (3, [])


def test_texts_in_a_folder_of_another_name_are_named(tmp_path: Path) -> None:
    yolo(tmp_path)
    (tmp_path / "labels").rename(tmp_path / "labels_2024")
    with pytest.raises(DataError, match=rf"9 {ELSEWHERE} \(labels_2024/test\)"):
        find(tmp_path)


def test_archives_are_named_where_images_are_not_there(tmp_path: Path) -> None:
    coco(tmp_path)
    (tmp_path / "train").rename(tmp_path / "gone")
    for path in (tmp_path / "gone").glob("*.jpg"):
        path.unlink()
    (tmp_path / "train.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"archives lie there, to be unpacked: train\.zip"):
        find(tmp_path)
    assert json.loads((tmp_path / JSON).read_text())["images"]


def test_classes_that_differ_in_capitals_are_named(tmp_path: Path) -> None:
    voc(tmp_path, xml())
    (tmp_path / "Annotations/b.xml").write_text(xml().replace("cat", "Cat"))
    (told,) = messages(tmp_path, "class_alike", "train")
    assert "'Cat' (1 objects), 'cat' (2 objects)" in told
    words = ("data", "stats", tmp_path, "train", "--classes", "cat", "cat")
    refused("each may be named once, found 'cat' twice", *words)


def test_what_an_import_did_not_choose_is_told(tmp_path: Path) -> None:
    voc(tmp_path / "both", xml())
    for stem in "ab":
        (tmp_path / f"both/JPEGImages/{stem}.txt").write_text("0 .5 .5 .2 .2\n")
    found = find(tmp_path / "both")
    told = "YOLO labels beside them (--labels yolo)"
    assert (found.layout, found.first[told]) == ("voc", "JPEGImages/a.txt")
    photo(tmp_path / "table/a.jpg")
    (tmp_path / "table/train.csv").write_text("image,xmin\n")
    with pytest.raises(DataError, match=r"tables aren't read, export COCO.*: train\.csv"):
        find(tmp_path / "table")
