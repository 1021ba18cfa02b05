"""The dump of an evaluation: three Parquet files from which every number can be computed again.

A compact dump (`compact.py`) has detections alone, in fewer bits, and leads to the folder of the
truth and images that it shares with others.

Columns and their meaning are in `tables.py`; the class names travel in each file's metadata, so
that a label can't be read with another data set's names.

Gathering detections and labels image by image into the tables of a dump.

Shapes: D detections, N objects of one image. Boxes are xyxy pixels of the original image
(`tables.py`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from experiments.evaluation import packing
from experiments.evaluation.tables import (
    CORNERS,
    DETECTION_TYPES,
    IMAGE_TYPES,
    OPTIONAL,
    TRUTH_TYPES,
    EvaluationError,
    empty_table,
    require_columns,
)
from experiments.record.files import whole_file
from experiments.record.origin import file_hash


class DetectionCollector:
    """Gathers detections, as a detector gives them for one image after the other."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._boxes: list[NDArray[Any]] = []
        self._scores: list[NDArray[Any]] = []
        self._labels: list[NDArray[Any]] = []

    def add(
        self, image_id: str, boxes_D4: ArrayLike, scores_D: ArrayLike, labels_D: ArrayLike
    ) -> None:
        """Add the detections of one image, in any order; there may be none."""
        boxes = np.asarray(boxes_D4, dtype=np.float32).reshape(-1, 4)
        scores = np.asarray(scores_D, dtype=np.float32)
        labels = np.asarray(labels_D)
        _same_length(image_id, boxes=boxes, scores=scores, labels=labels)
        self._ids.append(image_id)
        self._boxes.append(boxes)
        self._scores.append(scores)
        self._labels.append(labels)

    def table(self) -> pd.DataFrame:
        """All detections so far, in the order they came."""
        columns = {
            "image_id": _repeated(self._ids, self._boxes),
            "label": _joined(self._labels),
            "score": _joined(self._scores),
        }
        return _table(columns | _corners(self._boxes), DETECTION_TYPES)


class TruthCollector:
    """Gathers the labels of a data set, and its images."""

    def __init__(self) -> None:
        self._images: list[tuple[str, int, int, str]] = []
        self._turns: list[int] = []
        self._boxes: list[NDArray[Any]] = []
        self._columns: dict[str, list[NDArray[Any]]] = {
            name: [] for name in ("label", "difficult", "crowd", "area")
        }

    def add(
        self,
        image_id: str,
        *,
        width: int,
        height: int,
        path: str,
        boxes_N4: ArrayLike,
        labels_N: ArrayLike,
        difficult_N: ArrayLike | None = None,
        crowd_N: ArrayLike | None = None,
        area_N: ArrayLike | None = None,
        turn: int = 1,
    ) -> None:
        """Add one image and its objects; without `area_N` an object's area is that of its box.

        `turn`: the EXIF orientation that is applied to the file's pixels, 1 for none.
        """
        boxes = np.asarray(boxes_N4, dtype=np.float32).reshape(-1, 4)
        none = np.zeros(len(boxes), dtype=np.bool_)
        columns = {
            "label": np.asarray(labels_N),
            "difficult": none if difficult_N is None else np.asarray(difficult_N),
            "crowd": none if crowd_N is None else np.asarray(crowd_N),
            "area": box_areas(boxes) if area_N is None else np.asarray(area_N),
        }
        _same_length(image_id, boxes=boxes, **columns)
        self._images.append((image_id, width, height, path))
        self._turns.append(turn)
        self._boxes.append(boxes)
        for name, values in columns.items():
            self._columns[name].append(values)

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The truth table and the images table, in the order they came."""
        ids = [image[0] for image in self._images]
        columns = {"image_id": _repeated(ids, self._boxes)} | _corners(self._boxes)
        columns |= {name: _joined(values) for name, values in self._columns.items()}
        truth = _table(columns, TRUTH_TYPES)
        if not self._images:
            return truth, empty_table(IMAGE_TYPES)
        images = pd.DataFrame(self._images, columns=list(IMAGE_TYPES)).astype(IMAGE_TYPES)
        if any(turn != 1 for turn in self._turns):
            images["turn"] = np.array(self._turns, np.uint8)
        return truth, images


def box_areas(boxes_N4: NDArray[Any]) -> NDArray[Any]:
    """Width times height, in square pixels."""
    area_N: NDArray[Any] = (boxes_N4[:, 2] - boxes_N4[:, 0]) * (boxes_N4[:, 3] - boxes_N4[:, 1])
    return area_N


def _same_length(image_id: str, **columns: NDArray[Any]) -> None:
    if len({len(values) for values in columns.values()}) > 1:
        told = ", ".join(f"{len(values)} {name}" for name, values in columns.items())
        raise EvaluationError(f"image {image_id!r}: {told}; there must be as many of each")


def _repeated(ids: Sequence[str], boxes: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.repeat(np.array(ids, dtype=object), [len(part) for part in boxes])


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0)


def _corners(boxes: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    box_R4 = np.concatenate(boxes) if boxes else np.zeros((0, 4))
    return {name: box_R4[:, i] for i, name in enumerate(CORNERS)}


def _table(columns: dict[str, NDArray[Any]], types: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame({name: columns[name] for name in types}).astype(types)


FILES = {
    "detections": "detections.parquet",
    "truth": "truth.parquet",
    "images": "images.parquet",
}
_TYPES = {"detections": DETECTION_TYPES, "truth": TRUTH_TYPES, "images": IMAGE_TYPES}
_META = b"softgamma"


@dataclass(frozen=True, slots=True)
class Tables:
    """What an evaluation needs, as tables (`tables.py` tells the columns)."""

    detections: pd.DataFrame
    truth: pd.DataFrame
    images: pd.DataFrame
    classes: tuple[str, ...]


def write_table(path: Path, table: pd.DataFrame, kind: str, classes: tuple[str, ...]) -> Path:
    """Write one table ("detections", "truth" or "images") as Parquet, whole or not at all.

    The same table and classes always give the same bytes.
    """
    require_columns(table, _TYPES[kind], kind)
    types = _types_of(table, kind)
    arrow = pa.Table.from_pandas(table[list(types)].astype(types), preserve_index=False)
    known = {"format": 1, "kind": kind, "classes": list(classes)}
    arrow = arrow.replace_schema_metadata({_META: json.dumps(known).encode()})
    with whole_file(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")
    return path


def write_compact(
    folder: Path, detections: pd.DataFrame, classes: tuple[str, ...], step: float | None, truth: str
) -> Path:
    """Write compact detections; `truth`: the folder of truth and images, from this one, which holds
    them already.
    """
    folder.mkdir(parents=True, exist_ok=True)  # or no path leads on from it
    images = folder / truth / FILES["images"]
    arrow, known = packing.pack(detections, _image_ids(images), step)
    known |= {"kind": "detections", "classes": list(classes), "truth": truth}
    known |= {"images": file_hash(images)}
    known |= {key: detections.attrs[key] for key in ("complete_from", "of")}
    path = folder / FILES["detections"]
    form = packing.encodings(arrow)
    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(temporary, arrow.schema, compression="zstd", **form) as writer,
    ):
        writer.write_table(arrow)
        writer.add_key_value_metadata({_META: json.dumps(known).encode()})
    return path


def _types_of(table: pd.DataFrame, kind: str) -> dict[str, str]:
    """The columns of a kind of table, with optional ones where they are there."""
    more = OPTIONAL.get(kind, {})
    return _TYPES[kind] | more if set(more) <= set(table.columns) else _TYPES[kind]


def is_compact(path: Path) -> bool:
    """Whether this detections.parquet leaves out what it counts."""
    return bool(_known(path).get("format") == packing.FORMAT)


def truth_folder(folder: Path) -> Path:
    """Where truth and images of the run in `folder` lie: beside its detections, or shared."""
    path = folder / FILES["detections"]
    if (folder / FILES["truth"]).is_file() or not path.is_file():
        return folder
    return folder / str(_known(path).get("truth", "."))


def _image_ids(path: Path) -> list[str]:
    ids: list[str] = read_table(path, "images")[0]["image_id"].tolist()
    return ids


def _unpacked(path: Path, arrow: pa.Table, meta: dict[str, Any]) -> pd.DataFrame:
    """Compact detections as a table; raises EvaluationError where the images' table is another."""
    images = path.parent / meta["truth"] / FILES["images"]
    if images.is_file() and file_hash(images) != meta["images"]:
        raise EvaluationError(f"{images}: is not the file that {path} was written for")
    return packing.unpack(arrow, meta, _image_ids(images))


