"""Where the names of boxes stand in a picture: on plates in sight and, where there is room, apart.

For the pictures of `detect` and of the report alike. Pixels of the picture, x right, y down.
"""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

Corners = tuple[float, float, float, float]  # x1, y1, x2, y2
TEXT_HEIGHT = 0.02  # of the picture's longer side: a line is read where the picture fills a screen
PADDING = 0.3  # of the text's size, on every side of it


_LETTER_WIDTH = 0.6  # of the text's size, of the widest fonts of pages
_WIDE = ("W", "F")  # letters of China, Japan and Korea fill a square


class Plate(NamedTuple):
    """A rectangle for a name: its top left corner and size."""

    x: float
    y: float
    width: float
    height: float


def text_width(text: str) -> float:
    """Room for a text in a page's font, in sizes of the text."""
    wide = sum(unicodedata.east_asian_width(letter) in _WIDE for letter in text)
    return _LETTER_WIDTH * (len(text) - wide) + wide


def place_plates(
    boxes: Sequence[Corners],
    text_widths: Sequence[float],
    text_size: float,
    picture: tuple[float, float],
) -> list[Plate]:
    """A plate for each box, the first boxes first; `picture` is its (width, height).

    A plate stands above its box, else where it covers least of those before it: inside at the top,
    below, inside at the bottom, or right of these. It never leaves the picture, but for a name that
    is wider than it.
    """
    placed: list[Plate] = []
    for (x1, y1, x2, y2), text in zip(boxes, text_widths, strict=True):
        width, height = text + 2 * PADDING * text_size, (1 + 2 * PADDING) * text_size
        choices = [
            _inside(Plate(x, y, width, height), picture)
            for x in (x1, x2 - width)
            for y in (y1 - height, y1, y2, y2 - height)
        ]
        placed.append(min(choices, key=lambda plate: sum(_shared(plate, one) for one in placed)))
    return placed


def _inside(plate: Plate, picture: tuple[float, float]) -> Plate:
    return plate._replace(
        x=max(0.0, min(plate.x, picture[0] - plate.width)),
        y=max(0.0, min(plate.y, picture[1] - plate.height)),
    )


def _shared(one: Plate, other: Plate) -> float:
    """Area that two plates share."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    return max(width, 0.0) * max(height, 0.0)
