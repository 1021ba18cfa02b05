"""Detections against truth for the pictures: found, missed, false. N truths and D detections of
one image.

This only explains pictures; the numbers of a report come from the records.
Boxes are xyxy in pixels of the original image.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAST_SCORE = 0.02  # below it no detection is worth a picture
MOST_BOXES = 60  # detections an image that are looked at, the highest scores first


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of one image. `value_N` is a detection's score, or 1 where a truth is difficult or
    a crowd.
    """

    boxes_N4: Floats
    labels_N: NDArray[np.int64]
    value_N: Floats


NO_BOXES = Boxes(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))


class Matched(NamedTuple):
    """One image: its truth, its detections by falling score, and what each detection found.

    found_D is the index of the truth found, -1 for a false detection, -2 for one that lies on
    an ignored truth.
    """

    truth: Boxes
    detections: Boxes
    found_D: NDArray[np.int64]

    def counts(self, threshold: float) -> tuple[int, int, int]:
        """Found, missed and false at scores >= threshold; ignored truths count nowhere."""
        kept_D = self.detections.value_N >= threshold
        found = int((self.found_D[kept_D] >= 0).sum())
        wanted = int((self.truth.value_N == 0).sum())
        return found, wanted - found, int((self.found_D[kept_D] == -1).sum())


def read_boxes(path: Path, images: Iterable[str] | None = None) -> dict[str, Boxes]:
    """A detections or truth dump as boxes by image id; only `images` where given.

    Detections come by falling score, at most MOST_BOXES an image and none below LEAST_SCORE.
    """
    wanted = None if images is None else [("image_id", "in", sorted(images))]
    table = parquet.read_table(path, filters=wanted)
    columns = {
        name: table.column(name).to_numpy() for name in table.column_names if name != "image_id"
    }
    ids = table.column("image_id").to_pylist()
    boxes = np.stack([columns[name] for name in ("x1", "y1", "x2", "y2")], axis=1).astype(
        np.float64
    )
    if "score" in columns:
        value = columns["score"].astype(np.float64)
        order = np.argsort(-value, kind="stable")
        order = order[value[order] >= LEAST_SCORE]
    else:
        value = (columns["difficult"].astype(bool) | columns["crowd"].astype(bool)).astype(
            np.float64
        )
        order = np.arange(len(ids))
    rows: dict[str, list[int]] = {}
    for row in order.tolist():
        mine = rows.setdefault(str(ids[row]), [])
        if "score" not in columns or len(mine) < MOST_BOXES:
            mine.append(row)
    labels = columns["label"].astype(np.int64)
    return {image: Boxes(boxes[mine], labels[mine], value[mine]) for image, mine in rows.items()}


def match(truth: Boxes, detections: Boxes, *, overlap: float = 0.5) -> Matched:
    """Match detections by falling score to the truth of their class that they overlap most (IoU
    >= `overlap`).

    A truth is found once; a later detection of it is false. Best overlap first, then taken, as
    VOC's devkit does.
    """
    found_D = np.full(len(detections.labels_N), -1, np.int64)
    if not len(truth.labels_N) or not len(found_D):
        return Matched(truth, detections, found_D)
    iou_DN = overlaps(detections.boxes_N4, truth.boxes_N4)
    iou_DN[detections.labels_N[:, None] != truth.labels_N[None, :]] = 0.0
    best_D = iou_DN.argmax(axis=1)
    taken: set[int] = set()
    for row in np.flatnonzero(iou_DN[np.arange(len(best_D)), best_D] >= overlap).tolist():
        target = int(best_D[row])
        if truth.value_N[target]:
            found_D[row] = -2
        elif target not in taken:
            taken.add(target)
            found_D[row] = target
    return Matched(truth, detections, found_D)


def overlaps(one_D4: Floats, two_N4: Floats) -> Floats:
    """Intersection over union of every pair, [D, N]; 0 where a box has no area."""
    top_left = np.maximum(one_D4[:, None, :2], two_N4[None, :, :2])
    bottom_right = np.minimum(one_D4[:, None, 2:], two_N4[None, :, 2:])
    shared_DN = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    areas = [
        np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (one_D4, two_N4)
    ]
    union_DN = areas[0][:, None] + areas[1][None, :] - shared_DN
    safe_DN: Floats = np.where(union_DN > 0, union_DN, 1.0)
    return np.asarray(shared_DN / safe_DN, dtype=np.float64)


def best_threshold(matched: Mapping[str, Matched]) -> float:
    """The score at which F1 over all images is highest: each run is shown at its own best
    working point.

    One threshold for all would favour losses that give high scores; a larger gamma lowers them.
    """
    scores = np.concatenate(
        [image.detections.value_N for image in matched.values()] or [np.zeros(0)]
    )
    found = np.concatenate([image.found_D for image in matched.values()] or [np.zeros(0, np.int64)])
    wanted = sum(int((image.truth.value_N == 0).sum()) for image in matched.values())
    order = np.argsort(-scores, kind="stable")
    order = order[found[order] != -2]
    if not len(order) or not wanted:
        return 0.5
    hits = np.cumsum(found[order] >= 0)
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + wanted)
    last = np.append(np.diff(scores[order]) != 0, True)  # equal scores are kept or dropped together
    return float(scores[order][np.argmax(np.where(last, f1, -1.0))])
