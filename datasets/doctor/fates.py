"""What a repair would do to each object and image, decided before anything is written.

Shapes: N objects, I images.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from datasets.doctor.examine import Examination
from datasets.index import Array

# Gone, but nothing is lost: the same box of the same class stays.
_TWICE = "duplicate_object"
_MOST_LOST = 0.01  # of all objects, or of all images


@dataclass(frozen=True, slots=True)
class Fates:
    """`boxes_N4` are as they are to be; only rows with `stays_N` count. `gone` counts by split and
    kind of finding.
    """

    stays_N: Array
    changed_N: Array
    boxes_N4: Array
    image_stays_I: Array
    gone: Mapping[str, Counter[str]]
    images_gone: Mapping[str, Counter[str]]

    def box(self, row: int) -> tuple[float, float, float, float]:
        """The corners of one object: x1, y1, x2, y2 in pixels."""
        x1, y1, x2, y2 = (float(value) for value in self.boxes_N4[row])
        return x1, y1, x2, y2


def decide(seen: Examination) -> Fates:
    """The fate of everything that was examined."""
    raw, image_N = seen.raw, seen.joined.image_N
    boxes_N4 = raw["boxes"].astype(np.float32)
    stays_N = np.zeros(len(boxes_N4), np.bool_)
    stays_N[seen.judged.kept_M] = True
    boxes_N4[seen.judged.kept_M] = seen.judged.boxes_M4
    gone = np.flatnonzero(~stays_N).tolist()
    why = {row: seen.judged.lost.get(row, "unknown_class") for row in gone}
    changed_N = stays_N & (np.abs(np.nan_to_num(boxes_N4 - raw["boxes"])) > 1e-3).any(1)
    for row in _twice(seen, stays_N, boxes_N4):
        why[row] = _TWICE
    image_stays_I = np.ones(len(seen.joined.splits), np.bool_)
    image_why: dict[int, str] = dict(seen.unusable)
    image_why |= dict.fromkeys(seen.joined.unread, "broken_labels")
    image_stays_I[list(image_why)] = False
    for row in np.flatnonzero(stays_N & ~image_stays_I[image_N]).tolist():
        why[row] = image_why[int(image_N[row])]
    stays_N[list(why)] = False
    return Fates(
        stays_N,
        changed_N & stays_N,
        boxes_N4,
        image_stays_I,
        _by_split(seen, {row: (int(image_N[row]), kind) for row, kind in why.items()}),
        _by_split(seen, {row: (row, kind) for row, kind in image_why.items()}, lost=False),
    )


def too_much(seen: Examination, fates: Fates) -> str | None:
    """Why this repair would lose too much, in a sentence; None where it doesn't."""
    objects = sum(split.written for split in seen.splits.values())
    lost = sum(sum(gone.values()) - gone[_TWICE] for gone in fates.gone.values())
    images = sum(split.images for split in seen.splits.values())
    images_lost = sum(sum(gone.values()) for gone in fates.images_gone.values())
    for name, split in seen.splits.items():
        if split.written and not fates.stays_N[_objects_of(seen, name)].any():
            return f"split {name} would lose its last object, of {split.written}"
        if split.images and not fates.image_stays_I[seen.joined.rows[name]].any():
            return f"split {name} would lose its last image, of {split.images}"
    if lost > _MOST_LOST * objects:
        return f"{lost} of {objects} objects would go: {_told(fates.gone)}"
    if images_lost > _MOST_LOST * images:
        return f"{images_lost} of {images} images would go: {_told(fates.images_gone)}"
    broken = sorted({f.file for f in seen.findings if f.kind == "broken_labels"})
    if broken and seen.layout == "coco":  # the whole of a split
        return f"{broken[0]} can't be read, and all of its objects would go"
    return None


def _told(gone: Mapping[str, Counter[str]]) -> str:
    kinds = sum(gone.values(), Counter[str]())
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


def _twice(seen: Examination, stays_N: Array, boxes_N4: Array) -> list[int]:
    """Objects that equal an earlier one of their image, by now."""
    rows = np.flatnonzero(stays_N)
    if not len(rows):
        return []
    columns = (seen.joined.image_N[rows], seen.raw["name"][rows], *boxes_N4[rows].T)
    order = np.lexsort((rows, *columns))
    keys = np.column_stack([column[order].astype(np.float64) for column in columns])
    same = (keys[1:] == keys[:-1]).all(1)
    found: list[int] = rows[order[1:][same]].tolist()
    return found


def _objects_of(seen: Examination, split: str) -> Array:
    return np.isin(seen.joined.image_N, seen.joined.rows[split])


def _by_split(
    seen: Examination, rows: Mapping[int, tuple[int, str]], *, lost: bool = True
) -> dict[str, Counter[str]]:
    gone: dict[str, Counter[str]] = {name: Counter() for name in seen.written}
    for image, kind in rows.values():
        for split in seen.joined.splits[image]:
            gone[split][kind] += 1
    if lost:
        for name, one in seen.written.items():
            if one.raw.meta["lost"]:
                gone[name]["bad_row"] += int(one.raw.meta["lost"])
    return gone
