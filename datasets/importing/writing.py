"""Splits written as the readers take them: lists of images, or instances files for COCO's JSON."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

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
        names = {}
        for role, items in splits.items():
            ending = "json" if found.layout == "coco" else "txt"
            names[role] = f"{within}/{role}.{ending}"
            text = _instances(found, items) if found.layout == "coco" else _list(found, items)
            _write(folder / f"{role}.{ending}", text)
        _write(folder / RECORD, json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise DataError(f"{folder}: can't be written: {error.strerror}; name --out") from None
    return names


def _list(found: Found, items: Sequence[Item]) -> str:
    lines = [f"{i.image} {i.source}" if found.layout == "voc" else i.image for i in items]
    return "".join(f"{line}\n" for line in lines)


def _instances(found: Found, items: Sequence[Item]) -> str:
    """The rows of these images as they were written, ids made anew."""
    number = {name: k for k, name in enumerate(found.classes, 1)}
    images: list[Row] = []
    annotations: list[Row] = []
    for source in dict.fromkeys(item.source for item in items):
        mine = {item.image_id: item for item in items if item.source == source}
        read = read_document(found.root / source)
        names = {identity(r.get("id")): category_name(r) for r in _rows(read.categories)}
        files: dict[Any, str] = {}
        new: dict[str, int] = {}  # by file: several ids may mean one
        for image in _rows(read.images):
            key, name = identity(image.get("id")), tidy(str(file_named(image)).strip())
            files.setdefault(key, name)
            item = mine.get(str(key))
            if item is not None and name not in new:
                new[name] = len(images) + 1
                images.append(image | {"id": new[name], "file_name": item.image})
        for annotation in _rows(read.annotations):
            image_id = new.get(files.get(identity(annotation.get("image_id")), ""))
            category_id = number.get(names.get(identity(annotation.get("category_id")), ""))
            if image_id is not None and category_id is not None:
                same = {"image_id": image_id, "category_id": category_id}
                annotations.append(annotation | same | {"id": len(annotations) + 1})
    categories = [{"id": k, "name": name} for name, k in number.items()]
    tables = {"images": images, "annotations": annotations, "categories": categories}
    return msgspec.json.encode(tables).decode()


def _rows(values: Sequence[Any]) -> Iterator[Row]:
    return (row for row in rows(values) if row is not None)


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    beside = path.with_name(f".{path.name}.writing")
    beside.write_text(text, "utf-8")
    os.replace(beside, path)