def _known(path: Path) -> dict[str, Any]:
    """What the file says of itself; raises EvaluationError where it is no Parquet file."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise EvaluationError(f"{path}: not a Parquet file ({error})") from error
    return dict(json.loads(metadata.get(_META, b"{}")))


def read_table(path: Path, kind: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read a table and its class names; raises EvaluationError for any other file.

    Compact detections have the columns LEFT_OUT, and in `attrs` the score from which all are here
    (complete_from) and the hash of the whole file (of).
    """
    if not path.is_file():
        raise EvaluationError(f"{path}: no such file")
    meta = _known(path)
    try:
        arrow = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise EvaluationError(f"{path}: not a Parquet file ({error})") from error
    if meta.get("format", 1) not in (1, packing.FORMAT):
        raise EvaluationError(f"{path}: of format {meta['format']!r}, which another version reads")
    if meta.get("kind") != kind:
        raise EvaluationError(
            f"{path}: expected {kind}, found {meta.get('kind', 'a foreign table')}"
        )
    compact = meta["format"] == packing.FORMAT
    table = _unpacked(path, arrow, meta) if compact else arrow.to_pandas()
    require_columns(table, _TYPES[kind], str(path))
    table = table.astype(_types_of(table, kind))
    table.attrs = {key: meta[key] for key in ("complete_from", "of") if key in meta}
    return table, tuple(meta["classes"])


def write_dump(folder: Path, tables: Tables) -> dict[str, Path]:
    """Write the three files of a run; returns their paths by kind."""
    return {
        kind: write_table(folder / name, getattr(tables, kind), kind, tables.classes)
        for kind, name in FILES.items()
    }


def read_dump(folder: Path) -> Tables:
    """Read the three files of a run; raises EvaluationError where their classes differ."""
    shared = truth_folder(folder)
    places = {kind: folder if kind == "detections" else shared for kind in FILES}
    read = {kind: read_table(places[kind] / name, kind) for kind, name in FILES.items()}
    classes = {kind: names for kind, (_, names) in read.items()}
    if len(set(classes.values())) > 1:
        raise EvaluationError(f"{folder}: the files hold different classes: {classes}")
    tables = {kind: table for kind, (table, _) in read.items()}
    return Tables(**tables, classes=classes["detections"])
