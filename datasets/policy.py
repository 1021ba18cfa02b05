"""What becomes of a doubtful label: one vectorised pass from labels as written to labels as used.

Shapes: N objects.

The order is: classes nobody asked for (left out, counted), unusable numbers, swapped corners, zero
size, outside the image, too small, then difficult and crowd.

From labels as written to labels as used: the step that VOC and COCO share.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from datasets.errors import DataError, Finding
from datasets.headers import remarks, undecided, with_sizes
from datasets.index import Array, Columns, text_at

Mark = Literal["ignore", "drop", "keep"]
BadLabel = Literal["fix", "skip", "fail"]
# Boxes rounded to pixels, or written 0-based, stick out by this much at most; that is neither
# reported nor changed.
SLACK_PX = 1.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How doubtful labels are treated.

    See the fields of `VOC` and `COCO`, which carry the same ones.
    """

    difficult: Mark = "ignore"
    crowd: Mark = "ignore"
    bad_label: BadLabel = "fix"
    min_box_px: float = 0.0
    inclusive: bool = True  # VOC: a box whose two corners are equal covers a pixel, but is a slip


@dataclass(frozen=True, slots=True)
class Judged:
    """`kept_M` indexes the objects that stay; the other arrays are aligned with it."""

    kept_M: Array
    boxes_M4: Array
    labels_M: Array
    difficult_M: Array
    crowd_M: Array
    findings: list[Finding]
    unknown: dict[str, int]  # objects of classes nobody asked for, by name


def judge(raw: Columns, source: str, classes: Sequence[str], policy: Policy) -> Judged:
    """Apply the policy to a raw index; DataError at the first bad label when `bad_label` is `fail`.

    `source` names the file of findings where the index has no `source` column (COCO: the JSON
    file).
    """
    names: list[str] = raw.meta["names"]
    label_by_name = {name: label for label, name in enumerate(classes)}
    lookup = np.array([label_by_name.get(name, -1) for name in names] or [-1], np.int64)
    labels_N = lookup[raw["name"]]
    unknown = Counter({names[i]: int(n) for i, n in _counts(raw["name"][labels_N < 0])})
    boxes_N4 = raw["boxes"].astype(np.float32)
    image_N = np.repeat(np.arange(len(raw["first"]) - 1), np.diff(raw["first"]))
    faults, alive = _faults(raw, boxes_N4, image_N, policy, labels_N >= 0)
    findings = [_finding(raw, source, names, image_N, fault) for fault in faults]
    if findings and policy.bad_label == "fail":
        raise DataError(
            f"{findings[0]}; {len(findings)} bad labels in all. Set bad_label to fix or skip,"
            " or repair a copy: python -m experiments doctor --fix"
        )
    difficult_N, crowd_N = raw["difficult"] == 1, raw["crowd"] == 1
    if policy.difficult == "drop":
        alive &= ~difficult_N
    if policy.crowd == "drop":
        alive &= ~crowd_N
    kept_M = np.flatnonzero(alive)
    return Judged(
        kept_M,
        boxes_N4[kept_M],
        labels_N[kept_M],
        difficult_N[kept_M] & (policy.difficult == "ignore"),
        crowd_N[kept_M] & (policy.crowd == "ignore"),
        findings,
        dict(sorted(unknown.items())),
    )


_Fault = tuple[int, str, str]  # object row, kind, what was done


