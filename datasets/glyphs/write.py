"""The embedded data set: small coloured shapes among look-alikes, written to disk as VOC and COCO
at once.

Frequencies fall by a fixed ratio from class to class, most objects are small, and every image holds
clutter in the classes' own colours, so that foreground is rare and some background is hard. An
image is a pure function of (seed, split, number). Layout:

    root/{Annotations,ImageSets/Main,JPEGImages}     VOC, splits train, val, trainval, test
    root/annotations/instances_SPLIT.json            COCO, over the same JPEGImages
    root/glyphs.json                                 parameters and hash; written last
"""

import glob
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datasets.errors import DataError
from datasets.glyphs.drawing import (
    CLUTTER,
    SHAPES,
    WHOLE_IN_PART,
    colour,
    ground,
    paint,
    shape_mask,
)
from datasets.index import Array

VERSION = 1  # raise when the pictures change
GLYPH_CLASSES: tuple[str, ...] = tuple(sorted(SHAPES))
_MARKER = "glyphs.json"
_SIDES = (144, 160, 176)  # pixels
_QUALITY = 90  # JPEG: 6 kB an image; PNG takes 8 times that and decodes slower
ABANDONED = 3600.0  # seconds; drawing takes some 8
_DIFFICULT = 0.04  # of all objects: pale ones, flagged difficult (VOC) and crowd (COCO)


@dataclass(frozen=True, slots=True)
class Glyph:
    """One object, in 0-based pixels with x2 and y2 exclusive."""

    name: str
    box: tuple[int, int, int, int]
    area: int  # pixels covered
    difficult: bool
    truncated: bool


