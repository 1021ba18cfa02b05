"""Labels as tools export them, in ways of their own: read right, or refused in one sentence."""

import gzip
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datasets.doctor.examine import examine
from datasets.doctor.repair import repair
from datasets.errors import DataError
from datasets.formats import voc_xml
from datasets.importing.finding import find
from datasets.importing.proposing import import_folder
from datasets.layouts import open_all
from experiments.__main__ import main
from experiments.config.run import load_config
from tests.calling import call, refused
from tests.experiments.verbs.test_world import IMAGES, coco, photo, voc, xml, yolo


def test_names_are_printed_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")  # a terminal as wide as the table: no name is cut
    names = ("[/]", "[red]cat", ":dog:")
    voc(tmp_path, xml())
    for stem, name in zip(IMAGES, names, strict=True):
        (tmp_path / f"Annotations/{stem}.xml").write_text(
            xml().replace("<name>cat<", f"<name>{name}<")
        )
    assert main(["data", "stats", str(tmp_path), "train"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)


def test_a_folder_without_a_split_is_refused_by_what_is_there(tmp_path: Path) -> None:
    voc(tmp_path / "vott", xml())
    for path in (tmp_path / "vott/ImageSets/Main").glob("*.txt"):
        path.rename(path.with_name(f"cat_{path.name}"))
    yolo(tmp_path / "yolo")
    (tmp_path / "yolo/data.yaml").write_text("names: [cat]\n")
    (tmp_path / "yolo/images").rename(tmp_path / "yolo/photos")
    for verb in (["doctor"], ["data", "stats"]):
        refused(r"only lists of one class \(cat_test, .*import FOLDER", *verb, tmp_path / "vott")
        refused("YOLO layout, but no split in it; .*import FOLDER", *verb, tmp_path / "yolo")
    coco(tmp_path / "both")
    (tmp_path / "both/ImageSets").mkdir()  # empty, beside labels of another layout
    assert call("data", "stats", tmp_path / "both") == 0


def photos(root: Path, *names: str) -> None:
    for name in names:
        photo(root / name, format="PNG" if name.endswith("png") else "JPEG")


def found_by(root: Path) -> dict[str, str]:
    """The image of each label file that `data import` finds, by the label file."""
    return {item.source: item.image for item in find(root).items}


def test_labels_belong_to_the_image_that_is_called_like_them(tmp_path: Path) -> None:
    """What they say themselves is old in copies and renamed files, and wrong in some exports."""
    photos(tmp_path, "images/a.jpg", "images/a_flip.jpg", "images/a.1.jpg", "images/other.png")
    for stem, said in (("a", "a.jpg"), ("a_flip", "a.jpg"), ("a.1", ""), ("b", "other.jpg")):
        path = tmp_path / f"labels/{stem}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(xml().replace("<object>", f"<filename>{said}</filename><object>", 1))
    assert found_by(tmp_path) == {
        "labels/a.xml": "images/a.jpg",
        "labels/a_flip.xml": "images/a_flip.jpg",
        "labels/a.1.xml": "images/a.1.jpg",
        "labels/b.xml": "images/other.png",
    }
    (tmp_path / "images/a.1.jpg").unlink()
    assert "labels/a.1.xml" not in found_by(tmp_path)  # of no image, not of a.jpg


def test_images_of_addresses_are_found(tmp_path: Path) -> None:
    """As Label Studio writes them, for images that it keeps or that lie elsewhere."""
    names = {
        "a 1.jpg": "http://localhost:8080/data/upload/1/a%201.jpg",
        "b.jpg": "/data/local-files/?d=photos/b.jpg",
        "c.jpg": "https://b.s3.amazonaws.com/x/c.jpg?X-Amz-Expires=60&Signature=a/b",
        "d.jpg": "images\\1/d.jpg",
        "100%25.jpg": "100%25.jpg",
    }
    photos(tmp_path, *(f"images/{name}" for name in names))
    rows = [{"id": n, "file_name": said} for n, said in enumerate(names.values())]
    things = [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 2, 30, 20]} for n in range(5)]
    document = {"images": rows, "annotations": things, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "result.json").write_text(json.dumps(document))
    assert [item.image for item in find(tmp_path).items] == [f"images/{name}" for name in names]


