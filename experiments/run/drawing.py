"""A photo with its detections drawn: boxes in their class's colour, names on plates of it.

Lines and letters grow with the photo, so that they are read on 4,000 px as on 400; what is smaller
is enlarged first, since letters have no room on it.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from datasets.pixels.lettering import font_file
from experiments.evaluation.plates import PADDING, TEXT_HEIGHT, place_plates

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")
LEAST_SIDE = 480  # pixels of a picture's longer side
LEAST_TEXT = 13  # pixels; smaller letters blur in a JPEG


class Found(NamedTuple):
    """One detection; `box` is x1, y1, x2, y2 in pixels of the photo."""

    name: str
    score: float
    box: tuple[float, float, float, float]
    colour: str


def colour_of(label: int) -> str:
    """Each class keeps its colour."""
    return COLOURS[label % len(COLOURS)]


def drawn(pixels_HWC: NDArray[np.uint8], found: Sequence[Found]) -> Image.Image:
    """The picture of a photo (RGB, 8 bit) with its detections, the likeliest on top."""
    image = Image.fromarray(pixels_HWC)
    times = max(1, -(-LEAST_SIDE // max(image.size)))
    if times > 1:
        size = (image.width * times, image.height * times)
        image = image.resize(size, Image.Resampling.BICUBIC)
    longest = max(image.size)
    font = _font(max(LEAST_TEXT, round(TEXT_HEIGHT * longest)))
    line = max(2, round(longest / 400))
    pen = ImageDraw.Draw(image)
    best_first = sorted(found, key=lambda one: -one.score)
    boxes = [_scaled(one.box, times) for one in best_first]
    for one, box in reversed(list(zip(best_first, boxes, strict=True))):
        pen.rectangle(_grown(box, line), outline="black", width=max(1, line // 2))
        pen.rectangle(box, outline=one.colour, width=line)
    texts = [f"{one.name} {one.score:.2f}" for one in best_first]
    widths = [font.getlength(text) for text in texts]
    plates = place_plates(boxes, widths, font.size, image.size)
    for one, text, plate in reversed(list(zip(best_first, texts, plates, strict=True))):
        edges = (plate.x, plate.y, plate.x + plate.width, plate.y + plate.height)
        pen.rectangle(edges, fill=one.colour)
        middle = (plate.x + PADDING * font.size, plate.y + plate.height / 2)
        pen.text(middle, text, _ink(one.colour), font, anchor="lm")
    return image


def _scaled(box: Sequence[float], times: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (value * times for value in box)
    return x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)  # Pillow draws the last pixel, too


def _grown(box: Sequence[float], line: int) -> tuple[float, float, float, float]:
    edge = max(1, line // 2)
    return box[0] - edge, box[1] - edge, box[2] + edge, box[3] + edge


def _ink(colour: str) -> str:
    """Black or white, whichever is read better on `colour`."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


@lru_cache(maxsize=4)
def _font(size: int) -> Any:
    return ImageFont.truetype(font_file(), size)
