"""Detections of a compact dump as whole numbers, and back: the one place that knows the form.

Rows lie by class and falling score, so that their order is the ranking, which decides average
precision. An image is a row of the table of images, a score what it falls short of the row before
in 65535ths, a corner whole steps from an origin. Counts of what was left out are whole numbers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from experiments.evaluation.tables import CORNERS, LEFT_OUT, EvaluationError, Ints

FORMAT = 3  # of a compact detections.parquet; whole dumps have format 1
MOST = 65535
# A column's first bytes together, then its second: Zstandard makes them a third smaller than
# Parquet's differences do, for most numbers are small.
ENCODING = "BYTE_STREAM_SPLIT"


def pack(
    table: pd.DataFrame, images: Sequence[str], step: float | None
) -> tuple[pa.Table, dict[str, Any]]:
    """The table's rows and what `unpack` must know. `images`: the ids of their table; `step`:
    pixels of which corners are whole multiples, or None for corners as they are.

    Raises EvaluationError for scores outside of 0 to 1.
    """
    score_D = table["score"].to_numpy(np.float64)
    if len(score_D) and (score_D.min() < 0 or score_D.max() > 1):
        raise EvaluationError(f"scores from {score_D.min():g} to {score_D.max():g}, not 0 to 1")
    label_D = table["label"].to_numpy(np.int64)
    short_D = MOST - np.round(score_D * MOST).astype(np.int64)
    begins_D = np.diff(label_D, prepend=-1) != 0
    fall_D = np.where(begins_D, short_D, np.diff(short_D, prepend=0))
    image_D = pd.Index(images).get_indexer(pd.Index(table["image_id"]))
    columns: dict[str, Ints] = {"image": image_D, "label": label_D, "fall": fall_D}
    columns |= {name: table[name].to_numpy(np.int64) for name in LEFT_OUT}
    arrays = {name: pa.array(column.astype(np.int32)) for name, column in columns.items()}
    known: dict[str, Any] = {"format": FORMAT, "step": step}
    box_D4 = table[CORNERS].to_numpy(np.float64)
    if step is not None:
        known["origin"] = float(np.floor(box_D4.min(initial=0.0)))
        box_D4 = np.round((box_D4 - known["origin"]) / step)
    kind = np.float32 if step is None else np.int32
    arrays |= {name: pa.array(box_D4[:, i].astype(kind)) for i, name in enumerate(CORNERS)}
    return pa.table(arrays), known


def encodings(arrow: pa.Table) -> dict[str, Any]:
    """How Parquet is to write it: without what it would tell of each column beside it."""
    return {
        "column_encoding": dict.fromkeys(arrow.column_names, ENCODING),
        "use_dictionary": False,
        "compression_level": 19,
        "write_statistics": False,
        "store_schema": False,
    }


def unpack(arrow: pa.Table, known: dict[str, Any], images: Sequence[str]) -> pd.DataFrame:
    """The table with the types of every other (`tables.DETECTION_TYPES`), and LEFT_OUT.

    Raises EvaluationError for rows of images that are not there.
    """
    packed = arrow.to_pandas()
    image_D, label_D = packed["image"].to_numpy(), packed["label"].to_numpy()
    if len(image_D) and not 0 <= image_D.min() <= image_D.max() < len(images):
        raise EvaluationError(f"images {image_D.min()} to {image_D.max()} of {len(images)}")
    short_D = packed["fall"].to_numpy(np.int64).cumsum()
    first_D = np.searchsorted(label_D, label_D)  # rows by class
    before_D = np.r_[0, short_D][first_D]
    table = pd.DataFrame({"image_id": np.array(images, dtype=object)[image_D], "label": label_D})
    table["score"] = 1 - (short_D - before_D) / MOST
    box_D4 = packed[CORNERS].to_numpy(np.float64)
    if known["step"] is not None:
        box_D4 = box_D4 * known["step"] + known["origin"]
    table[CORNERS] = box_D4
    table[list(LEFT_OUT)] = packed[list(LEFT_OUT)]
    return table
