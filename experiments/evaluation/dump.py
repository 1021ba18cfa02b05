"""The dump of an evaluation: three Parquet files from which every number can be computed again.

Columns and their meaning are in `tables.py`; the class names travel in each file's metadata, so
that a label can't be read with another data set's names.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.evaluation.tables import (
    DETECTION_TYPES,
    IMAGE_TYPES,
    TRUTH_TYPES,
    EvaluationError,
    require_columns,
)
from experiments.record.files import whole_file

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
    types = _TYPES[kind]
    require_columns(table, types, kind)
    arrow = pa.Table.from_pandas(table[list(types)].astype(types), preserve_index=False)
    meta = json.dumps({"format": 1, "kind": kind, "classes": list(classes)})
    arrow = arrow.replace_schema_metadata({_META: meta.encode()})
    with whole_file(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")
    return path


def read_table(path: Path, kind: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read a table and its class names; raises EvaluationError for any other file."""
    if not path.is_file():
        raise EvaluationError(f"{path}: no such file")
    try:
        arrow = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise EvaluationError(f"{path}: not a Parquet file ({error})") from error
    meta = json.loads((arrow.schema.metadata or {}).get(_META, b"{}"))
    if meta.get("kind") != kind:
        raise EvaluationError(
            f"{path}: expected {kind}, found {meta.get('kind', 'a foreign table')}"
        )
    table = arrow.to_pandas()
    require_columns(table, _TYPES[kind], str(path))
    return table.astype(_TYPES[kind]), tuple(meta["classes"])


def write_dump(folder: Path, tables: Tables) -> dict[str, Path]:
    """Write the three files of a run; returns their paths by kind."""
    return {
        kind: write_table(folder / name, getattr(tables, kind), kind, tables.classes)
        for kind, name in FILES.items()
    }


def read_dump(folder: Path) -> Tables:
    """Read the three files of a run; raises EvaluationError where their classes differ."""
    read = {kind: read_table(folder / name, kind) for kind, name in FILES.items()}
    classes = {kind: names for kind, (_, names) in read.items()}
    if len(set(classes.values())) > 1:
        raise EvaluationError(f"{folder}: the files hold different classes: {classes}")
    tables = {kind: table for kind, (table, _) in read.items()}
    return Tables(**tables, classes=classes["detections"])
