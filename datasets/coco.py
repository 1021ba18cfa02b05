"""Data in COCO's layout: one instances JSON a split and a folder of images.

Crowd regions become `crowd`.
"""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from datasets import index
from datasets.dataset import Dataset, Split
from datasets.errors import DataError, nearest
from datasets.headers import image_headers
from datasets.index import Array, Columns, pack_text
from datasets.policy import BadLabel, Mark, Policy, judged

DEEPEST = 64  # an honest instances file nests 6 deep
_HEAD_BYTES = 2**16
Row = dict[str, Any]
Fields = dict[str, tuple[type, ...]]
# What each row must have, and of which types.
IMAGE_FIELDS: Fields = {"id": (int, str), "file_name": (str,)}
ANNOTATION_FIELDS: Fields = {"image_id": (int, str), "category_id": (int,), "bbox": (list,)}
CATEGORY_FIELDS: Fields = {"id": (int,), "name": (str,)}


@dataclass(frozen=True, slots=True)
class COCO:
    """Instances JSON and image folders, by split.

    `classes` None: all categories, in order of their ids.

    `images` names the folder of images; None: the name the JSON file ends on
    (`instances_train2017.json` -> `train2017`), else `images`.
    """

    root: str
    train: str = "annotations/instances_train2017.json"
    val: str = "annotations/instances_val2017.json"
    test: str = "annotations/instances_val2017.json"
    images: str | None = None
    classes: tuple[str, ...] | None = None
    crowd: Mark = "ignore"  # neither rewarded nor punished; or left out; or like any other
    bad_label: BadLabel = "fix"  # mend or leave out with a report; leave out; or stop
    min_box_px: float = 0.0  # shorter side in the original image; smaller boxes are left out

    def __post_init__(self) -> None:
        """Refuse impossible values; ValueError begins with the field's name."""
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes: each may be named once, found {list(self.classes)}")
        if self.min_box_px < 0:
            raise ValueError(f"min_box_px: must be >= 0, found {self.min_box_px}")

    def open(self, split: Split) -> Dataset:
        """Read one split's labels (or their cached index).

        DataError says what is missing or wrong, and where.
        """
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise DataError(
                f"{root}: no such folder; point `root` at a folder in COCO layout,"
                " or fetch one: python -m experiments data --help"
            )
        name = getattr(self, split)
        path = root / name
        raw, key = _raw(path, image_folder(root, name, self.images))
        classes = self._classes(path, raw)
        policy = Policy("ignore", self.crowd, self.bad_label, self.min_box_px, inclusive=False)
        headers = image_headers(root, raw)
        columns = index.cached(
            index.digest(key, headers.meta["key"], asdict(policy), classes),
            partial(judged, raw, headers, name, classes, policy),
        )
        return Dataset(root, columns)

    def _classes(self, path: Path, raw: Columns) -> tuple[str, ...]:
        known = raw.meta["names"]
        for name in self.classes or ():
            if name not in known:
                raise DataError(
                    f"{path}: classes: no category {name!r}{nearest(name, known)}"
                    f" (found: {', '.join(known)})"
                )
        return self.classes if self.classes is not None else tuple(known)


def category_ids(dataset: Dataset) -> tuple[int, ...]:
    """The JSON's category id of each label of a data set opened by `COCO`."""
    return tuple(dataset.columns.meta["category_ids"])


def label_by_category(dataset: Dataset) -> dict[int, int]:
    """The label of each category id of the JSON; empty for a data set of another layout."""
    return {int(i): n for n, i in enumerate(dataset.columns.meta.get("category_ids", ()))}


def image_folder(root: Path, split: str, images: str | None) -> str:
    """The folder of a split's images below the root, see `COCO`."""
    if images is not None:
        return images
    named = re.fullmatch(r"(?:instances|person_keypoints|image_info)_(.+)", Path(split).stem)
    candidates = [named[1]] if named else []
    candidates += [f"images/{name}" for name in candidates] + ["images"]
    return next((name for name in candidates if (root / name).is_dir()), candidates[0])


def _raw(path: Path, folder: str) -> tuple[Columns, str]:
    """Labels as written, and their content key."""
    try:
        stamp = index.stamp(path)
    except OSError:
        found = sorted(other.name for other in path.parent.glob("*.json"))
        raise DataError(
            f"{path}: no such file{nearest(path.name, found)}"
            f" (found: {', '.join(found[:12]) or 'none'})"
        ) from None
    read: dict[str, bytes] = {}

    def content() -> str:
        read["file"] = read_file(path)
        return index.digest("coco", folder, hashlib.sha256(read["file"]).hexdigest())

    def build() -> Columns:
        return _parse(path, folder, read.get("file") or read_file(path))

    key = index.content_key(index.digest("coco", folder, str(path.resolve()), stamp), content)
    return index.cached(key, build), key


