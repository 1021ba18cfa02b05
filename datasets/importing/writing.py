"""Splits written as the readers take them: lists of images, or instances files for COCO's JSON."""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from datasets.errors import DataError
from datasets.formats.coco_columns import category_name
from datasets.formats.coco_images import file_named
from datasets.formats.coco_json import read_document, rows
from datasets.formats.finder import tidy
from datasets.formats.values import identity
from datasets.importing.finding import Found, Item

FOLDER = "splits"  # below the data set's folder
RECORD = "import.json"  # what made them
Row = dict[str, Any]


def refuse_foreign(folder: Path) -> None:
    """DataError where a folder holds files that no import wrote."""
    if folder.exists() and not (folder / RECORD).is_file() and any(folder.iterdir()):
        raise DataError(f"{folder}: holds files that no import wrote; move them, or name --out")


def named_from(root: Path, folder: Path) -> str:
    """A folder as settings name it: from the root where it lies below that, else whole."""
    whole, base = folder.resolve(), root.resolve()
    return (whole.relative_to(base) if base in whole.parents else whole).as_posix()


def write_splits(
    found: Found, splits: Mapping[str, Sequence[Item]], folder: Path, record: Mapping[str, Any]
) -> dict[str, str]:
    """Write all splits into `folder`; their names for the settings, by role."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        within = named_from(found.root, folder)
        coco = found.layout == "coco"
        ending = "json" if coco else "txt"
        texts = (
            _instances(found, splits)
            if coco
            else {role: _list(found, items) for role, items in splits.items()}
        )
        names = {role: f"{within}/{role}.{ending}" for role in splits}
        for role, text in texts.items():
            _write(folder / f"{role}.{ending}", text)
        _write(folder / RECORD, (json.dumps(record, indent=1) + "\n").encode())
    except OSError as error:
        raise DataError(f"{folder}: can't be written: {error.strerror}; name --out") from None
    return names


def _list(found: Found, items: Sequence[Item]) -> bytes:
    lines = [f"{i.image} {i.source}" if found.layout == "voc" else i.image for i in items]
    return "".join(f"{line}\n" for line in lines).encode()


def _instances(found: Found, splits: Mapping[str, Sequence[Item]]) -> dict[str, bytes]:
    """The rows of each split's images as they were written, ids made anew.

    Each file is read once and a row kept as bytes: COCO's polygons as numbers take 3 GB.
    """
    number = {name: k for k, name in enumerate(found.classes, 1)}
    tables: dict[str, tuple[list[Raw], list[Raw]]] = {role: ([], []) for role in splits}
    homes: dict[str, dict[str, tuple[str, Item]]] = defaultdict(dict)
    for role, items in splits.items():
        for item in items:
            homes[item.source][item.image_id] = role, item
    for source, home in homes.items():
        read = read_document(found.root / source)
        names = {identity(r.get("id")): category_name(r) for r in _rows(read.categories)}
        files: dict[Any, str] = {}
        new: dict[str, tuple[str, int]] = {}  # by file: several ids may mean one
        for image in _rows(read.images):
            key, name = identity(image.get("id")), tidy(str(file_named(image)).strip())
            files.setdefault(key, name)
            if str(key) in home and name not in new:
                role, item = home[str(key)]
                rows_of = tables[role][0]
                new[name] = role, len(rows_of) + 1
                rows_of.append(_raw(image | {"id": new[name][1], "file_name": item.image}))
        for annotation in _rows(read.annotations):
            place = new.get(files.get(identity(annotation.get("image_id")), ""))
            category_id = number.get(names.get(identity(annotation.get("category_id")), ""))
            if place is not None and category_id is not None:
                rows_of = tables[place[0]][1]
                same = {"image_id": place[1], "category_id": category_id}
                rows_of.append(_raw(annotation | same | {"id": len(rows_of) + 1}))
    categories = [{"id": k, "name": name} for name, k in number.items()]
    return {
        role: msgspec.json.encode({"images": i, "annotations": a, "categories": categories})
        for role, (i, a) in tables.items()
    }


def _raw(row: Row) -> Raw:
    return Raw(msgspec.json.encode(row))


def _rows(values: Sequence[Any]) -> Iterator[Row]:
    return (row for row in rows(values) if row is not None)


def _write(path: Path, text: bytes) -> None:
    """Whole or not at all."""
    beside = path.with_name(f".{path.name}.writing")
    beside.write_bytes(text)
    os.replace(beside, path)