def test_accents_may_be_letters_of_their_own(tmp_path: Path) -> None:
    """macOS writes two characters for é in the names of files, and people write one."""
    yolo(tmp_path)
    for path in (*tmp_path.glob("images/*/a.jpg"), *tmp_path.glob("labels/*/a.txt")):
        stem = "e\u0301tale" if path.suffix == ".jpg" else "\xe9tale"
        path.rename(path.with_stem(stem))
    (data,) = open_all(tmp_path, ["train"]).values()
    assert [len(data.annotation(n).boxes_N4) for n in range(3)] == [1, 1, 1]
    photos(tmp_path / "voc", "photos/e\u0301tale.jfif")
    (tmp_path / "voc/\xe9tale.xml").write_text(xml())
    assert found_by(tmp_path / "voc") == {"\xe9tale.xml": "photos/e\u0301tale.jfif"}


def odd_rows(root: Path) -> None:
    """Nulls in every table, categories without a name or an id."""

    def edit(document: dict[str, Any]) -> None:
        for rows in (document["images"], document["annotations"], document["categories"]):
            rows.insert(0, None)
        document["images"].append({"id": 77})
        document["categories"] += [{"id": 9}, {"name": "dog"}]

    coco(root, edit=edit)


def a_row_for_each_box(root: Path) -> None:
    """Three rows of `images` for three annotations of one photo: what converters of tables do."""

    def edit(document: dict[str, Any]) -> None:
        for number, (image, thing) in enumerate(
            zip(document["images"], document["annotations"], strict=True)
        ):
            image["file_name"] = "a.jpg"
            thing["bbox"] = [5 + 20 * number, 5, 18, 30]

    coco(root, edit=edit)


@pytest.mark.parametrize(
    ("make", "images"), [(odd_rows, 3), (a_row_for_each_box, 1)], ids=["odd", "box"]
)
def test_rows_of_instances_files_reach_every_copy(
    tmp_path: Path, make: Callable[[Path], None], images: int
) -> None:
    make(tmp_path / "set")
    split = "annotations/instances_train.json"
    seen = examine(tmp_path / "set", [split])
    assert (seen.splits[split].images, seen.splits[split].objects) == (images, 3)
    assert [f.kind for f in seen.findings] == (
        ["duplicate_id"] if images == 1 else ["bad_row"] * len(seen.findings)
    )
    repair(seen, tmp_path / "copy", allow_loss=True)
    made = import_folder(tmp_path / "set", val=0, test=0).splits["train"]
    written = json.loads((tmp_path / "set/splits/train.json").read_text())
    copies = examine(tmp_path / "copy", [split]), examine(tmp_path / "set", ["splits/train.json"])
    for copy in copies:
        (one,) = copy.splits.values()
        assert (one.images, one.objects) == (images, 3)
    assert len(made) == images and {row["image_id"] for row in written["annotations"]} == {
        row["id"] for row in written["images"]
    }


OTHERS = {
    "labelme": ('{"shapes": [], "imagePath": "a.jpg"}', "holds shapes, imagePath, none of COCO's"),
    "label_studio": ('[{"annotations": []}]', r"holds a list, .*another tool's own JSON"),
    "rectlabel": ('{"images": {}, "annotations": [], "categories": []}', "images: .*found a dict"),
    "lines": ('{"id": 1}\n{"id": 2}\n', "line 2, column 1: broken JSON"),
    "gzip": (gzip.compress(b"{}"), "compressed by gzip"),
    "cvat": ("<annotations/>", "<annotations>, expected <annotation>"),
}


@pytest.mark.parametrize("name", list(OTHERS))
def test_labels_in_a_form_of_their_own_are_refused_in_one_sentence(
    tmp_path: Path, name: str
) -> None:
    """With the reason, also where a folder's labels are looked for."""
    data, told = OTHERS[name]
    photos(tmp_path, "a.jpg")
    path = tmp_path / ("a.xml" if name == "cvat" else "instances.json")
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    refused(told, "data", "import", tmp_path)
    if path.suffix == ".json":
        refused(told, "data", "stats", tmp_path, path.name)


def test_commands_of_an_import_can_be_copied_and_too_few_images_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "my [v2] data"
    voc(root, xml(), ("a", "bb", "ccc"))
    assert main(["data", "import", str(root)]) == 0
    line = next(
        line for line in capsys.readouterr().out.splitlines() if "experiments train" in line
    )
    words = shlex.split(line)
    assert load_config(Path(words[words.index("train") + 1])).data.root == str(root)
    (root / "Annotations/a.xml").unlink()
    refused("2 images, .*too few for train, val, test: test would be empty", "data", "import", root)


