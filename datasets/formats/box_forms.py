"""Boxes that are written in another form than their files should hold, told by all of them at once.

Programs write fractions where VOC and COCO count pixels, and corners where COCO has widths and
heights. Shapes: N boxes.
"""

from collections.abc import Sequence

import numpy as np

from datasets.errors import DataError, Finding
from datasets.index import Array, Columns, source_of

_FEWEST = 3  # boxes from which a form is told
_LEAVE = 1 / 3  # of the boxes leave their images as sizes where they are corners
_SLACK_PX = 1.0


def other_forms(raw: Columns) -> list[Finding]:
    """Findings on the whole of a set, labels as `headers.with_sizes` gives them."""
    boxes_N4 = raw["boxes"]
    rows = np.flatnonzero(np.isfinite(boxes_N4).all(1))
    if raw.meta.get("fractions") or len(rows) < _FEWEST:
        return []
    found_N4 = boxes_N4[rows].astype(np.float64)
    image_N = np.repeat(np.arange(len(raw["first"]) - 1), np.diff(raw["first"]))[rows]
    first_pixel = raw.meta.get("first_pixel")
    if first_pixel is None:
        found_N4[:, 2:] -= found_N4[:, :2]  # x, y, width, height
    else:
        found_N4 += np.array([first_pixel] * 2 + [first_pixel - 1] * 2)  # as the file has them
    where, number = source_of(raw, int(image_N[0])), int(raw["object"][rows[0]])
    if _are_fractions(found_N4):
        what = f"all {len(rows)} boxes lie within a pixel: fractions of the image, expected pixels"
        return [Finding(where, number, "fractions", what)]
    left = _leaving_as_sizes(found_N4, raw["size_hw"][image_N]) if first_pixel is None else 0
    if left:
        what = f"{left} of {len(rows)} boxes leave their images as x, y, width, height, and none as"
        more = " x1, y1, x2, y2: corners, where COCO has sizes?"
        return [Finding(where, number, "corners", what + more)]
    return []


def refuse_fractions(findings: Sequence[Finding]) -> None:
    """DataError where `other_forms` found boxes of which no pixel would be learned."""
    for finding in findings:
        if finding.kind == "fractions":
            raise DataError(str(finding))


def _are_fractions(found_N4: Array) -> bool:
    inside = (found_N4 >= -1e-3).all() and (found_N4 <= 1 + 1e-3).all()
    return bool(inside and (found_N4 % 1 > 1e-3).any())


def _leaving_as_sizes(found_N4: Array, size_N2: Array) -> int:
    """How many boxes leave their images read as sizes, where all are corners; else 0."""
    known = (size_N2 > 0).all(1)
    limit_N2 = size_N2[:, ::-1] + _SLACK_PX
    corners = (found_N4[:, 2:] > found_N4[:, :2]).all(1) & (found_N4[:, 2:] <= limit_N2).all(1)
    leaving = (found_N4[:, :2] + found_N4[:, 2:] > limit_N2).any(1)
    count = int(leaving.sum())
    enough = count >= _LEAVE * len(found_N4)
    return count if enough and known.all() and corners.all() else 0
