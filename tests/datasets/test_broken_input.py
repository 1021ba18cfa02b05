"""Every kind of broken input ends in a clear error or in the stated policy, in bounded time."""

import io
import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets import COCO, VOC
from datasets.decoding import decode
from datasets.errors import DataError
from tests.datasets.bounded import Bounded

Make = Callable[..., Path]
CAT = {"name": "cat", "box": (11, 6, 30, 25)}
HEAD = "<annotation><size><width>60</width><height>40</height></size>"
LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{i + 1} "' + f"&a{i};" * 10 + '">' for i in range(9))
    + "]><annotation><object><name>&a9;</name></object></annotation>"
)
EXTERNAL = (
    '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    "<annotation><object><name>&e;</name></object></annotation>"
)

# What the file holds -> what the error says.
BROKEN_XML: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"a\.xml: an empty file"),
    "blank": (b"  \n ", r"broken XML"),
    "cut_short": (HEAD.encode(), r"line 1: broken XML"),
    "wrong_nesting": (b"<annotation>\n<object></annotation></object>", r"line 2: broken XML"),
    "two_roots": (b"<annotation/><annotation/>", r"broken XML"),
    "text": (b"width 60", r"broken XML"),
    "json": (b'{"a": 1}', r"broken XML"),
    "html": (b"<html></html>", r"root is <html>, expected <annotation>"),
    "zeros": (b"\0" * 100, r"a\.xml"),
    "jpeg": (b"\xff\xd8\xff\xe0" * 30, r"a\.xml"),
    "bad_utf8": (b"<annotation><object><name>\xff\xfe</name></object></annotation>", r"broken XML"),
    "unknown_encoding": (b'<?xml version="1.0" encoding="klingon"?><annotation/>', r"a\.xml"),
    "laughs": (LAUGHS.encode(), r"declares an entity or refers outside; refused"),
    "laughs_utf16": (LAUGHS.encode("utf-16"), r"refused"),
    "external_entity": (EXTERNAL.encode(), r"refused"),
    "doctype_outside": (
        b'<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/x.dtd"><annotation>&x;</annotation>',
        r"a\.xml",
    ),
    "unclosed_depth": (b"<a>" * 1_000_000, r"broken XML"),
    "too_large": (b"<annotation>" + b" " * (5 * 2**20) + b"</annotation>", r"larger than"),
}


@pytest.mark.parametrize("kind", list(BROKEN_XML))
def test_broken_xml(make_voc: Make, kind: str) -> None:
    data, message = BROKEN_XML[kind]
    root = make_voc({"train": {"a": [CAT]}})
    (root / "Annotations/a.xml").write_bytes(data)
    with Bounded(), pytest.raises(DataError, match=message):
        VOC(str(root), "train", "train", "train").open("train")


# Objects that can't be used: left out, named, and training goes on.
ODD_OBJECTS = {
    "no_box": "<object><name>cat</name></object>",
    "empty_box": "<object><name>cat</name><bndbox/></object>",
    "half_a_box": "<object><name>cat</name><bndbox><xmin>1</xmin></bndbox></object>",
    "words": "<object><name>cat</name><bndbox><xmin>one</xmin><ymin>1</ymin><xmax>9</xmax>"
    "<ymax>9</ymax></bndbox></object>",
    "infinite": "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>inf</xmax>"
    "<ymax>9</ymax></bndbox></object>",
    "huge": "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>1e30</xmax>"
    "<ymax>9</ymax></bndbox></object>",
    "far_outside": "<object><name>cat</name><bndbox><xmin>900</xmin><ymin>1</ymin>"
    "<xmax>950</xmax><ymax>9</ymax></bndbox></object>",
    "a_point": "<object><name>cat</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>5</xmax>"
    "<ymax>5</ymax></bndbox></object>",
}


