"""Which detections of a run are worth keeping, so that hundreds of runs can be committed.

Average precision asks two things of a detection: its rank in its class, and whether it overlaps
an object of that class by half or more. Most overlap none: of such a one it matters only that it
stands before the next that does, and, for COCO's small, medium and large, its size. So kept are
those that overlap an object of their class by half, and all from a little below the score of the
best F1 up, for pictures; the others are counted by rank and size (`tables.LEFT_OUT`).

Letters: D detections of the whole dump, K kept ones.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from experiments.evaluation.dump import FILES, Tables, read_dump, read_table, write_compact
from experiments.evaluation.match import areas, pair
from experiments.evaluation.mistakes import best_cut
from experiments.evaluation.packing import holds
from experiments.evaluation.summary import evaluate
from experiments.evaluation.tables import (
    LEFT_OUT,
    Bools,
    Dump,
    EvaluationError,
    Floats,
    check,
)
from experiments.evaluation.verdict import fixed
from experiments.record.origin import file_hash

HALF = 0.5  # the least overlap that any protocol counts as found
SHOWN = 1.5  # rows by score that are kept whole, as a multiple of those above the best cut
AREAS = (32.0**2, 96.0**2)  # COCO's bounds of small and medium
# Pixels, the coarsest first; None: corners as they are. One overlap that a step moves across a half
# may change a digit, so that the next step is another try.
STEPS = (*(1 / parts for parts in (8, 16, 32, 64, *range(80, 201, 8))), None)


class Compacted(NamedTuple):
    """What was written: the step of corners in pixels, rows kept and counted alone."""

    path: Path
    step: float | None
    kept: int
    left_out: int


def write_compacted(run: Path, metrics: dict[str, Any], folder: Path, truth: str) -> Compacted:
    """Write the dump in `run` compactly to `folder`, in the coarsest steps from which `metrics`
    come again to the printed digit; `truth`: where truth and images lie, from `folder`.

    Raises EvaluationError where none does, or the dump does not fit together.
    """
    tables = read_dump(run)
    kept = kept_of(tables)
    kept.attrs["of"] = file_hash(run / FILES["detections"])
    differing: list[str] = []
    path = folder / FILES["detections"]
    for step in (step for step in STEPS if holds(kept, step)):
        write_compact(folder, kept, tables.classes, step, truth)
        again, _ = read_table(path, "detections")
        numbers = evaluate(
            again, tables.truth, tables.images, tables.classes, split=metrics["split"]
        )
        differing = unlike_as_printed(metrics, numbers)
        if not differing:
            return Compacted(path, step, len(kept), len(tables.detections) - len(kept))
    path.unlink()
    raise EvaluationError(f"its compact form would print other numbers: {'; '.join(differing[:3])}")


def kept_of(tables: Tables) -> pd.DataFrame:
    """The detections to keep, by class and falling score, with counts of the others."""
    dump = check(tables.detections, tables.truth, tables.images, tables.classes)
    dump.require_whole("a compact dump")
    order_D = np.lexsort((-dump.score_D, dump.label_D))
    complete_from = _complete_from(dump)
    kept_D = _overlapping(dump) | (dump.score_D >= complete_from)
    label_D = dump.label_D[order_D]
    kept_D[order_D[np.flatnonzero(np.diff(label_D, append=-1))]] = True  # ends what it counts
    kept_K = np.flatnonzero(kept_D[order_D])
    found = tables.detections.iloc[order_D[kept_K]].reset_index(drop=True)
    past_D = _past_limit(dump)
    kind_D = np.searchsorted(AREAS, areas(dump.box_D4), side="right")
    left_D4 = np.eye(4, dtype=np.int64)[np.where(past_D, 3, kind_D)]
    left_D4[kept_D] = 0
    total_D4 = np.cumsum(left_D4[order_D], axis=0)
    left_K4 = np.diff(total_D4[kept_K], axis=0, prepend=0)
    left_K5 = np.column_stack((left_K4, past_D[order_D[kept_K]]))
    for place, name in enumerate(LEFT_OUT):
        found[name] = left_K5[:, place].astype(LEFT_OUT[name])
    found.attrs = {"complete_from": complete_from}
    return found


def unlike_as_printed(recorded: dict[str, Any], measured: dict[str, Any]) -> list[str]:
    """The measured numbers that would be printed otherwise than the recorded ones, to a tenth; of
    counts, those that differ. What a record of before lacks is not asked.
    """
    return [
        f"{name}: recorded {ours}, measured {value}"
        for name, ours, value in _both(recorded, measured)
        if _printed(ours) != _printed(value)
    ]


def _both(one: dict[str, Any], two: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    found = []
    for name, value in two.items():
        if isinstance(value, dict):
            found += _both(one.get(name) or {}, value, f"{prefix}{name}.")
        elif name in one or prefix != "more.":
            found.append((prefix + name, one.get(name), value))
    return found


def _printed(value: Any) -> Any:
    return fixed(value) if isinstance(value, float) else value


def _complete_from(dump: Dump) -> float:
    """The score from which every detection is kept."""
    falling_D = -np.sort(-dump.score_D)
    above = int((falling_D >= best_cut(dump)).sum())
    if not above:
        return float(falling_D[0]) if len(falling_D) else 1.0
    return float(falling_D[min(len(falling_D), int(SHOWN * above)) - 1])


def _past_limit(dump: Dump) -> Bools:
    """Which detections COCO does not look at: 100 of their image and class have higher scores."""
    group_D = dump.image_D * len(dump.classes) + dump.label_D
    order_D = np.lexsort((-dump.score_D, group_D))
    sorted_D = group_D[order_D]
    past_D = np.zeros(len(group_D), dtype=np.bool_)
    past_D[order_D] = np.arange(len(group_D)) - np.searchsorted(sorted_D, sorted_D) >= 100
    return past_D


def _overlapping(dump: Dump) -> Bools:
    """Which detections overlap an object of their class by half, or lie in an ignored one by half,
    which COCO forgives.
    """
    classes = len(dump.classes)
    pairs = pair(
        dump.image_D * classes + dump.label_D,
        dump.image_N * classes + dump.label_N,
    )
    shared_P = _shared(dump.box_D4[pairs.detection_P], dump.box_N4[pairs.object_P])
    area_P = areas(dump.box_D4)[pairs.detection_P]
    union_P = area_P + areas(dump.box_N4)[pairs.object_P] - shared_P
    ignored_P = (dump.difficult_N | dump.crowd_N)[pairs.object_P]
    found_P = (shared_P >= HALF * union_P) | (ignored_P & (shared_P >= HALF * area_P))
    found_D = np.zeros(len(dump.label_D), dtype=np.bool_)
    found_D[pairs.detection_P[found_P & (shared_P > 0)]] = True
    return found_D


def _shared(a_P4: Floats, b_P4: Floats) -> Floats:
    """The areas that boxes share, row by row, in square pixels."""
    low_P2 = np.maximum(a_P4[:, :2], b_P4[:, :2])
    high_P2 = np.minimum(a_P4[:, 2:], b_P4[:, 2:])
    shared_P: Floats = np.maximum(high_P2 - low_P2, 0.0).prod(axis=1)
    return shared_P
