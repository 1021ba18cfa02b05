"""Reading COCO instances files for the doctor: rows that can't be used become findings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.coco import (
    ANNOTATION_FIELDS,
    CATEGORY_FIELDS,
    IMAGE_FIELDS,
    Fields,
    Row,
    image_folder,
    raw_columns,
    read_document,
    read_file,
    wrong_field,
)
from datasets.doctor.voc import Read
from datasets.errors import DataError, Finding
from datasets.index import Columns, pack_text
from datasets.layouts import coco_splits


def read(root: Path, splits: Sequence[str], images: str | None) -> Read:
    """Read the files named, or all there are; DataError when one can't be read at all."""
    findings: list[Finding] = []
    parts: list[Columns] = []
    files: list[str] = []
    member_of: list[frozenset[str]] = []
    for name in splits or coco_splits(root):
        try:
            document = read_document(root / name, read_file(root / name))
        except DataError as error:
            message = str(error).removeprefix(f"{root / name}: ")
            findings.append(Finding(name, None, "broken_labels", message))
            continue
        sound = sound_rows(document, name, findings)
        part = raw_columns(root / name, image_folder(root, name, images), *sound)
        count = len(part["first"]) - 1
        part.arrays["source"], part.arrays["source_ends"] = pack_text([name] * count)
        parts.append(part)
        files += [name] * count
        member_of += [frozenset([name])] * count
    return Read(_joined(parts), files, member_of, findings)


def sound_rows(
    document: Row, name: str, findings: list[Finding]
) -> tuple[list[Row], list[Row], list[Row]]:
    """Images, annotations and categories that can be used; the faults of the others are noted."""
    images = _table(document, name, "images", IMAGE_FIELDS, findings)
    images = _once(images, name, "images", "id", findings)
    images = [row for row in images if _inside(row, name, findings)]
    categories = _table(document, name, "categories", CATEGORY_FIELDS, findings)
    categories = _once(categories, name, "categories", "id", findings)
    categories = _once(categories, name, "categories", "name", findings)
    annotations = _table(document, name, "annotations", ANNOTATION_FIELDS, findings)
    annotations = _once(annotations, name, "annotations", "id", findings)
    ids, kinds = {row["id"] for row in images}, {row["id"] for row in categories}
    sound = []
    for row in annotations:
        lost = "image_id" if row["image_id"] not in ids else "category_id"
        if row["image_id"] in ids and row["category_id"] in kinds:
            sound.append(row)
        else:
            message = f"annotation: {lost} {row[lost]!r} is not in the file"
            findings.append(Finding(name, _number(row), "bad_row", message))
        if not isinstance(row.get("area"), (int, float)):
            message = "annotation: has no area; read as width x height"
            findings.append(Finding(name, _number(row), "missing_area", message))
    return images, sound, categories


def _table(
    document: Row, name: str, table: str, fields: Fields, findings: list[Finding]
) -> list[Row]:
    rows = document.get(table)
    if not isinstance(rows, list):
        findings.append(Finding(name, None, "broken_labels", f"{table}: missing or not a list"))
        return []
    sound = []
    for number, row in enumerate(rows):
        wrong = wrong_field(row, fields)
        if wrong is None:
            sound.append(row)
        else:
            message = f"{table}[{number}].{wrong}: missing or of the wrong type"
            findings.append(Finding(name, _number(row), "bad_row", message))
    return sound


def _once(rows: list[Row], name: str, table: str, field: str, findings: list[Finding]) -> list[Row]:
    """Rows whose `field` is new, or absent."""
    seen: set[Any] = set()
    sound = []
    for row in rows:
        value = row.get(field)
        if value is not None and not isinstance(value, (int, str)):
            value = str(value)
        if value in seen:
            message = f"{table}: {field} {value!r} is there before"
            findings.append(Finding(name, _number(row), "duplicate_id", message))
            continue
        if value is not None:
            seen.add(value)
        sound.append(row)
    return sound


def _inside(row: Row, name: str, findings: list[Finding]) -> bool:
    file = row["file_name"]
    if file.startswith("/") or ".." in file.split("/") or "\0" in file:
        message = f"images: file_name {file!r} leads out of the image folder"
        findings.append(Finding(name, _number(row), "bad_row", message))
        return False
    size = (row.get("height"), row.get("width"))
    if not all(isinstance(side, int) and side > 0 for side in size):
        message = f"image {row['id']!r}: has no height or width"
        findings.append(Finding(name, _number(row), "missing_size", message))
    return True


def _number(row: Any) -> int | None:
    identity = row.get("id") if isinstance(row, dict) else None
    return identity if isinstance(identity, int) else None


_TEXTS = ("image_id", "image", "source")


def _joined(parts: Sequence[Columns]) -> Columns:
    """Several files' columns as one, their categories told by name."""
    names = sorted({name for part in parts for name in part.meta["names"]})
    renumber = {name: number for number, name in enumerate(names)}
    arrays: dict[str, list[Any]] = {}
    first, counts = 0, [np.zeros(1, np.int64)]
    for part in parts:
        lookup = np.array([renumber[name] for name in part.meta["names"]] or [0], np.int32)
        for field in ("size_hw", "boxes", "difficult", "crowd", "area", "object"):
            arrays.setdefault(field, []).append(part[field])
        arrays.setdefault("name", []).append(lookup[part["name"]])
        counts.append(part["first"][1:] + first)
        first += int(part["first"][-1])
        for field in _TEXTS:
            arrays.setdefault(field, []).append(part[field])
            ends = arrays.setdefault(f"{field}_ends", [np.zeros(1, np.int64)])
            ends.append(part[f"{field}_ends"][1:] + ends[-1][-1])
    if not parts:
        return _empty()
    joined = {field: np.concatenate(values) for field, values in arrays.items()}
    return Columns(joined | {"first": np.concatenate(counts)}, {"names": names})


def _empty() -> Columns:
    return raw_columns(Path(), "", [], [], [])
