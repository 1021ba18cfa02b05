"""What becomes of a doubtful label: one vectorised pass from labels as written to labels as used.

Shapes: N objects, M of them kept.

The order is: classes nobody asked for (left out, counted), no class at all, unusable numbers, zero
size, swapped corners, outside the image, too small, then difficult and crowd.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from datasets.errors import DataError, Finding
from datasets.formats.box_forms import other_forms, refuse_fractions
from datasets.formats.findings import DEFAULTS, LOSING, as_written, packed, unpacked
from datasets.headers import remarks, undecided
from datasets.index import Array, Columns, source_of, text_at

Mark = Literal["ignore", "drop", "keep"]
BadLabel = Literal["fix", "skip", "fail"]
UNKNOWN, NAMELESS = -1, -2  # labels of objects whose class nobody asked for, or nobody said
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
    lost: dict[int, str]  # objects that are left out as unusable, by row: the kind of finding
    unknown: dict[str, int]  # objects of classes nobody asked for, by name


def judge(raw: Columns, classes: Sequence[str], policy: Policy) -> Judged:
    """Apply the policy to labels as written, with the images' own sizes.

    DataError at the first bad label when `bad_label` is `fail`.
    """
    names: list[str] = raw.meta["names"]
    label_by_name = {name: label for label, name in enumerate(classes)}
    lookup = np.array([label_by_name.get(name, UNKNOWN) for name in names] + [NAMELESS], np.int64)
    labels_N = lookup[raw["name"]]
    unknown = Counter({names[i]: int(n) for i, n in _counts(raw["name"][labels_N == UNKNOWN])})
    boxes_N4 = raw["boxes"].astype(np.float32)
    image_N = np.repeat(np.arange(len(raw["first"]) - 1), np.diff(raw["first"]))
    faults, alive = _faults(raw, boxes_N4, image_N, policy, labels_N)
    findings = [_finding(raw, names, image_N, fault) for fault in faults]
    if policy.bad_label == "fail":
        _refuse(findings)
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
        {row: kind for row, kind, done in faults if done == _LEFT_OUT},
        dict(sorted(unknown.items())),
    )


def _refuse(findings: Sequence[Finding]) -> None:
    if findings:
        raise DataError(
            f"{findings[0]}; {len(findings)} bad labels in all. Set bad_label to fix or skip,"
            " or repair a copy: python -m experiments doctor --fix"
        )


_LEFT_OUT = "left out"
_Fault = tuple[int, str, str]  # object row, kind, what was done


def _faults(
    raw: Columns, boxes_N4: Array, image_N: Array, policy: Policy, labels_N: Array
) -> tuple[list[_Fault], Array]:
    """Mends `boxes_N4` in place; returns the faults and which objects are still alive."""
    faults: list[_Fault] = []
    alive = labels_N != UNKNOWN
    fix = policy.bad_label == "fix"
    height_N, width_N = raw["size_hw"][image_N].astype(np.float32).T

    def note(rows: Array, kind: str, mended: bool) -> None:
        done = "mended" if mended else _LEFT_OUT
        faults.extend((int(row), kind, done) for row in np.flatnonzero(rows))
        if not mended:
            alive[rows] = False

    note(labels_N == NAMELESS, "nameless", False)
    known = (height_N > 0) & (width_N > 0)
    if raw.meta.get("fractions"):
        note(alive & ~known, "unplaced", False)
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
    "nameless": "the object has no class",
    "unplaced": "the box is a fraction of an image whose size can't be read",
    "not_a_number": "a coordinate is missing or not a number",
    "zero_size": "the box has no area",
    "swapped": "min and max are swapped",
    "outside": "the box leaves the image",
}


def _finding(raw: Columns, names: Sequence[str], image_N: Array, fault: _Fault) -> Finding:
    row, kind, done = fault
    image = int(image_N[row])
    height, width = raw["size_hw"][image]
    name = "" if raw["name"][row] < 0 else f"{names[raw['name'][row]]}: "
    message = (
        f"{name}{_WHAT[kind]}: {_told(raw, image, row)} in an image of {width}x{height}; {done}"
    )
    return Finding(source_of(raw, image), int(raw["object"][row]), kind, message)


def _told(raw: Columns, image: int, row: int) -> str:
    """The box in the numbers that the label file holds, or what is none there."""
    words: Mapping[str, str] = raw.meta.get("words", {})
    if text := words.get(as_written(source_of(raw, image), int(raw["object"][row]))):
        return text
    x1, y1, x2, y2 = raw["boxes"][row].astype(np.float64)
    if "first_pixel" in raw.meta:
        offset = raw.meta["first_pixel"]
        values = {"xmin": x1 + offset, "ymin": y1 + offset, "xmax": x2 + offset - 1}
        values["ymax"] = y2 + offset - 1
    else:
        values = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
    return ", ".join(
        f"no {name}" if np.isnan(value) else f"{name} {round(value, 3):g}"
        for name, value in values.items()
    )


def _counts(values: Array) -> list[tuple[int, int]]:
    unique, counts = np.unique(values, return_counts=True)
    return list(zip(unique.tolist(), counts.tolist(), strict=True))


_PER_IMAGE = ("size_hw", "turn", "bytes", "image_id", "image_id_ends", "image", "image_ends")


def judged(raw: Columns, classes: Sequence[str], policy: Policy) -> Columns:
    """Columns of a `Dataset`: those of `headers.with_sizes` with the policy applied.

    `meta["findings"]` are the labels that are lost or changed, and what was read otherwise than it
    is written.
    """
    doubtful = undecided(raw)
    if doubtful:
        raise DataError(f"{doubtful[0]}; {len(doubtful)} such images in all")
    forms = other_forms(raw)
    refuse_fractions(forms)
    read = [finding for finding in unpacked(raw.meta["findings"]) if finding.kind not in DEFAULTS]
    if policy.bad_label == "fail":
        _refuse([finding for finding in read if finding.kind in LOSING])
    verdict = judge(raw, classes, policy)
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
    }
    meta: dict[str, Any] = {
        "classes": list(classes),
        "remarks": packed(remarks(raw)),
        "findings": packed([*read, *forms, *_other_sizes(raw), *verdict.findings]),
        "unknown": verdict.unknown,
    }
    if "category_ids" in raw.meta:  # COCO's, by label
        id_by_name = dict(zip(raw.meta["names"], raw.meta["category_ids"], strict=True))
        meta["category_ids"] = [id_by_name.get(name, []) for name in classes]
    return Columns(arrays, meta)


def _other_sizes(raw: Columns) -> list[Finding]:
    """One finding for all images of another size than their labels say."""
    written, own = raw["written_hw"], raw["size_hw"]
    rows = np.flatnonzero((written > 0).all(1) & (written != own).any(1)).tolist()
    return [other_size(raw, rows[0], len(rows))] if rows else []


def other_size(raw: Columns, image: int, number: int = 1) -> Finding:
    """The finding that an image is not of the size that its labels say."""
    (height, width), (high, wide) = raw["size_hw"][image], raw["written_hw"][image]
    message = f"is {width}x{height}, its labels say {wide}x{high}; its own size is used"
    message += f" ({number} such, first here)" if number > 1 else ""
    return Finding(text_at(raw, "image", image), None, "other_size", message)
