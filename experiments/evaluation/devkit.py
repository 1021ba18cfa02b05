"""PASCAL VOC's own files: detections as `comp4_det_<split>_<class>.txt`, truth as annotation XML.

Corners there are 1-based and inclusive; here they become 0-based with x2 and y2 exclusive, so only
x1 and y1 change (by 1).
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import numpy as np
import pandas as pd
from defusedxml import ElementTree

from experiments.evaluation.dump import Tables, TruthCollector
from experiments.evaluation.tables import DETECTION_TYPES, EvaluationError, empty_table

_COLUMNS = ["image_id", "score", "x1", "y1", "x2", "y2"]


def read_detections(folder: Path, classes: Sequence[str], prefix: str) -> pd.DataFrame:
    """Read one text file a class; numbers stay float64. A file without lines holds none.

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


def write_detections(
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


def read_truth(
    root: Path, split: str, classes: Sequence[str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Read a VOC-layout folder: truth and images tables, and the classes.

    Without `classes` they are those that occur, sorted by name; with them, others are left out.
    Raises EvaluationError for a missing split or file, broken XML and boxes that aren't numbers.
    """
    ids = read_split(root, split)
    roots = {image_id: _parse(root / "Annotations" / f"{image_id}.xml") for image_id in ids}
    if classes is None:
        found = {_text(item, "name") for top in roots.values() for item in top.iter("object")}
        classes = sorted(found)
    label_of = {name: label for label, name in enumerate(classes)}
    collector = TruthCollector()
    for image_id, top in roots.items():
        items = [item for item in top.iter("object") if _text(item, "name") in label_of]
        folder = root / "JPEGImages"
        collector.add(
            image_id,
            width=int(_number(top, "size/width", image_id)),
            height=int(_number(top, "size/height", image_id)),
            path=str(folder / (top.findtext("filename") or f"{image_id}.jpg")),
            boxes_N4=[_box(item, image_id) for item in items],
            labels_N=np.array([label_of[_text(item, "name")] for item in items], dtype=np.int64),
            difficult_N=np.array([item.findtext("difficult") == "1" for item in items], dtype=bool),
        )
    return *collector.tables(), tuple(classes)


def read_split(root: Path, split: str) -> list[str]:
    """The image ids of `ImageSets/Main/<split>.txt`."""
    path = root / "ImageSets" / "Main" / f"{split}.txt"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.txt"))) or "none"
        raise EvaluationError(f"{path}: no such split (there: {there:.300})")
    return [line.split()[0] for line in path.read_text().splitlines() if line.strip()]


def read(root: Path, split: str, folder: Path, classes: Sequence[str], prefix: str) -> Tables:
    """Truth and detections of the devkit together."""
    truth, images, names = read_truth(root, split, classes)
    return Tables(read_detections(folder, names, prefix), truth, images, names)


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


def _parse(path: Path) -> Element:
    try:
        top: Element | None = ElementTree.parse(path).getroot()
    except FileNotFoundError as error:
        raise EvaluationError(f"{path}: no such file") from error
    except ParseError as error:
        raise EvaluationError(f"{path}: broken XML: {error}") from error
    if top is None:
        raise EvaluationError(f"{path}: an XML file without elements")
    return top


def _box(item: Element, image_id: str) -> list[float]:
    corners = [_number(item, f"bndbox/{key}", image_id) for key in ("xmin", "ymin", "xmax", "ymax")]
    return [corners[0] - 1, corners[1] - 1, corners[2], corners[3]]


def _number(item: Element, key: str, image_id: str) -> float:
    text = item.findtext(key)
    try:
        return float(text or "")
    except ValueError as error:
        raise EvaluationError(
            f"{image_id}.xml: {key}: expected a number, found {text!r}"
        ) from error


def _text(item: Element, key: str) -> str:
    return (item.findtext(key) or "").strip()
