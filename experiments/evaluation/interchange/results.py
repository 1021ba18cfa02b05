"""Detections in JSON: COCO's results list, an object that holds one, ultralytics' predictions.json,
Darknet's result.json, and the detections.json of our own `detect`.

COCO's boxes are x, y, width, height from pixel 0.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.evaluation.interchange.darknet import of_darknet
from experiments.evaluation.interchange.names import Images, Truth, identity
from experiments.evaluation.interchange.text import NUMBERS
from experiments.evaluation.tables import CORNERS, EvaluationError
from experiments.record.files import write_text

FORM = (
    "COCO's results, a list of {image_id, category_id, bbox: [x, y, width, height], score} or an"
    " object that holds it as 'annotations', 'predictions' or 'results'"
)
_LISTS = ("annotations", "predictions", "results", "detections")
AS_WRITTEN = ("category ids are the file's", "category ids are the truth's")
_FEWEST = 3  # boxes from which their unit is told
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
    if entries and all(isinstance(entry, dict) and "objects" in entry for entry in entries):
        return {"Darknet's result.json": of_darknet(path, entries, images, truth.images)}
    table = _table(path, entries)
    table["image"] = [_image(entry, files, images) for entry in entries]
    readings = {}
    if any(isinstance(category, str) for category in table["category"]):
        return {"categories are names": table.rename(columns={"category": "name"})}
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
    if held[name] and all(_is_label(row) for row in held[name]):
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
        numbers_R5 = np.array([[*entry["bbox"], entry["score"]] for entry in entries], np.float64)
        numbers_R5 = numbers_R5.reshape(len(entries), NUMBERS)
        categories = [_category(entry["category_id"]) for entry in entries]
    except (TypeError, ValueError, OverflowError):
        row = next(row for row, entry in enumerate(entries) if not _sound(entry))
        raise EvaluationError(
            f"{path}: entry {row}: expected numbers, found {entries[row]!r:.160}"
        ) from None
    box_R4 = numbers_R5[:, :4]
    _refuse_boxes(path, entries, box_R4, numbers_R5[:, 4])
    box_R4[:, 2:] += box_R4[:, :2]
    corners = {name: box_R4[:, i] for i, name in enumerate(CORNERS)}
    return pd.DataFrame({"category": categories, "score": numbers_R5[:, 4]} | corners)


def _category(value: Any) -> int | str:
    """A category by its number, or by its name as some write it."""
    try:
        return int(float(value))
    except ValueError:
        return str(value)


def _sound(entry: Row) -> bool:
    try:
        _category(entry["category_id"])
        return np.array([*entry["bbox"], entry["score"]], np.float64).shape == (NUMBERS,)
    except (TypeError, ValueError, OverflowError):
        return False


def _refuse_boxes(
    path: Path,
    entries: Sequence[Any],
    xywh_R4: NDArray[np.float64],
    score_R: NDArray[np.float64],
) -> None:
    """EvaluationError for the first box that is none, and where all are of another unit."""
    sound_R = np.isfinite(xywh_R4).all(1) & np.isfinite(score_R) & (xywh_R4[:, 2:] >= 0).all(1)
    if not sound_R.all():
        row = int(np.flatnonzero(~sound_R)[0])
        what = "expected finite numbers, width and height of 0 or more"
        raise EvaluationError(f"{path}: entry {row}: {what}, found {entries[row]!r:.160}")
    within = ((xywh_R4 >= 0) & (xywh_R4 <= 1)).all() and (xywh_R4 % 1).any()
    if within and len(xywh_R4) >= _FEWEST:
        raise EvaluationError(
            f"{path}: all {len(xywh_R4)} boxes lie within a pixel, the first is"
            f" {entries[0]['bbox']}: fractions of the image, expected pixels"
        )


def _is_label(row: Any) -> bool:
    """Whether a row is an annotation as the truth has them."""
    return isinstance(row, dict) and "score" not in row and "image_id" in row


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
        fits = {way: names for way, names in ways.items() if set(ids) <= set(names)}
        if not categories and not fits:
            ways = _counted(truth.classes) | {
                f"category ids are the truth's {step:+d}": {i + step: known[i] for i in known}
                for step in (-1, 1)
            }
            fits = {way: names for way, names in ways.items() if set(ids) <= set(names)}
            fits = dict({tuple(n.items()): (way, n) for way, n in [*fits.items()][::-1]}.values())
    else:
        if not truth.listed:
            raise EvaluationError(
                f"{path}: gives classes by number, and the truth's have none;"
                " --classes NAME .. says which they are, in order"
            )
        ways = _counted(truth.classes)
        known = next(iter(ways.values()))
        fits = {way: names for way, names in ways.items() if set(ids) <= set(names)}
    if not fits:
        unknown = sorted(set(ids) - set(known))[0]
        told = ", ".join(f"{i} {name}" for i, name in sorted(known.items()))
        raise EvaluationError(f"{path}: unknown category_id {unknown} (known: {told:.200})")
    return {way: [names[i] for i in ids] for way, names in fits.items()}


def _counted(classes: Sequence[str]) -> dict[str, Mapping[int, str]]:
    return {
        f"category ids count the classes from {first}": dict(enumerate(classes, first))
        for first in (0, 1)
    }


def _of_detect(path: Path, entries: Sequence[Row]) -> pd.DataFrame:
    rows: list[Any] = []
    try:
        for entry in entries:
            for found in entry["detections"]:
                box = [float(value) for value in found["box"]]
                if len(box) != len(CORNERS):
                    raise ValueError(f"box: expected x1, y1, x2, y2, found {box}")
                rows.append((str(entry["image"]), str(found["class"]), float(found["score"]), *box))
        return pd.DataFrame(rows, columns=["image", "name", "score", *CORNERS])
    except (KeyError, TypeError, ValueError) as error:
        raise EvaluationError(f"{path}: not the detections.json of 'detect': {error}") from error


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
