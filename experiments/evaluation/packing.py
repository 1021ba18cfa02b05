"""Detections of a compact dump in 16 bits a number, and back: the one place that knows the form.

Rows lie by class and falling score, so that their order is the ranking, which decides average
precision; a score is whole 65535ths, a corner whole steps from an origin. Counts of what was left
out are whole numbers.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from experiments.evaluation.tables import CORNERS, LEFT_OUT, EvaluationError

FORMAT = 2  # of a compact detections.parquet; whole dumps have format 1
MOST = 65535


def pack(table: pd.DataFrame, step: float | None) -> tuple[pa.Table, dict[str, Any]]:
    """The table's rows and what `unpack` must know. `step`: pixels that 16 bits hold (`holds`), or
    None for corners as they are.

    Raises EvaluationError for scores outside of 0 to 1.
    """
    score_D = table["score"].to_numpy(np.float64)
    if len(score_D) and (score_D.min() < 0 or score_D.max() > 1):
        raise EvaluationError(f"scores from {score_D.min():g} to {score_D.max():g}, not 0 to 1")
    columns: dict[str, Any] = {
        "image_id": pa.array(table["image_id"].astype(object)).dictionary_encode(),
        "label": table["label"].to_numpy(np.int16),
        "score": np.round(score_D * MOST).astype(np.uint16),
    }
    known: dict[str, Any] = {"format": FORMAT, "step": step}
    box_D4 = table[CORNERS].to_numpy(np.float64)
    if step is not None:
        known["origin"] = float(np.floor(box_D4.min(initial=0.0)))
        box_D4 = np.round((box_D4 - known["origin"]) / step).astype(np.uint16)
    else:
        box_D4 = box_D4.astype(np.float32)
    columns |= {name: box_D4[:, place] for place, name in enumerate(CORNERS)}
    columns |= {name: table[name].to_numpy(np.uint32) for name in LEFT_OUT}
    return pa.table(columns), known


def holds(table: pd.DataFrame, step: float | None) -> bool:
    """Whether 16 bits hold the corners in this step."""
    box_D4 = table[CORNERS].to_numpy(np.float64)
    reach = box_D4.max(initial=0.0) - np.floor(box_D4.min(initial=0.0))
    return step is None or bool(reach / step <= MOST)


def encodings(arrow: pa.Table) -> dict[str, Any]:
    """How Parquet is to write it: whole numbers as differences, which takes a quarter less."""
    whole = [field.name for field in arrow.schema if pa.types.is_integer(field.type)]
    return {
        "column_encoding": dict.fromkeys(whole, "DELTA_BINARY_PACKED"),
        "use_dictionary": ["image_id"],
        "compression_level": 19,
    }


def unpack(arrow: pa.Table, known: dict[str, Any]) -> pd.DataFrame:
    """The table with the types of every other (`tables.DETECTION_TYPES`), and LEFT_OUT."""
    table = arrow.to_pandas()
    table["image_id"] = table["image_id"].astype(str)
    table["score"] = table["score"].to_numpy(np.float64) / MOST
    if known["step"] is not None:
        box_D4 = table[CORNERS].to_numpy(np.float64) * known["step"] + known["origin"]
        table[CORNERS] = box_D4
    return table