def write_glyphs(
    root: Path | str,
    seed: int = 0,
    *,
    train: int = 800,
    val: int = 200,
    test: int = 300,
    tail: float = 0.82,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the data set (some 8 s), or return at once where it is whole already.

    `tail`: frequency of each class relative to the one before. `progress` is called with (images
    done, images in all). The folder appears whole or not at all. DataError when `root` holds
    anything else, or cannot be written.
    """
    root = Path(root)
    counts = {"train": train, "val": val, "test": test}
    parameters = {"version": VERSION, "seed": seed, "tail": tail, **counts}
    if _finished(root, parameters):
        return root
    if root.exists() and any(root.iterdir()) and not (root / _MARKER).is_file():
        raise DataError(f"{root}: holds other files; name an empty or a new folder for the glyphs")
    root.parent.mkdir(parents=True, exist_ok=True)
    workshop = root.with_name(f".{root.name}-{os.getpid()}")
    _clear_abandoned(root)
    try:
        digest = _write_all(workshop, seed, counts, tail, progress)
        marker = {"parameters": parameters, "sha256": digest, "files": _census(workshop)}
        (workshop / _MARKER).write_text(json.dumps(marker, indent=1))
        _put_in_place(workshop, root, parameters)
    except OSError as error:  # a full disk's names no file
        raise DataError(f"{root}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return root


def _clear_abandoned(root: Path) -> None:
    """Remove what processes left that were killed while they drew; one that draws now is younger,
    be it on another machine.
    """
    for workshop in root.parent.glob(f".{glob.escape(root.name)}-*"):
        if workshop.name.rpartition("-")[2].isdecimal() and _age(workshop) > ABANDONED:
            shutil.rmtree(workshop, ignore_errors=True)


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:  # gone meanwhile
        return 0.0


def draw_glyphs(seed: int, split: str, number: int, tail: float) -> tuple[Array, list[Glyph]]:
    """One image, uint8 [H, W, 3], and its objects; a pure function of its arguments."""
    chance = np.random.default_rng([seed, *split.encode(), number])
    height, width = (int(side) for side in chance.choice(_SIDES, 2))
    image_HWC = ground(chance, height, width)
    for _ in range(chance.integers(3, 8)):
        _draw_clutter(chance, image_HWC)
    frequency = tail ** np.arange(len(SHAPES))
    names = chance.choice(list(SHAPES), chance.integers(1, 8), p=frequency / frequency.sum())
    glyphs: list[Glyph] = []
    for name in names:
        glyph = _draw_glyph(chance, image_HWC, str(name), glyphs)
        if glyph is not None:
            glyphs.append(glyph)
    grain = chance.standard_normal(image_HWC.shape, np.float32)
    image_HWC += grain * np.float32(chance.uniform(2, 9))
    return image_HWC.clip(0, 255, out=image_HWC).astype(np.uint8), glyphs


def _draw_glyph(
    chance: np.random.Generator, image_HWC: Array, name: str, others: list[Glyph]
) -> Glyph | None:
    """Draw one object where it hides no other; None when there is no room for it."""
    height, width = image_HWC.shape[:2]
    shape = SHAPES[name]
    side = int(14 * (48 / 14) ** chance.beta(1.1, 1.6))  # small ones are the most frequent
    turn = chance.uniform(-shape.turn, shape.turn) + (
        90 if name == "bar" and chance.random() < 0.5 else 0
    )
    mask = shape_mask(shape.outline, side, turn, chance.uniform(0.8, 1.25))
    rows, columns = mask.shape
    for _ in range(12):
        slack = side // 4 if chance.random() < 0.1 else 0  # a tenth may leave the image in part
        left = int(chance.integers(-slack, width - columns + slack + 1))
        top = int(chance.integers(-slack, height - rows + slack + 1))
        seen = mask[max(0, -top) : height - top, max(0, -left) : width - left] > 127
        if seen.mean() == 0 or _overlaps(left, top, left + columns, top + rows, others):
            continue
        difficult = bool(chance.random() < _DIFFICULT)
        rgb = colour(chance, shape.hue, 0.03)
        if difficult:  # near its ground
            part = image_HWC[max(0, top) : top + rows, max(0, left) : left + columns]
            rgb = rgb * 0.3 + part.mean((0, 1)) * 0.7
        covered = paint(image_HWC, mask, left, top, rgb)
        ys, xs = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        x, y = max(left, 0), max(top, 0)
        box = (x + int(xs[0]), y + int(ys[0]), x + int(xs[-1]) + 1, y + int(ys[-1]) + 1)
        return Glyph(name, box, int((covered > 127).sum()), difficult, covered.size < mask.size)
    return None


def _overlaps(left: int, top: int, right: int, bottom: int, others: list[Glyph]) -> bool:
    for other in others:
        x1, y1, x2, y2 = other.box
        shared = max(0, min(right, x2) - max(left, x1)) * max(0, min(bottom, y2) - max(top, y1))
        if shared > 0.1 * min((right - left) * (bottom - top), (x2 - x1) * (y2 - y1)):
            return True
    return False


def _draw_clutter(chance: np.random.Generator, image_HWC: Array) -> None:
    name = str(chance.choice(list(SHAPES)))
    shape = SHAPES[name]
    kind = CLUTTER[int(chance.integers(1 if name in WHOLE_IN_PART else 0, len(CLUTTER)))]
    side = int(chance.integers(12, 44))
    mask = shape_mask(kind(chance, shape.outline), side, chance.uniform(0, 360), 1.0)
    left = int(chance.integers(-side // 3, image_HWC.shape[1] - side // 2))
    top = int(chance.integers(-side // 3, image_HWC.shape[0] - side // 2))
    paint(image_HWC, mask, left, top, colour(chance, shape.hue, 0.05))


def _write_all(
    folder: Path,
    seed: int,
    counts: dict[str, int],
    tail: float,
    progress: Callable[[int, int], None] | None,
) -> str:
    """Everything but the marker; returns the hash of all files in order of writing."""
    for name in ("Annotations", "ImageSets/Main", "JPEGImages", "annotations"):
        (folder / name).mkdir(parents=True)
    total, done, everything = hashlib.sha256(), 0, sum(counts.values())

    def write(name: str, data: bytes) -> None:
        (folder / name).write_bytes(data)
        total.update(data)

    stems: dict[str, list[str]] = {}
    for split, count in counts.items():
        stems[split] = [f"{split}_{number:05d}" for number in range(count)]
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, stem in enumerate(stems[split]):
            image_HWC, glyphs = draw_glyphs(seed, split, number, tail)
            height, width = image_HWC.shape[:2]
            write(f"JPEGImages/{stem}.jpg", _jpeg(image_HWC))
            write(f"Annotations/{stem}.xml", _voc(stem, height, width, glyphs).encode())
            images.append(
                {"id": number + 1, "file_name": f"{stem}.jpg", "height": height, "width": width}
            )
            annotations += _coco(number + 1, len(annotations) + 1, glyphs)
            done += 1
            if progress:
                progress(done, everything)
        document = {"images": images, "annotations": annotations, "categories": _CATEGORIES}
        write(f"annotations/instances_{split}.json", json.dumps(document).encode())
    stems["trainval"] = stems["train"] + stems["val"]
    for split, names in stems.items():
        write(f"ImageSets/Main/{split}.txt", "".join(f"{name}\n" for name in names).encode())
    return total.hexdigest()


_CATEGORIES = [{"id": number, "name": name} for number, name in enumerate(GLYPH_CLASSES, 1)]


def _jpeg(image_HWC: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _voc(stem: str, height: int, width: int, glyphs: list[Glyph]) -> str:
    objects = "".join(map(_voc_object, glyphs))
    return (
        f"<annotation>\n\t<folder>glyphs</folder>\n\t<filename>{stem}.jpg</filename>\n"
        f"\t<size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
        f"{objects}</annotation>\n"
    )


def _voc_object(glyph: Glyph) -> str:
    x1, y1, x2, y2 = glyph.box
    corners = (("xmin", x1 + 1), ("ymin", y1 + 1), ("xmax", x2), ("ymax", y2))
    box = "".join(f"<{name}>{value}</{name}>" for name, value in corners)
    return (
        f"\t<object>\n\t\t<name>{glyph.name}</name>\n"
        f"\t\t<truncated>{glyph.truncated:d}</truncated>\n"
        f"\t\t<difficult>{glyph.difficult:d}</difficult>\n"
        f"\t\t<bndbox>{box}</bndbox>\n\t</object>\n"
    )


def _coco(image: int, first: int, glyphs: list[Glyph]) -> list[dict[str, Any]]:
    rows = []
    for number, glyph in enumerate(glyphs, first):
        x1, y1, x2, y2 = glyph.box
        rows.append(
            {
                "id": number,
                "image_id": image,
                "category_id": GLYPH_CLASSES.index(glyph.name) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": glyph.area,
                "iscrowd": int(glyph.difficult),
            }
        )
    return rows


def _finished(root: Path, parameters: dict[str, Any]) -> bool:
    try:
        marker = json.loads((root / _MARKER).read_text())
        return bool(marker["parameters"] == parameters and marker["files"] == _census(root))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _census(folder: Path) -> list[int]:
    """Number and bytes of all files but the marker: tells whether the folder is whole, fast."""
    sizes = [p.stat().st_size for p in folder.rglob("*") if p.is_file() and p.name != _MARKER]
    return [len(sizes), sum(sizes)]


def _put_in_place(workshop: Path, root: Path, parameters: dict[str, Any]) -> None:
    """Move the finished folder to its name; where another process was faster, its folder stays."""
    if root.exists() and not _finished(root, parameters):
        shutil.rmtree(root)
    try:
        os.replace(workshop, root)
    except OSError:
        if not _finished(root, parameters):
            raise