@pytest.mark.parametrize("kind", list(ODD_OBJECTS))
def test_objects_without_a_usable_box_are_left_out_and_named(make_voc: Make, kind: str) -> None:
    root = make_voc({"train": {"a": [CAT]}})
    (root / "Annotations/a.xml").write_text(f"{HEAD}{ODD_OBJECTS[kind]}</annotation>")
    data = VOC(str(root), "train", "train", "train").open("train")
    assert len(data.annotation(0).boxes_N4) == 0
    assert [(p.file, p.object) for p in data.problems] == [("Annotations/a.xml", 1)]


IMAGE = {"id": 7, "file_name": "a.png", "height": 40, "width": 60}


def _good_coco() -> dict[str, Any]:
    return {
        "images": [dict(IMAGE)],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 30, 20], "iscrowd": 0}
        ],
        "categories": [{"id": 3, "name": "cat"}],
    }


def _with(table: str, **fields: Any) -> dict[str, Any]:
    document = _good_coco()
    document[table][0] |= fields
    return document


def _without(table: str, field: str | None = None) -> dict[str, Any]:
    document = _good_coco()
    if field is None:
        del document[table]
    else:
        del document[table][0][field]
    return document


BROKEN_COCO: dict[str, tuple[Any, str]] = {
    "empty": ("", r"an empty file"),
    "cut_short": (json.dumps(_good_coco())[:-9], r"broken JSON"),
    "a_list": ("[]", r"holds a list, expected an object"),
    "a_number": ("7", r"holds a int"),
    "not_utf8": ("\udcff{}", r"not text in UTF-8|broken JSON"),
    "nested_head": ("[" * 2_000_000, r"nested deeper than 64"),
    "nested_later": (
        '{"info": "' + "x" * 70_000 + '", "images": ' + "[" * 300_000,
        r"nested too deep",
    ),
    "no_images": (_without("images"), r"images: missing or not a list"),
    "no_annotations": (_without("annotations"), r"annotations: missing or not a list"),
    "no_categories": (_without("categories"), r"categories: missing"),
    "misspelt": ({"image": [], "annotations": [], "categories": []}, r"did you mean 'image'"),
    "no_image_at_all": (_good_coco() | {"images": [], "annotations": []}, r"images: is empty"),
    "image_without_id": (_without("images", "id"), r"images\[0\]\.id: missing"),
    "image_without_file": (_without("images", "file_name"), r"images\[0\]\.file_name"),
    "image_twice": (
        _good_coco() | {"images": [IMAGE | {"file_name": "b.png"}, IMAGE]},
        r"7 is b.png and another file",
    ),
    "category_is_two": (
        _good_coco() | {"categories": [{"id": 3, "name": "cat"}, {"id": 3, "name": "dog"}]},
        r"categories: 3 is both 'cat' and 'dog'",
    ),
}


@pytest.mark.parametrize("kind", list(BROKEN_COCO))
def test_broken_coco(make_coco: Make, kind: str) -> None:
    document, message = BROKEN_COCO[kind]
    root = make_coco(_good_coco())
    text = document if isinstance(document, str) else json.dumps(document)
    path = root / "annotations/instances_train.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    name = "annotations/instances_train.json"
    with Bounded(), pytest.raises(DataError, match=message):
        COCO(str(root), name, name, name).open("train")


# Annotations that can't be used: left out, named, and the others are used.
LOST_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "without_image": ({"image_id": None}, r"\[1\]\.image_id: None is no id"),
    "without_box": ({"bbox": None}, r"\[1\]\.bbox: missing or no list"),
    "box_is_text": ({"bbox": "1 2 3 4"}, r"bbox: .* found '1 2 3 4'"),
    "category_is_text": ({"category_id": "cat"}, r"category_id: 'cat' is not in the file"),
    "category_is_true": ({"category_id": True}, r"category_id: True is no id"),
    "unknown_image": ({"image_id": 8}, r"image_id: 8 is not in the file"),
    "unknown_category": ({"category_id": 4}, r"category_id: 4 is not in the file"),
}


