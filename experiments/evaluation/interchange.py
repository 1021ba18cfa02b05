"""Detections in others' files: the devkit's `comp4_det_<split>_<class>.txt`, COCO's results list.

Truth is not read here: labels have one reader (`datasets/`), which `experiments/run/truth.py` asks.
The devkit's corners are 1-based and inclusive; here they become 0-based with x2 and y2 exclusive,
so only x1 and y1 change (by 1). COCO's boxes are x, y, w, h. Numbers stay float64.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.evaluation.tables import (
    CORNERS,
    DETECTION_TYPES,
    EvaluationError,
    empty_table,
)
from experiments.record.files import write_text

_COLUMNS = ["image_id", "score", *CORNERS]


def read_devkit(folder: Path, classes: Sequence[str], prefix: str) -> pd.DataFrame:
    """Read one text file a class. A file without lines holds none.

    `prefix` is the part before the class, such as "comp4_det_test_". Raises EvaluationError.
    """
    tables = []
    for label, name in enumerate(classes):
        path = folder / f"{prefix}{name}.txt"
        if not path.is_file():
            raise EvaluationError(f"{path}: no such file; one is needed for each class")
        table = _read_text(path)
        table.insert(1, "label", np.int16(label))
        tables.append(table)
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else empty_table(DETECTION_TYPES)


def devkit_prefix(folder: Path, classes: Sequence[str]) -> str:
    """What stands before the class in the names of a folder's files; raises EvaluationError."""
    found = sorted(folder.glob(f"*_{classes[0]}.txt")) if classes else []
    if len(found) != 1:
        raise EvaluationError(
            f"{folder}: expected one file '*_{classes[0] if classes else 'CLASS'}.txt' of the "
            f"devkit's form, found {len(found)}"
        )
    return found[0].name.removesuffix(f"{classes[0]}.txt")


def write_devkit(
    folder: Path, detections: pd.DataFrame, classes: Sequence[str], prefix: str
) -> list[Path]:
    """Write one text file a class, with 6 decimals, in the table's order; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for label, name in enumerate(classes):
        rows = detections.loc[detections["label"] == label, _COLUMNS].copy()
        rows[["x1", "y1"]] += 1
        paths.append(folder / f"{prefix}{name}.txt")
        rows.to_csv(paths[-1], sep=" ", header=False, index=False, float_format="%.6f")
    return paths


def read_results(path: Path, label_of: Mapping[int, int]) -> pd.DataFrame:
    """Read COCO's results list (image_id, category_id, bbox, score); raises EvaluationError.

    `label_of`: the label of each category id.
    """
    values = _load(path)
    if not isinstance(values, list):
        raise EvaluationError(f"{path}: expected a list of results, found an object")
    if not values:
        return empty_table(DETECTION_TYPES)
    try:
        columns = {
            "image_id": [str(entry["image_id"]) for entry in values],
            "label": _labels([entry["category_id"] for entry in values], label_of, path),
            "score": [float(entry["score"]) for entry in values],
        }
        box_R4 = np.array([entry["bbox"] for entry in values], dtype=np.float64)
    except (KeyError, TypeError) as error:
        raise EvaluationError(f"{path}: not a list of COCO results: {error!r}") from error
    box_R4[:, 2:] += box_R4[:, :2]
    return pd.DataFrame(columns | {name: box_R4[:, i] for i, name in enumerate(CORNERS)})


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


def _read_text(path: Path) -> pd.DataFrame:
    types = {name: "float64" for name in _COLUMNS} | {"image_id": "str"}
    try:
        table = pd.read_csv(path, sep=r"\s+", header=None, names=_COLUMNS, dtype=types)
    except ValueError as error:
        raise EvaluationError(
            f"{path}: expected 'image score xmin ymin xmax ymax' in every line ({error})"
        ) from error
    if table.isna().to_numpy().any():
        row = int(np.flatnonzero(table.isna().to_numpy().any(axis=1))[0])
        raise EvaluationError(f"{path}:{row + 1}: a value is missing or not a number")
    table[["x1", "y1"]] -= 1
    return table


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