def _faults(
    raw: Columns, boxes_N4: Array, image_N: Array, policy: Policy, alive: Array
) -> tuple[list[_Fault], Array]:
    """Mends `boxes_N4` in place; returns the faults and which objects are still alive."""
    faults: list[_Fault] = []
    fix = policy.bad_label == "fix"
    height_N, width_N = raw["size_hw"][image_N].astype(np.float32).T

    def note(rows: Array, kind: str, mended: bool) -> None:
        done = "mended" if mended else "left out"
        faults.extend((int(row), kind, done) for row in np.flatnonzero(rows))
        if not mended:
            alive[rows] = False

    note(alive & ~np.isfinite(boxes_N4).all(1), "not_a_number", False)
    one = 1.0 if policy.inclusive else 0.0  # width of a box whose corners are written equal
    zero = alive & (
        (boxes_N4[:, 2] - boxes_N4[:, 0] == one) | (boxes_N4[:, 3] - boxes_N4[:, 1] == one)
    )
    note(zero, "zero_size", False)
    swapped_x = alive & (boxes_N4[:, 2] - boxes_N4[:, 0] < one)
    swapped_y = alive & (boxes_N4[:, 3] - boxes_N4[:, 1] < one)
    for rows, low, high in ((swapped_x, 0, 2), (swapped_y, 1, 3)):
        mended = np.stack([boxes_N4[rows, high] - one, boxes_N4[rows, low] + one], 1)
        boxes_N4[rows, low], boxes_N4[rows, high] = mended.T
    note(swapped_x | swapped_y, "swapped", fix)
    known = (height_N > 0) & (width_N > 0)
    over = np.stack(
        [-boxes_N4[:, 0], -boxes_N4[:, 1], boxes_N4[:, 2] - width_N, boxes_N4[:, 3] - height_N]
    )
    outside = alive & known & (over.max(0) > SLACK_PX)
    clipped_N4 = boxes_N4.copy()
    clipped_N4[:, 0::2] = np.clip(boxes_N4[:, 0::2], 0, width_N[:, None])
    clipped_N4[:, 1::2] = np.clip(boxes_N4[:, 1::2], 0, height_N[:, None])
    gone = outside & ((clipped_N4[:, 2:] - clipped_N4[:, :2]).min(1) <= 0)
    boxes_N4[outside & ~gone] = clipped_N4[outside & ~gone]
    note(outside & ~gone, "outside", fix)
    note(gone, "outside", False)
    sides_N = (boxes_N4[:, 2:] - boxes_N4[:, :2]).min(1)
    alive &= ~(sides_N < policy.min_box_px)
    return sorted(faults), alive


_WHAT = {
    "not_a_number": "a coordinate is missing or not a number",
    "zero_size": "the box has no area",
    "swapped": "min and max are swapped",
    "outside": "the box leaves the image",
}


def _finding(
    raw: Columns, source: str, names: Sequence[str], image_N: Array, fault: _Fault
) -> Finding:
    row, kind, done = fault
    image = int(image_N[row])
    file = text_at(raw, "source", image) if "source" in raw.arrays else source
    height, width = raw["size_hw"][image]
    message = (
        f"{names[raw['name'][row]]}: {_WHAT[kind]}: {_as_written(raw, row)} in an image of"
        f" {width}x{height}; {done}"
    )
    return Finding(file, int(raw["object"][row]), kind, message)


def _as_written(raw: Columns, row: int) -> str:
    """The box in the numbers that the label file holds."""
    x1, y1, x2, y2 = raw["boxes"][row].astype(np.float64)
    if "first_pixel" in raw.meta:
        offset = raw.meta["first_pixel"]
        values = {"xmin": x1 + offset, "ymin": y1 + offset, "xmax": x2 + offset - 1}
        values["ymax"] = y2 + offset - 1
    else:
        values = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
    return ", ".join(f"{name} {round(value, 3):g}" for name, value in values.items())


def _counts(values: Array) -> list[tuple[int, int]]:
    unique, counts = np.unique(values, return_counts=True)
    return list(zip(unique.tolist(), counts.tolist(), strict=True))


_PER_IMAGE = ("size_hw", "turn", "image_id", "image_id_ends", "image", "image_ends")


def judged(
    raw: Columns, headers: Columns, source: str, classes: Sequence[str], policy: Policy
) -> Columns:
    """Columns of a `Dataset`: the raw ones with the images' own sizes and the policy applied, its
    findings in `meta`.
    """
    raw = with_sizes(raw, headers)
    doubtful = undecided(raw)
    if doubtful:
        raise DataError(f"{doubtful[0]}; {len(doubtful)} such images in all")
    verdict = judge(raw, source, classes, policy)
    kept = verdict.kept_M
    arrays = {name: np.asarray(raw[name]) for name in _PER_IMAGE}
    arrays |= {
        "first": np.searchsorted(kept, raw["first"]).astype(np.int64),
        "boxes": verdict.boxes_M4,
        "label": verdict.labels_M.astype(np.int16),
        "difficult": verdict.difficult_M,
        "crowd": verdict.crowd_M,
        "area": raw["area"][kept],
        "object": raw["object"][kept],
        "bytes": headers["bytes"],
    }
    meta: dict[str, Any] = {
        "classes": list(classes),
        "findings": [[f.file, f.object, f.kind, f.message] for f in verdict.findings],
        "remarks": [[f.file, f.object, f.kind, f.message] for f in remarks(raw)],
        "unknown": verdict.unknown,
    }
    if "category_ids" in raw.meta:  # COCO's, by label
        id_by_name = dict(zip(raw.meta["names"], raw.meta["category_ids"], strict=True))
        meta["category_ids"] = [id_by_name[name] for name in classes]
    return Columns(arrays, meta)