@pytest.mark.parametrize(
    ("declared", "saved"),
    [("GBK", "gbk"), ("gb2312", "gbk"), ("Big5", "big5"), ("Shift_JIS", "shift_jis"),
     ("utf-16", "utf-8"), ("utf-16", "utf-8-sig"), ("utf-16", "utf-16")],
)  # fmt: skip
def test_xml_in_the_encodings_of_the_world(tmp_path: Path, declared: str, saved: str) -> None:
    """Programs in .NET declare UTF-16 for what they save as UTF-8."""
    text = f'<?xml version="1.0" encoding="{declared}"?>\n' + xml().replace("cat", "\u8eca")
    root = voc_xml.element(text.encode(saved), tmp_path)
    assert root.findtext("object/name") == "\u8eca"
    entity = text.replace("<annotation>", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>')
    with pytest.raises(DataError, match="refused"):
        voc_xml.element(entity.encode(saved), tmp_path)


def test_a_second_box_of_an_object_is_named(tmp_path: Path) -> None:
    voc(tmp_path / "set", xml())
    box = "<bndbox><xmin>60</xmin><ymin>5</ymin><xmax>90</xmax><ymax>40</ymax></bndbox>"
    path = tmp_path / "set/Annotations/b.xml"
    path.write_text(xml().replace("</bndbox>", f"</bndbox>{box}"))
    (tmp_path / "set/Annotations/c.xml").write_text(xml().replace("bndbox", "robndbox"))
    seen = examine(tmp_path / "set", ["train"])
    assert (seen.splits["train"].written, seen.splits["train"].objects) == (4, 2)
    second, rotated = seen.findings
    assert (second.file, second.kind) == ("Annotations/b.xml", "bad_row")
    assert "has 2 bndbox, of which the first is used" in second.message
    assert "not a number: no bndbox in an image" in rotated.message
    with pytest.raises(DataError, match="2 of 4 objects would go: 1 not_a_number, 1 bad_row"):
        repair(seen, tmp_path / "copy")
    repair(seen, tmp_path / "copy", allow_loss=True)
    assert examine(tmp_path / "copy", ["train"]).findings == []


def test_an_image_with_two_label_files_is_named_and_copied_as_it_is(tmp_path: Path) -> None:
    """By a list of pairs: what one file holds is background where the other's is learned."""
    voc(tmp_path / "set", xml())
    pairs = "JPEGImages/a.jpg Annotations/a.xml\nJPEGImages/a.jpg Annotations/b.xml\n"
    (tmp_path / "set/ImageSets/Main/train.txt").write_text(pairs)
    seen = examine(tmp_path / "set", ["train"])
    assert [(f.file, f.kind) for f in seen.findings] == [("JPEGImages/a.jpg", "labelled_twice")]
    repair(seen, tmp_path / "copy")
    (copy,) = open_all(tmp_path / "copy", ["train"]).values()
    assert [Path(copy.annotation(n).path).name for n in range(2)] == ["a.jpg", "a.jpg"]


@pytest.mark.parametrize(("val", "test", "measured"), [(0.3, 0, "val"), (0, 0.3, "test")])
def test_what_measures_a_run_is_never_empty(
    tmp_path: Path, val: float, test: float, measured: str
) -> None:
    voc(tmp_path, xml(), ("a", "bb", "ccc"))
    settings = import_folder(tmp_path, val=val, test=test).settings
    assert settings["test"] == f"splits/{measured}.txt"
    assert settings["val"] == ("splits/val.txt" if val else None)


@pytest.mark.parametrize("name", ["truth.csv", "Annotations/a.xml"])
def test_a_file_that_is_no_truth_is_refused(tmp_path: Path, name: str) -> None:
    voc(tmp_path, xml())
    (tmp_path / name).write_text("a,b")
    (tmp_path / "cat.txt").write_text("a .9 1 2 3 4\n")
    words = ["--detections", tmp_path, "--truth", tmp_path / name]
    refused(f"found a file '{Path(name).suffix}'; the truth is a folder", "eval", *words)


def test_an_import_says_why_nothing_can_be_learned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def nameless(document: dict[str, Any]) -> None:
        for image in document["images"]:
            image["path"] = f"/datasets/{image.pop('file_name')}"

    coco(tmp_path / "path", edit=nameless)
    refused(r"images\[0\]\.file_name: missing", "data", "import", tmp_path / "path")
    coco(tmp_path / "none", edit=lambda document: document.update(categories=[]))
    told = r"nothing to learn from; left out: 3 rows that .*category_id: 1 is not in the file"
    refused(told, "data", "import", tmp_path / "none", "--val", "0", "--test", "0")
    yolo(tmp_path / "deep/set")
    assert call("data", "import", tmp_path / "deep", "--val", "0", "--test", "0") == 0
    assert "names of classes in folders below: import those" in capsys.readouterr().out


def test_a_name_over_several_lines_is_one(tmp_path: Path) -> None:
    text = xml().replace("<name>cat<", "<name>\n  traffic\n  light\n<").encode()
    assert voc_xml.parse(text, tmp_path).names == ["traffic light"]
