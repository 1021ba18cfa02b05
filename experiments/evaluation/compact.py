"""Which detections of a run are worth keeping, so that hundreds of runs can be committed.

Average precision asks two things of a detection: its rank in its class, and whether it takes an
object of that class, by VOC's rule or COCO's, at any overlap from .5 to .95. Most take none, since
they overlap none or come second: of such a one it matters only that it stands before the next that
does, and, for COCO's small, medium and large, its size. So kept are those that take an object or
are forgiven for an ignored one, and all from a little below the score of the best F1 up, for
pictures; the others are counted by rank and size (`tables.LEFT_OUT`).

Letters: D detections of the whole dump, K kept ones.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from experiments.evaluation.coco import matched
from experiments.evaluation.corners import on_grid
from experiments.evaluation.dump import FILES, Tables, read_dump, read_table, write_compact
from experiments.evaluation.match import AREAS, OVERLAPS, areas, pair, shared
from experiments.evaluation.mistakes import best_cut
from experiments.evaluation.summary import evaluate
from experiments.evaluation.tables import (
    CORNERS,
    LEFT_OUT,
    Bools,
    Dump,
    EvaluationError,
    check,
)
from experiments.evaluation.verdict import fixed
from experiments.evaluation.voc import VocRules, rank
from experiments.record.origin import file_hash

SHOWN = 1.25  # rows by score that are kept whole, as a multiple of those above the best cut
STEPS = (1.0, 1 / 2, 1 / 4, 1 / 8, 1 / 16, None)  # pixels; None: corners as they are


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
    dump = check(kept.drop(columns=list(LEFT_OUT)), tables.truth, tables.images, tables.classes)
    differing: list[str] = []
    path = folder / FILES["detections"]
    for step in STEPS:
        box_K4 = dump.box_D4 if step is None else on_grid(dump, step)
        if box_K4 is None:
            continue
        kept[CORNERS] = box_K4
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
    past_D = _past_limit(dump)
    decides_D, passed_D = _deciding(dump, past_D)
    past_D |= passed_D
    kept_D = decides_D | (dump.score_D >= complete_from)
    label_D = dump.label_D[order_D]
    kept_D[order_D[np.flatnonzero(np.diff(label_D, append=-1))]] = True  # ends what it counts
    kept_K = np.flatnonzero(kept_D[order_D])
    found = tables.detections.iloc[order_D[kept_K]].reset_index(drop=True)
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


def _deciding(dump: Dump, past_D: Bools) -> tuple[Bools, Bools]:
    """Which detections take an object or are forgiven, at any overlap that is asked for; and which
    COCO passes over at all of them. `past_D`: those that it does not look at.
    """
    decides_D, passed_D = np.zeros_like(past_D), np.zeros_like(past_D)
    near_R = np.flatnonzero(_overlapping(dump))
    near = dump.picked(near_R)
    for overlap in OVERLAPS.tolist():
        ranked = rank(near, VocRules(iou=overlap))
        decides_D[near_R[ranked.detection_D[ranked.hit_D | ranked.ignored_D]]] = True
    seen_R = near_R[~past_D[near_R]]
    takes_R, passed_R = matched(dump.picked(seen_R))
    decides_D[seen_R[takes_R]] = True
    passed_D[seen_R[passed_R]] = True
    return decides_D, passed_D


def _overlapping(dump: Dump) -> Bools:
    """Which detections overlap an object of their class by half, or lie in an ignored one by half,
    which COCO forgives.
    """
    classes = len(dump.classes)
    pairs = pair(
        dump.image_D * classes + dump.label_D,
        dump.image_N * classes + dump.label_N,
    )
    object_P4 = dump.box_N4[pairs.object_P]
    shared_P = shared(dump.box_D4[pairs.detection_P], object_P4)
    area_P = areas(dump.box_D4)[pairs.detection_P]
    union_P = area_P + areas(object_P4) - shared_P
    ignored_P = (dump.difficult_N | dump.crowd_N)[pairs.object_P]
    half = OVERLAPS[0]
    found_P = (shared_P >= half * union_P) | (ignored_P & (shared_P >= half * area_P))
    found_D = np.zeros(len(dump.label_D), dtype=np.bool_)
    found_D[pairs.detection_P[found_P & (shared_P > 0)]] = True
    return found_D
