"""A small data set before anyone has written it down: photos, what is in them, what goes wrong.

A form (`voc`, `coco`, `yolo`) writes it and its faults the way people's programs do.
"""

import io
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from hypothesis import strategies as st
from PIL import Image

CLASSES = ("cat", "hot dog", "größe")
STEMS = ("a", "photo 1", "grün", "IMG_0.rf.9c", "00012")
WIDTH, HEIGHT = 64, 48
TURNED = 6  # EXIF's orientation of a camera held upright


class Thing(NamedTuple):
    """An object; `box` is x1, y1, x2, y2, 0-based and exclusive."""

    name: str
    box: tuple[int, int, int, int]


class Photo(NamedTuple):
    stem: str
    things: tuple[Thing, ...]


class Fault(NamedTuple):
    """What goes wrong, in which photo, with which of its objects; forms take both modulo."""

    name: str
    photo: int
    thing: int


class Scene(NamedTuple):
    """The last photo is of `val`, the others of `train`."""

    photos: tuple[Photo, ...]
    faults: tuple[Fault, ...]


class Form(Protocol):
    """Writes a scene below a folder; `faults` are those it knows."""

    @property
    def faults(self) -> Sequence[str]: ...
    def __call__(self, root: Path, scene: Scene) -> None: ...


class Row(NamedTuple):
    """One object of a data set, wherever it was read."""

    stem: str
    name: str
    box: tuple[float, ...]


def rows(scene: Scene) -> list[Row]:
    return [Row(p.stem, t.name, t.box) for p in scene.photos for t in p.things]


@st.composite
def boxes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Inside the photo, and inside it when it lies on its side."""
    side = min(WIDTH, HEIGHT)
    x1, y1 = draw(st.integers(0, side - 8)), draw(st.integers(0, side - 8))
    return x1, y1, draw(st.integers(x1 + 4, side)), draw(st.integers(y1 + 4, side))


def scenes(faults: Sequence[str], most: int = 4) -> st.SearchStrategy[Scene]:
    """Two to four photos of one to three objects, and up to `most` faults."""
    thing = st.builds(Thing, st.sampled_from(CLASSES), boxes())
    things = st.lists(thing, min_size=1, max_size=3, unique=True).map(tuple)
    stems = st.lists(st.sampled_from(STEMS), min_size=2, max_size=4, unique=True)
    photos = stems.flatmap(
        lambda names: st.tuples(*(st.builds(Photo, st.just(name), things) for name in names))
    )
    fault = st.builds(Fault, st.sampled_from(faults), st.integers(0, 3), st.integers(0, 2))
    return st.builds(Scene, photos, st.lists(fault, max_size=most).map(tuple))


@cache
def picture(number: int, kind: str = "JPEG", turned: bool = False) -> bytes:
    """An image file; photos of another number look otherwise."""
    size = (WIDTH, HEIGHT)
    pixels = np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3))
    image = Image.fromarray(pixels.astype(np.uint8))
    options: dict[str, Any] = {}
    if turned:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = TURNED
        options["exif"] = exif
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


class Picture:
    """One photo's file, and what faults of any form make of it."""

    def __init__(self, number: int, stem: str) -> None:
        self.stem, self.ending, self.data = stem, ".jpg", picture(number)
        self._number = number
        self.there = True

    def turn(self) -> None:
        self.ending, self.data = ".jpg", picture(self._number, "JPEG", True)

    def png(self) -> None:
        self.ending, self.data = ".PNG", picture(self._number, "PNG")

    def grow(self) -> None:
        self.ending = ".jpeg"

    def cut(self) -> None:
        self.data = self.data[: len(self.data) // 2]

    def empty(self) -> None:
        self.data = b""

    def lose(self) -> None:
        self.there = False

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self.there:
            (folder / f"{self.stem}{self.ending}").write_bytes(self.data)


PICTURE_FAULTS: dict[str, Callable[[Picture], None]] = {
    "turned": Picture.turn,
    "png": Picture.png,
    "other_ending": Picture.grow,
    "cut_short": Picture.cut,
    "no_bytes": Picture.empty,
    "no_image": Picture.lose,
}


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
