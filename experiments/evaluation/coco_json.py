"""COCO's files: `instances_*.json` as truth, results lists as detections; boxes are x, y, w, h.

Image ids become text and class labels positions in the order of category ids; numbers stay float64.
Segmentations are not read: an object's area is the annotation's own, which COCO's sizes go by.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.evaluation.dump import box_areas
from experiments.evaluation.tables import (
    CORNERS,
    DETECTION_TYPES,
    TRUTH_TYPES,
    EvaluationError,
    empty_table,
)
from experiments.record.files import write_text


def read_truth(path: Path) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...], dict[int, int]]:
    """Read truth and images tables, classes, and the label of each category id.

    Raises EvaluationError: no such file, broken JSON, a missing key, an unknown category.
    """
    values = _load(path)
    try:
        categories = sorted(values["categories"], key=lambda category: int(category["id"]))
        label_of = {int(category["id"]): label for label, category in enumerate(categories)}
        images = pd.DataFrame(
            {
                "image_id": [str(image["id"]) for image in values["images"]],
                "width": [int(image["width"]) for image in values["images"]],
                "height": [int(image["height"]) for image in values["images"]],
                "path": [str(image.get("file_name", "")) for image in values["images"]],
            }
        )
        truth = _objects(values["annotations"], label_of, path)
    except (KeyError, TypeError) as error:
        raise EvaluationError(f"{path}: not a COCO instances file: {error!r}") from error
    return truth, images, tuple(str(category["name"]) for category in categories), label_of


def read_results(path: Path, label_of: Mapping[int, int]) -> pd.DataFrame:
    """Read a results list (image_id, category_id, bbox, score); raises EvaluationError."""
    values = _load(path)
    if not isinstance(values, list):
        raise EvaluationError(f"{path}: expected a list of results, found an object")
    if not values:
        return empty_table(DETECTION_TYPES)
    try:
        return _table(
            values,
            {
                "image_id": [str(entry["image_id"]) for entry in values],
                "label": _labels([entry["category_id"] for entry in values], label_of, path),
                "score": [float(entry["score"]) for entry in values],
            },
        )
    except (KeyError, TypeError) as error:
        raise EvaluationError(f"{path}: not a list of COCO results: {error!r}") from error


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


def _objects(entries: Sequence[Any], label_of: Mapping[int, int], path: Path) -> pd.DataFrame:
    if len(entries) == 0:
        return empty_table(TRUTH_TYPES)
    table = _table(
        entries,
        {
            "image_id": [str(entry["image_id"]) for entry in entries],
            "label": _labels([entry["category_id"] for entry in entries], label_of, path),
            "difficult": np.zeros(len(entries), dtype=bool),
            "crowd": np.array([bool(entry.get("iscrowd", 0)) for entry in entries]),
        },
    )
    own = [entry.get("area") for entry in entries]
    boxes = box_areas(table[CORNERS].to_numpy(np.float64))
    area = [box if given is None else float(given) for given, box in zip(own, boxes, strict=True)]
    return table.assign(area=area)


def _table(entries: Sequence[Any], columns: dict[str, Any]) -> pd.DataFrame:
    box_R4 = np.array([entry["bbox"] for entry in entries], dtype=np.float64)
    box_R4[:, 2:] += box_R4[:, :2]
    return pd.DataFrame(columns | {name: box_R4[:, i] for i, name in enumerate(CORNERS)})


def _labels(ids: Sequence[Any], label_of: Mapping[int, int], path: Path) -> list[int]:
    unknown = sorted({int(i) for i in ids} - set(label_of))
    if unknown:
        known = ", ".join(map(str, label_of))
        raise EvaluationError(f"{path}: unknown category_id {unknown[0]} (known: {known:.200})")
    return [label_of[int(i)] for i in ids]


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EvaluationError(f"{path}: no such file") from error
    except ValueError as error:
        raise EvaluationError(f"{path}: broken JSON: {error}") from error
