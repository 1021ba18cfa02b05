"""One label file of YOLO: a line an object, `class cx cy w h` in fractions of the image.

Polygons (`class x1 y1 x2 y2 ..`, of segmentation and oriented boxes) become the box around them.
Sources: Darknet's `how to train to detect your custom objects`, ultralytics' docs of data sets.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from datasets.errors import DataError
from datasets.formats.foreign import foreign
from datasets.formats.values import number, text_of

MOST_BYTES = 4 * 2**20  # some 80,000 objects
_BEYOND = 2.0  # a fraction above 1 is a box that leaves its image; above this it counts pixels
SCORED = 6  # class, box and a score, as detections are written
TRACKED = 7  # and the number of a track
_EXTRA = {
    SCORED: "a sixth number, read as a score",
    TRACKED: "a sixth and a seventh number, read as a score and as a track's",
}
_ROUNDED = 0.01  # so far beyond the image a box within it may be written
_NO_BOX = (math.nan,) * 4


class Line(NamedTuple):
    """One object: `box` is x1, y1, x2, y2 in fractions."""

    number: int  # of the line, from 1
    label: int
    box: tuple[float, float, float, float]
    words: str = ""  # as written, where the box is no four numbers


class Fault(NamedTuple):
    """A line that can't be used, or whose last number isn't."""

    number: int
    kind: str
    message: str


def parse(data: bytes, names: Sequence[str], *, keypoints: bool) -> tuple[list[Line], list[Fault]]:
    """Objects and faults of one file; DataError where it is no text.

    `names`: the classes, none where nobody names them; `keypoints`: what follows the box are those,
    not a polygon.
    """
    if len(data) > MOST_BYTES:
        raise DataError(f"larger than {MOST_BYTES:,} bytes: not a label file")
    try:
        text = text_of(data)
    except UnicodeDecodeError:
        raise DataError(foreign(data) or "not a text file in UTF-8") from None
    if data and (kind := foreign(data)) is not None:  # an empty one is an image without objects
        raise DataError(kind)
    lines: list[Line] = []
    faults: list[Fault] = []
    for place, written in enumerate(text.splitlines(), 1):
        parts = written.split()
        if parts:
            extra = not keypoints and (len(parts) == SCORED or _is_tracked(parts))
            found = _line(place, parts[:5] if extra else parts, names, keypoints)
            (lines if isinstance(found, Line) else faults).append(found)  # type: ignore[arg-type]
            if extra and isinstance(found, Line):
                faults.append(Fault(place, "extra_number", _EXTRA[len(parts)]))
    return lines, faults


def rows_like_labels(data: bytes) -> int:
    """How many rows look like an object's, whether or not they can be used: a word, then numbers
    for the most part. Notes and lists of classes have none.

    >>> rows_like_labels(b"99 .5 .5 .1 .1\\n0 .5 oops .1 .1\\nsee page 3\\ncat\\n")
    2
    """
    count = 0
    try:
        text = text_of(data)
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    for written in text.splitlines():
        numbers = [math.isfinite(number(part)) for part in written.split()[1:]]
        count += bool(numbers) and 2 * sum(numbers) > len(numbers)
    return count


def _is_tracked(parts: list[str]) -> bool:
    """Whether it is a box, its score and the number of a track, and no triangle: no corner lies a
    whole image outside, and hardly one on the edge is written "1" where the rest is a box within.
    """
    if len(parts) != TRACKED or not parts[-1].isdecimal():
        return False
    if int(parts[-1]) > 1:
        return True
    cx, cy, width, height, score = map(number, parts[1:6])
    sides = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2, score)
    return parts[-1] == "1" and all(-_ROUNDED <= side <= 1 + _ROUNDED for side in sides)


def _line(place: int, parts: list[str], names: Sequence[str], keypoints: bool) -> Line | Fault:
    if len(parts) == 1:
        what = f"{parts[0]!r:.60}: expected class cx cy w h with blanks between; not used"
        return Fault(place, "bad_row", what)
    label = _label(parts[0], names)
    if label is None:
        known = f"0 to {len(names) - 1}" if names else "a whole number from 0"
        return Fault(place, "bad_row", f"class {parts[0]!r:.40} is none of {known}; not used")
    values = [number(part) for part in parts[1:]]
    if len(values) < 4 or (len(values) > 5 and len(values) % 2 and not keypoints):
        what = f"{len(parts)} numbers, expected class cx cy w h, or class x1 y1 x2 y2 ..; not used"
        return Fault(place, "bad_row", what)
    if not keypoints and len(values) > 5:
        box = (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
    else:
        cx, cy, width, height = values[:4]
        values = values[:4]
        box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
    if not all(map(math.isfinite, values)):
        return Line(place, label, _NO_BOX, " ".join(parts)[:60])
    if max(values) > _BEYOND or min(values) < -_BEYOND:
        what = f"{' '.join(parts[:5])}: expected fractions of the image, from 0 to 1; not used"
        return Fault(place, "bad_row", what)
    return Line(place, label, box)


def _label(text: str, names: Sequence[str]) -> int | None:
    if text in names:
        return names.index(text)
    value = number(text)
    if not value.is_integer() or value < 0 or (names and value >= len(names)):
        return None
    return int(value)