@pytest.mark.parametrize("kind", list(LOST_ROWS))
def test_coco_rows_that_can_not_be_used_are_left_out_and_named(make_coco: Make, kind: str) -> None:
    change, message = LOST_ROWS[kind]
    document = _good_coco()
    document["annotations"].append(document["annotations"][0] | {"id": 2} | change)
    root = make_coco(document)
    name = "annotations/instances_train.json"
    data = COCO(str(root), name, name, name).open("train")
    assert data.annotation(0).boxes_N4.tolist() == [[1, 2, 31, 22]]
    (problem,) = data.problems
    assert (problem.file, problem.object, problem.kind) == (name, 2, "bad_row")
    assert re.search(message, problem.message)
    with pytest.raises(DataError, match=r"object 2: .*doctor --fix"):
        COCO(str(root), name, name, name, bad_label="fail").open("train")


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/secret.png", "C:\\x\\secret.png"])
def test_a_file_name_never_leads_out_of_the_root(
    make_coco: Make, name: str, tmp_path: Path
) -> None:
    (tmp_path / "secret.png").write_bytes(_png())
    root = make_coco(_good_coco())
    path = root / "annotations/instances_train.json"
    path.write_text(json.dumps(_with("images", file_name=name)))
    split = "annotations/instances_train.json"
    data = COCO(str(root), split, split, split).open("train")
    assert Path(data.annotation(0).path).resolve().is_relative_to(root)
    with pytest.raises(DataError, match=r"secret\.png: image can't be read: No such file"):
        data[0]


ODD_BOXES: dict[str, list[Any]] = {
    "three_numbers": [1, 2, 3],
    "words": ["a", 1, 2, 3],
    "null": [None, 1, 2, 3],
    "nan": [float("nan"), 1, 2, 3],
    "huge": [1e30, 1, 2, 3],
    "no_width": [5, 5, 0, 9],
    "far_outside": [500, 5, 9, 9],
}


@pytest.mark.parametrize("kind", list(ODD_BOXES))
def test_coco_boxes_that_can_not_be_used_are_left_out_and_named(make_coco: Make, kind: str) -> None:
    root = make_coco(_with("annotations", bbox=ODD_BOXES[kind]))
    name = "annotations/instances_train.json"
    data = COCO(str(root), name, name, name).open("train")
    assert len(data.annotation(0).boxes_N4) == 0
    assert [(p.file, p.object) for p in data.problems] == [(name, 1)]


def test_coco_negative_width_is_swapped_back(make_coco: Make) -> None:
    root = make_coco(_with("annotations", bbox=[31, 2, -30, 20]))
    name = "annotations/instances_train.json"
    data = COCO(str(root), name, name, name).open("train")
    assert data.annotation(0).boxes_N4.tolist() == [[1, 2, 31, 22]]
    assert data.problems[0].kind == "swapped"


def _jpeg(**options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def _huge_png() -> bytes:
    header = struct.pack(">4sIIBBBBB", b"IHDR", 40_000, 40_000, 1, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + _png()[33:]


def _huge_jpeg() -> bytes:
    data = bytearray(_jpeg())
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = (65_000).to_bytes(2) * 2
    return bytes(data)


BROKEN_IMAGES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "an empty file"),
    "text": (lambda: b"hello", "of no known format"),
    "html": (lambda: b"<html>404</html>" * 20, "a page of HTML"),
    "cut_short": (lambda: _jpeg()[:-700], "truncated"),
    "header_only": (lambda: _jpeg()[:20], "frame header"),
    "start_only": (lambda: b"\xff\xd8", "frame header"),
    "png_cut_short": (lambda: _png()[:200], "not a readable image"),
    "png_bad_crc": (lambda: _png()[:60] + b"!" + _png()[61:], "not a readable image"),
    "bomb_png": (_huge_png, "40000x40000 pixels is more than"),
    "bomb_jpeg": (_huge_jpeg, "65000x65000 pixels is more than"),
    "no_height": (lambda: _no_height(), "no pixels"),
}


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(_jpeg())).save(buffer, "PNG")
    return buffer.getvalue()


