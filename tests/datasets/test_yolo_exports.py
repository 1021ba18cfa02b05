"""YOLO data as programs and people leave it: descriptions, lists of classes, encodings."""

import os
from pathlib import Path

import pytest

from datasets import YOLO
from datasets.doctor.examine import examine
from datasets.doctor.repair import repair
from datasets.errors import DataError
from datasets.formats.values import text_of
from datasets.importing.finding import NOT_TEXT, find
from tests.experiments.verbs.test_world import photo

SPLITS = "train: images/train\nval: images/train\n"
BOX = "0.5 0.5 0.5 0.25\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """images/train/{a,b}.jpg, an object of class 0 and one of class 1."""
    place = tmp_path / "set"
    for number, name in enumerate("ab"):
        photo(place / f"images/train/{name}.jpg")
        label = place / f"labels/train/{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"{number} {BOX}")
    return place


def classes(root: Path) -> list[str]:
    """The class of each object of the training split."""
    data = YOLO(str(root)).open("train")
    assert len(data.columns["boxes"]) == 2
    return [data.classes[label] for label in data.columns["label"].tolist()]


DESCRIPTIONS = {
    "a_file": ("names: classes.txt\n", ["cat", "dog"]),
    "yes_and_no": ("names: [no, yes]\n", ["no", "yes"]),
    "as_written": ("names: {0: 007, 1: 1.50}\n", ["007", "1.50"]),
    "twice": ("names: [cat, cat]\n", ["cat", "cat"]),
}


@pytest.mark.parametrize("name", list(DESCRIPTIONS))
def test_names_are_those_that_are_written(root: Path, name: str) -> None:
    text, names = DESCRIPTIONS[name]
    (root / "classes.txt").write_text("cat\ndog\n\n")
    (root / "data.yaml").write_text(SPLITS + text)
    assert classes(root) == names
    seen = examine(root, ["train"])
    twice = ["category_twice"] if name == "twice" else []
    assert [finding.kind for finding in seen.findings] == twice
    repair(seen, root.parent / "copy")
    assert classes(root.parent / "copy") == names
    assert examine(root.parent / "copy", ["train"]).findings == []
    assert find(root).classes == tuple(dict.fromkeys(names))


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"data.yaml": f"{SPLITS}names: cat\n"}, "names: expected a list.* found 'cat'"),
        ({"obj.data": "train=images/train\nnames=obj.names\n", "obj.names": "cat\n\ndog\n"},
         r"obj\.names: line 2 is blank"),
        ({"data.yaml": "train: ../gone/images\nval: images/train\nnames: [cat, dog]\n"},
         r"said to be at '\.\./gone/images': no such place; name others .*\(val\)"),
        ({"labels/train/classes.txt": "cat\ndog\n", "images/train/classes.txt": "dog\ncat\n"},
         "classes.txt: other classes than in"),
    ],
    ids=["word", "blank", "gone", "two"],
)  # fmt: skip
def test_what_can_not_be_told_is_refused(root: Path, files: dict[str, str], told: str) -> None:
    for name, text in files.items():
        (root / name).write_text(text)
    with pytest.raises(DataError, match=told):
        YOLO(str(root)).open("train")


@pytest.mark.parametrize("place", [r"C:\data\set\images\train", "D:/set/images/train"])
def test_descriptions_of_windows_are_read(root: Path, place: str) -> None:
    (root / "data.yaml").write_text(f"path: C:\\data\\set\ntrain: {place}\nnames: [cat, dog]\n")
    assert classes(root) == ["cat", "dog"]


@pytest.mark.parametrize("place", ["labels/train", "images"])
def test_classes_lie_beside_labels(root: Path, place: str) -> None:
    (root / place / "classes.txt").write_text("cat\ndog\n")
    assert YOLO(str(root), "images/train").open("train").classes == ("cat", "dog")


def test_folders_may_begin_with_a_capital(root: Path) -> None:
    for name in ("images", "labels"):
        (root / name).rename(root / name.title())
    assert [item.source for item in find(root).items] == [
        "Labels/train/a.txt",
        "Labels/train/b.txt",
    ]


def test_utf16_is_read_wherever_it_is_text(root: Path) -> None:
    """PowerShell's `>` and `echo` write it."""
    (root / "data.yaml").write_bytes(f"{SPLITS}names: classes.txt\n".encode("utf-16"))
    (root / "classes.txt").write_bytes("cat\r\ndog\r\n".encode("utf-16"))
    (root / "labels/train/b.txt").write_bytes(f"1 {BOX}1 0.95 0.5 0.3 0.2\n".encode("utf-16"))
    (root / "labels/train/a.txt").unlink()
    assert classes(root) == ["dog", "dog"]
    repair(examine(root, ["train"]), root.parent / "copy")
    assert classes(root.parent / "copy") == ["dog", "dog"]


def test_a_label_file_that_can_not_be_read_is_no_empty_one(root: Path) -> None:
    (root / "data.yaml").write_text(f"{SPLITS}names: [cat, dog]\n")
    (root / "labels/train/a.txt").unlink()
    (root / "labels/train/a.txt").symlink_to("/nowhere/a.txt")
    with pytest.raises(DataError, match=r"labels/train/a\.txt: can't be read: No such file"):
        YOLO(str(root)).open("train")


def test_a_file_name_in_another_encoding_is_named(root: Path) -> None:
    (root / "data.yaml").write_text(f"{SPLITS}names: [cat, dog]\n")
    for folder, ending in (("images", b".jpg"), ("labels", b".txt")):
        place = os.fsencode(root / folder) + b"/train/"
        os.rename(place + b"a" + ending, place + b"gr\xfc\xdfe" + ending)
    with pytest.raises(DataError, match=r"gr\\udcfc\\udcdfe\.jpg': a file name that isn't UTF-8"):
        YOLO(str(root)).open("train")
    found = find(root)
    assert len(found.items) == 1 and found.left_out[NOT_TEXT] == 1


def test_bytes_that_only_begin_like_utf16_are_no_text() -> None:
    assert text_of("1 0.5\n".encode("utf-16")) == "1 0.5\n"
    with pytest.raises(UnicodeDecodeError, match="no letter of it is ASCII"):
        text_of(b"\xff\xfe\x00" + b"0 0.5 0.5 0.1 0.10\n")