def read_file(path: Path) -> bytes:
    """The bytes of an instances file; DataError when it can't be one."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            _refuse_depth(path, head)
            return head + file.read()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None


def _refuse_depth(path: Path, head: bytes) -> None:
    """Refuse a file that is nesting only before it is read whole."""
    data = np.frombuffer(head, np.uint8)
    opens = np.isin(data, np.frombuffer(b"[{", np.uint8)).astype(np.int32)
    closes = np.isin(data, np.frombuffer(b"]}", np.uint8)).astype(np.int32)
    if len(data) and int(np.cumsum(opens - closes).max()) > DEEPEST:
        raise DataError(f"{path}: nested deeper than {DEEPEST}: not a COCO file")


def _parse(path: Path, folder: str, data: bytes) -> Columns:
    document = read_document(path, data)
    images = _table(path, document, "images", IMAGE_FIELDS)
    annotations = _table(path, document, "annotations", ANNOTATION_FIELDS)
    categories = _table(path, document, "categories", CATEGORY_FIELDS)
    if not images:
        raise DataError(f"{path}: images: is empty; it must hold at least one image")
    return raw_columns(path, folder, images, annotations, categories)


def raw_columns(
    path: Path,
    folder: str,
    images: Sequence[Row],
    annotations: Sequence[Row],
    categories: Sequence[Row],
) -> Columns:
    """Labels as written, rows in the order of `images`; input of `judge`.

    DataError names the row that is there twice or refers to nothing.
    """
    categories = sorted(categories, key=lambda category: int(category["id"]))
    row_by_image = _unique(path, "images", [image["id"] for image in images])
    row_by_category = _unique(path, "categories", [category["id"] for category in categories])
    _unique(path, "categories by name", [category["name"] for category in categories])
    rows = [_row(path, i, a, row_by_image, row_by_category) for i, a in enumerate(annotations)]
    order = np.argsort(np.array([row[0] for row in rows], np.int64), kind="stable")
    sorted_rows = [rows[i] for i in order]
    xywh = np.array([row[2] for row in sorted_rows], np.float64).reshape(-1, 4)
    counts = np.bincount(np.array([row[0] for row in rows], np.int64), minlength=len(images))
    arrays: dict[str, Array] = {
        "first": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "size_hw": np.array([_size(image) for image in images], np.int32).reshape(-1, 2),
        "boxes": np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1).astype(np.float32),
        "name": np.array([row[1] for row in sorted_rows], np.int32),
        "difficult": np.zeros(len(rows), np.uint8),
        "crowd": np.array([row[3] for row in sorted_rows], np.uint8),
        "area": np.array([row[4] for row in sorted_rows], np.float32),
        "object": np.array([row[5] for row in sorted_rows], np.int64),
    }
    texts = {
        "image_id": [str(image["id"]) for image in images],
        "image": [_image_path(path, folder, image["file_name"]) for image in images],
    }
    for field, values in texts.items():
        arrays[field], arrays[f"{field}_ends"] = pack_text(values)
    meta = {
        "names": [category["name"] for category in categories],
        "category_ids": [category["id"] for category in categories],
    }
    return Columns(arrays, meta)


def read_document(path: Path, data: bytes) -> dict[str, Any]:
    """The file as an object; DataError names line and column where it isn\'t JSON."""
    try:
        document = json.loads(data)
    except RecursionError:
        raise DataError(f"{path}: nested too deep: not a COCO file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text in UTF-8 ({error})") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: line {error.lineno}, column {error.colno}: broken JSON ({error.msg})"
        ) from None
    if not isinstance(document, dict):
        raise DataError(
            f"{path}: holds a {type(document).__name__}, expected an object with images,"
            " annotations, categories"
        )
    return document


def _table(path: Path, document: Row, name: str, fields: Fields) -> list[Row]:
    rows = document.get(name)
    if not isinstance(rows, list):
        raise DataError(f"{path}: {name}: missing or not a list{nearest(name, document)}")
    for number, row in enumerate(rows):
        field = wrong_field(row, fields)
        if field is not None:
            value = row.get(field) if isinstance(row, dict) else row
            raise DataError(
                f"{path}: {name}[{number}].{field}: missing or of the wrong type,"
                f" found {value!r:.60}"
            )
    return rows


def wrong_field(row: Any, fields: Fields) -> str | None:
    """The first field that a row lacks or that has another type; None for a sound row."""
    for field, kinds in fields.items():
        value = row.get(field) if isinstance(row, dict) else None
        if not isinstance(value, kinds) or isinstance(value, bool):
            return field
    return None


def _unique(path: Path, table: str, ids: Sequence[Any]) -> dict[Any, int]:
    rows = {identity: row for row, identity in enumerate(ids)}
    if len(rows) != len(ids):
        twice = next(identity for row, identity in enumerate(ids) if rows[identity] != row)
        raise DataError(f"{path}: {table}: {twice!r} occurs more than once")
    return rows


_Label = tuple[int, int, list[float], int, float, int]


def _row(
    path: Path,
    number: int,
    annotation: dict[str, Any],
    row_by_image: dict[Any, int],
    row_by_category: dict[Any, int],
) -> _Label:
    """(image row, category row, xywh, crowd, area, id) of one annotation.

    Unusable numbers become NaN.
    """
    image = row_by_image.get(annotation["image_id"])
    category = row_by_category.get(annotation["category_id"])
    if image is None or category is None:
        field = "image_id" if image is None else "category_id"
        raise DataError(
            f"{path}: annotations[{number}].{field}: {annotation[field]!r} is not in the file"
        )
    box = annotation["bbox"]
    usable = len(box) == 4 and all(isinstance(v, (int, float)) and abs(v) < 1e9 for v in box)
    xywh = [float(value) for value in box] if usable else [math.nan] * 4
    area = annotation.get("area")
    if not isinstance(area, (int, float)):
        area = max(0.0, xywh[2]) * max(0.0, xywh[3]) if usable else 0.0
    identity = annotation.get("id")
    crowd = 1 if annotation.get("iscrowd") else 0
    return (
        image,
        category,
        xywh,
        crowd,
        float(area),
        identity if isinstance(identity, int) else number,
    )


def _size(image: dict[str, Any]) -> tuple[int, int]:
    height, width = image.get("height"), image.get("width")
    known = (
        isinstance(height, int)
        and isinstance(width, int)
        and 0 < height < 10**6
        and 0 < width < 10**6
    )
    return (height, width) if known else (0, 0)  # type: ignore[return-value]


def _image_path(path: Path, folder: str, name: str) -> str:
    if name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise DataError(f"{path}: images: file_name {name!r} leads out of the image folder")
    return f"{folder}/{name}"