def _no_height() -> bytes:
    data = bytearray(_jpeg())
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 7] = b"\0\0"
    return bytes(data)


@pytest.mark.parametrize("kind", list(BROKEN_IMAGES))
def test_unreadable_images_are_named(tmp_path: Path, kind: str) -> None:
    make, message = BROKEN_IMAGES[kind]
    path = tmp_path / "a.jpg"
    path.write_bytes(make())
    with Bounded(), pytest.raises(DataError, match=rf"a\.jpg: .*{message}"):
        decode(path)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "1", "I;16", "LA"])
def test_other_colours_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode in ("L", "CMYK") else "a.png")
    Image.new(mode, (60, 40)).save(path)
    assert decode(path).shape == (3, 40, 60)


def test_pixels_stay_as_stored_unless_a_turn_is_asked_for(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a.jpg").write_bytes(_jpeg(exif=exif.tobytes()))
    assert decode(tmp_path / "a.jpg").shape == (3, 40, 60)


# What is done to a good folder -> what the error says.
BROKEN_FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no_root": (
        lambda root: root.rename(root.with_name("elsewhere")),
        r"no such folder; point `root`",
    ),
    "no_split": (
        lambda root: (root / "ImageSets/Main/train.txt").rename(root / "ImageSets/Main/trian.txt"),
        r"train\.txt: no such split \(train\); did you mean 'trian'\?",
    ),
    "empty_split": (
        lambda root: (root / "ImageSets/Main/train.txt").write_text("\n\n"),
        r"split 'train' is empty; .*name the other splits",
    ),
    "binary_split": (
        lambda root: (root / "ImageSets/Main/train.txt").write_bytes(b"\xff\x00\x81"),
        r"train\.txt: not a text file",
    ),
    "escaping_split": (
        lambda root: (root / "ImageSets/Main/train.txt").write_text("a\n../../../etc/passwd\n"),
        r"train\.txt, line 2: '\.\./.*leads out",
    ),
    "absolute_split": (
        lambda root: (root / "ImageSets/Main/train.txt").write_text("/etc/passwd\n"),
        r"line 1: '/etc/passwd' leads out",
    ),
    "no_annotation": (
        lambda root: (root / "Annotations/a.xml").unlink(),
        r"a\.xml: no such annotation, but a split names it",
    ),
}


@pytest.mark.parametrize("kind", list(BROKEN_FOLDERS))
def test_broken_folders(make_voc: Make, kind: str) -> None:
    harm, message = BROKEN_FOLDERS[kind]
    root = make_voc({"train": {"a": [CAT]}})
    harm(root)
    with pytest.raises(DataError, match=message):
        VOC(str(root), "train", "train", "train").open("train")


def test_a_devkit_without_the_year_says_which_folder_it_needs(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [CAT]}}, folder="kit/VOC2007").parent
    with pytest.raises(DataError, match="needs the folder VOC2012 or 2012"):
        VOC(str(root), "2012/train", "2007/train", "2007/train").open("train")


def test_a_missing_image_is_named_when_it_is_read(make_voc: Make) -> None:
    root = make_voc({"train": {"a": [CAT]}}, images=False)
    data = VOC(str(root), "train", "train", "train").open("train")
    with pytest.raises(DataError, match=r"JPEGImages/a\.jpg: image can't be read: No such file"):
        data[0]


def test_coco_says_which_files_there_are(make_coco: Make) -> None:
    root = make_coco(_good_coco())
    with pytest.raises(
        DataError, match=r"instances_val\.json: no such file; did you mean 'instances_t"
    ):
        COCO(str(root), "annotations/instances_val.json").open("train")
    with pytest.raises(DataError, match="no such folder"):
        COCO(str(root / "nowhere")).open("train")
    name = "annotations/instances_train.json"
    with pytest.raises(DataError, match=r"no category 'cta'; did you mean 'cat'"):
        COCO(str(root), name, classes=("cta",)).open("train")
