"""Detections in JSON: COCO's results list, an object that holds one, ultralytics' predictions.json,
and the detections.json of our own `detect`. COCO's boxes are x, y, width, height from pixel 0.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.evaluation.interchange.names import Images, Truth, identity
from experiments.evaluation.tables import CORNERS, EvaluationError
from experiments.record.files import write_text

FORM = (
    "COCO's results, a list of {image_id, category_id, bbox: [x, y, width, height], score} or an"
    " object that holds it as 'annotations', 'predictions' or 'results'"
)
_LISTS = ("annotations", "predictions", "results", "detections")
_KEYS = ("image_id", "category_id", "bbox", "score")
Row = dict[str, Any]


def read_results(path: Path, truth: Truth, images: Images) -> dict[str, pd.DataFrame]:
    """What the file holds, in every reading of its category ids: image, class, score, corners.

    Raises EvaluationError, which names the entry.
    """
    document = _load(path)
    entries, categories, files = _entries(path, document)
    if entries and all(isinstance(entry, dict) and "detections" in entry for entry in entries):
        return {"our detections.json": _of_detect(path, entries)}
    table = _table(path, entries)
    table["image"] = [_image(entry, files, images) for entry in entries]
    readings = {}
    for form, names in _namings(path, table["category"].tolist(), categories, truth).items():
        readings[form] = table.assign(name=names).drop(columns="category")
    return readings


def _entries(path: Path, document: Any) -> tuple[list[Any], dict[int, str], dict[str, str]]:
    """The results, the names of categories and the files of images where the document has them."""
    if isinstance(document, list):
        return document, {}, {}
    held = document if isinstance(document, dict) else {}
    name = next((key for key in _LISTS if isinstance(held.get(key), list)), None)
    if name is None:
        found = f"an object of {', '.join(map(str, held)) or 'nothing'}" if held else "neither"
        raise EvaluationError(f"{path}: expected {FORM}; found {found:.200}")
    try:
        categories = {int(row["id"]): str(row["name"]) for row in held.get("categories") or ()}
        files = {
            identity(row["id"]): str(row["file_name"])
            for row in held.get("images") or ()
            if "file_name" in row
        }
    except (KeyError, TypeError, ValueError) as error:
        raise EvaluationError(f"{path}: categories or images: {error!r}") from error
    if held[name] and all("score" not in row for row in held[name] if isinstance(row, dict)):
        raise EvaluationError(
            f"{path}: its {name} have no score: labels, not detections; --truth takes them"
        )
    return held[name], categories, files


def _table(path: Path, entries: Sequence[Any]) -> pd.DataFrame:
    """Category, score and corners of every entry; ids and numbers may be written as text."""
    for row, entry in enumerate(entries):
        missing = [key for key in _KEYS if not isinstance(entry, dict) or entry.get(key) is None]
        if missing:
            raise EvaluationError(
                f"{path}: entry {row} has no {missing[0]}; expected {FORM}; found {entry!r:.120}"
            )
    try:
        box_R4 = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
        score_R = np.array([entry["score"] for entry in entries], np.float64)
        categories = [int(float(entry["category_id"])) for entry in entries]
    except (TypeError, ValueError):
        row = next(row for row, entry in enumerate(entries) if not _sound(entry))
        raise EvaluationError(
            f"{path}: entry {row}: expected numbers, found {entries[row]!r:.160}"
        ) from None
    box_R4[:, 2:] += box_R4[:, :2]
    corners = {name: box_R4[:, i] for i, name in enumerate(CORNERS)}
    return pd.DataFrame({"category": categories, "score": score_R} | corners)


def _sound(entry: Row) -> bool:
    try:
        int(float(entry["category_id"]))
        return np.array([*entry["bbox"], entry["score"]], np.float64).shape == (5,)
    except (TypeError, ValueError):
        return False


def _image(entry: Row, files: Mapping[str, str], images: Images) -> str:
    """The name of an entry's image: its id, or else the file that the entry or the document
    names.
    """
    name = identity(entry["image_id"])
    others = (entry.get("file_name"), files.get(name))
    if name in files or images.find(name) is None:
        return next((str(other) for other in others if other), name)
    return name


def _namings(
    path: Path, ids: Sequence[int], categories: Mapping[int, str], truth: Truth
) -> dict[str, list[str]]:
    """Class names of the category ids, in every way that fits."""
    if categories or truth.label_by_category:
        known = categories or {
            i: truth.classes[label] for i, label in truth.label_by_category.items()
        }
        of = "the file's" if categories else "the truth's"
        ways = {f"category ids are {of}": known}
        if not categories:
            ways |= {
                "category ids count the classes from 1": {i + 1: known[i] for i in known},
                "category ids count the classes from 0": {i - 1: known[i] for i in known},
            }
        fits = {way: names for way, names in ways.items() if set(ids) <= set(names)}
        fits = dict(list(fits.items())[:1])  # as they stand, where that fits
    else:
        if not truth.listed:
            raise EvaluationError(
                f"{path}: gives classes by number, and the truth's have none;"
                " --classes NAME .. says which they are, in order"
            )
        known = dict(enumerate(truth.classes))
        ways = {
            "category ids count the classes from 0": known,
            "category ids count the classes from 1": {i + 1: name for i, name in known.items()},
        }
        fits = {way: names for way, names in ways.items() if set(ids) <= set(names)}
    if not fits:
        unknown = sorted(set(ids) - set(known))[0]
        told = ", ".join(f"{i} {name}" for i, name in sorted(known.items()))
        raise EvaluationError(f"{path}: unknown category_id {unknown} (known: {told:.200})")
    return {way: [names[i] for i in ids] for way, names in fits.items()}


def _of_detect(path: Path, entries: Sequence[Row]) -> pd.DataFrame:
    rows: list[Any] = []
    try:
        for entry in entries:
            for found in entry["detections"]:
                box = [float(value) for value in found["box"]]
                rows.append((str(entry["image"]), str(found["class"]), float(found["score"]), *box))
        return pd.DataFrame(rows, columns=["image", "name", "score", *CORNERS])
    except (KeyError, TypeError, ValueError) as error:
        raise EvaluationError(f"{path}: not the detections.json of 'detect': {error!r}") from error


def write_results(path: Path, detections: pd.DataFrame, category_ids: Sequence[int]) -> Path:
    """Write detections as a results list; `category_ids` by label, numeric image ids as numbers."""
    box_D4 = detections[CORNERS].to_numpy(np.float64, copy=True)
    box_D4[:, 2:] -= box_D4[:, :2]
    ids = [int(name) if name.isdigit() else name for name in detections["image_id"]]
    columns = (ids, detections["label"], box_D4.tolist(), detections["score"].astype(float))
    rows = [
        {"image_id": i, "category_id": int(category_ids[label]), "bbox": box, "score": float(score)}
        for i, label, box, score in zip(*columns, strict=True)
    ]
    write_text(path, json.dumps(rows) + "\n")
    return path


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())  # in UTF-8 or UTF-16, with or without a mark
    except OSError as error:
        raise EvaluationError(f"{path}: can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"{path}: broken JSON: {error}") from error
