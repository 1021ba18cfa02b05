"""The pictures of the glyphs data set: twelve shapes, clutter that resembles them, textured
grounds.

Shapes are drawn by Pillow at four times their size and scaled down, so that edges are smooth. All
lengths are in pixels of the final image; shapes are outlined in a unit square, x right, y down.
"""

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from datasets.index import Array

OVERSAMPLE = 4
Point = tuple[float, float]
Outline = tuple[list[list[Point]], list[list[Point]]]  # polygons filled, polygons cut out


def _regular(corners: int, radius: float = 0.5, turn: float = 0.0) -> list[Point]:
    angles = [turn + 2 * math.pi * k / corners for k in range(corners)]
    return [(0.5 + radius * math.cos(a), 0.5 + radius * math.sin(a)) for a in angles]


def _box(left: float, top: float, right: float, bottom: float) -> list[Point]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _star() -> list[Point]:
    spikes = [(0.5 if k % 2 == 0 else 0.2, -math.pi / 2 + math.pi * k / 5) for k in range(10)]
    return [(0.5 + r * math.cos(a), 0.5 + r * math.sin(a)) for r, a in spikes]


def _heart() -> list[Point]:
    turns = [2 * math.pi * k / 40 for k in range(40)]
    return [
        (
            0.5 + math.sin(t) ** 3 / 2,
            0.45
            - (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 32,
        )
        for t in turns
    ]


_BOLT = [(0.55, 0.0), (0.15, 0.55), (0.45, 0.55), (0.3, 1.0), (0.85, 0.4), (0.52, 0.4), (0.75, 0.0)]
_ARROW = [(0.5, 0.0), (1.0, 0.5), (0.68, 0.5), (0.68, 1.0), (0.32, 1.0), (0.32, 0.5), (0.0, 0.5)]
_LADDER = [_box(0.05, 0.0, 0.28, 1.0), _box(0.72, 0.0, 0.95, 1.0), _box(0.05, 0.4, 0.95, 0.6)]


@dataclass(frozen=True, slots=True)
class Shape:
    """One class: its outline, its usual hue (0..1) and how far it may turn (degrees)."""

    outline: Outline
    hue: float
    turn: float = 15.0


# In order of frequency, most frequent first. Neighbours in hue differ in outline and the other way
# round.
SHAPES: dict[str, Shape] = {
    "disc": Shape(([_regular(48)], []), 0.00),
    "square": Shape(([_box(0.04, 0.04, 0.96, 0.96)], []), 0.58),
    "triangle": Shape(([[(0.5, 0.02), (1.0, 0.95), (0.0, 0.95)]], []), 0.33),
    "ring": Shape(([_regular(48)], [_regular(48, 0.27)]), 0.12),
    "cross": Shape(([_box(0.34, 0.0, 0.66, 1.0), _box(0.0, 0.34, 1.0, 0.66)], []), 0.82),
    "star": Shape(([_star()], []), 0.16),
    "bar": Shape(([_box(0.0, 0.33, 1.0, 0.67)], []), 0.50, 10.0),
    "crescent": Shape(([_regular(48)], [[(x + 0.24, y) for x, y in _regular(48, 0.42)]]), 0.66),
    "arrow": Shape(([_ARROW], []), 0.05, 20.0),
    "heart": Shape(([_heart()], []), 0.93),
    "ladder": Shape((_LADDER, []), 0.75),
    "bolt": Shape(([_BOLT], []), 0.25),
}


def shape_mask(outline: Outline, side: int, degrees: float, stretch: float) -> Array:
    """Coverage 0..255 of an outline, `side` pixels at its longer side, cut to what is drawn."""
    large = side * OVERSAMPLE
    sheet = Image.new("L", (large * 3 // 2, large * 3 // 2))
    draw = ImageDraw.Draw(sheet)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    wide, high = large * min(1.0, stretch), large * min(1.0, 1 / stretch)
    middle = large * 0.75
    for polygons, value in zip(outline, (255, 0), strict=True):
        for polygon in polygons:
            points = [((x - 0.5) * wide, (y - 0.5) * high) for x, y in polygon]
            draw.polygon(
                [
                    (middle + x * cosine - y * sine, middle + x * sine + y * cosine)
                    for x, y in points
                ],
                fill=value,
            )
    box = sheet.getbbox() or (0, 0, OVERSAMPLE, OVERSAMPLE)
    left, top = box[0] // OVERSAMPLE * OVERSAMPLE, box[1] // OVERSAMPLE * OVERSAMPLE
    size = (-(-(box[2] - left) // OVERSAMPLE), -(-(box[3] - top) // OVERSAMPLE))
    cut = sheet.crop((left, top, left + size[0] * OVERSAMPLE, top + size[1] * OVERSAMPLE))
    return np.asarray(cut.reduce(OVERSAMPLE))


def colour(chance: np.random.Generator, hue: float, spread: float) -> Array:
    """RGB 0..255 near a hue."""
    turned = (hue + chance.normal(0, spread)) % 1
    rgb = colorsys.hsv_to_rgb(turned, chance.uniform(0.55, 0.95), chance.uniform(0.55, 0.95))
    return np.array(rgb, np.float32) * 255


def paint(image_HWC: Array, mask_HW: Array, left: int, top: int, rgb: Array) -> Array:
    """Lay a coloured mask on the float image, in place; returns the coverage inside it."""
    height, width = image_HWC.shape[:2]
    x1, y1 = max(left, 0), max(top, 0)
    x2 = max(x1, min(left + mask_HW.shape[1], width))
    y2 = max(y1, min(top + mask_HW.shape[0], height))
    covered = mask_HW[y1 - top : y2 - top, x1 - left : x2 - left]
    if covered.size == 0:
        return covered
    weight = covered[..., None].astype(np.float32) / 255
    part = image_HWC[y1:y2, x1:x2]
    part += (rgb - part) * weight
    return covered


def ground(chance: np.random.Generator, height: int, width: int) -> Array:
    """A float RGB ground: soft patches, sometimes stripes."""
    coarse = chance.uniform(0, 255, (*chance.integers(3, 9, 2), 3)).astype(np.uint8)
    patches = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    base = chance.uniform(70, 185, 3).astype(np.float32)
    image_HWC = base + (np.asarray(patches, np.float32) - 127) * chance.uniform(0.15, 0.45)
    if chance.random() < 0.5:
        angle, wavelength = chance.uniform(0, math.pi), chance.uniform(5, 18)
        y, x = np.mgrid[:height, :width].astype(np.float32)
        phase = (x * math.cos(angle) + y * math.sin(angle)) * (2 * math.pi / wavelength)
        image_HWC += (np.sin(phase) * chance.uniform(5, 16))[..., None].astype(np.float32)
    return np.clip(image_HWC, 0, 255).astype(np.float32)


# A piece of one of these could pass for a whole one.
WHOLE_IN_PART = frozenset({"bar", "triangle"})


def _fragment(chance: np.random.Generator, outline: Outline) -> Outline:
    """A shape with a third or half of it cut away: near to its class, but not of it."""
    angle = chance.uniform(0, 2 * math.pi)
    away = chance.uniform(0.0, 0.12)
    x, y = 0.5 + away * math.cos(angle), 0.5 + away * math.sin(angle)
    along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    corners = [(0, -2), (2, -2), (2, 2), (0, 2)]
    half = [
        (x + a * along[0] + b * across[0], y + a * along[1] + b * across[1]) for a, b in corners
    ]
    return outline[0], [*outline[1], half]


def _blob(chance: np.random.Generator, _: Outline) -> Outline:
    radii = chance.uniform(0.15, 0.5, 7)
    points = _regular(7, 1.0)
    return [
        [
            (0.5 + (x - 0.5) * r, 0.5 + (y - 0.5) * r)
            for (x, y), r in zip(points, radii, strict=True)
        ]
    ], []


def _stroke(chance: np.random.Generator, _: Outline) -> Outline:
    half = chance.uniform(0.03, 0.08)
    return [_box(0.0, 0.5 - half, 1.0, 0.5 + half)], []


def _crumbs(chance: np.random.Generator, _: Outline) -> Outline:
    centres = chance.uniform(0.1, 0.9, (6, 2))
    return [
        [(x + (px - 0.5) * 0.16, y + (py - 0.5) * 0.16) for px, py in _regular(8, 1.0)]
        for x, y in centres
    ], []


CLUTTER: tuple[Callable[[np.random.Generator, Outline], Outline], ...] = (
    _fragment,
    _blob,
    _stroke,
    _crumbs,
)
