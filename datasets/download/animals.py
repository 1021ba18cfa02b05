"""VOC-animals: 3,426 images of PASCAL VOC 2012 with animals, small enough to learn on a CPU.

Images as a public set of animal poses chose them (mateusrafael4/Atividade_programacao_pose_
estimation took them from VOC), in VOC's own train and val. The rule: the longer side is at most
320 px, sides rounded, JPEG of quality 80; a corner's x becomes `(xmin - 1) s + 1` and `xmax s`, s
the ratio of the widths, y alike, to one decimal; parts of bodies are left out. Boxes made so are
those of the first copy, all 7,168. What filter scaled its pixels is not known; here it is Lanczos'.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from datasets.errors import DataError
from datasets.formats import voc_xml
from datasets.pixels.likeness import likeness
from datasets.pixels.threads import in_order

LONGEST = 320  # pixels
QUALITY = 80
NAME = "VOC-animals"
LIST = Path(__file__).with_name("voc_animals.txt")  # a line an image: id, hash of its likeness
BOXES = "8b6370972cb7f13d47978407df406ba60a1305af9d5dafebfc926e40e7be6a91"
MOST_BITS = 12  # of 64 that differ in copies of a photo, see `pixels/alike`
Report = Callable[[str, int, int | None], None]


class Listed(NamedTuple):
    """An image of the set: its id in VOC 2012, and what it looks like."""

    image_id: str
    look: int


def listed() -> list[Listed]:
    """All images, in order."""
    lines = LIST.read_text("utf-8").splitlines()
    return [Listed(name, int(look, 16)) for name, look in map(str.split, lines)]


def make_animals(devkit: Path, out: Path, report: Report | None = None) -> None:
    """Make the set in `out` from VOC 2012 below `devkit`; one that is whole stays as it is.

    DataError where images are not there, and where boxes or pixels are not those of the first copy.
    """
    source = next((p for p in (devkit / "VOC2012", devkit) if (p / "JPEGImages").is_dir()), None)
    if source is None:
        raise DataError(f"{devkit}: no VOC2012/JPEGImages; 'data voc --years 2012' brings it")
    images = listed()
    last = out / "ImageSets/Main/trainval.txt"
    if last.is_file() and len(last.read_text().split()) == len(images):
        return
    missing = [one.image_id for one in images if not _both(source, one.image_id)]
    if missing:
        raise DataError(
            f"{source}: {len(missing)} of {len(images)} images are not there with their labels, the"
            f" first is {missing[0]}; this takes VOC 2012's trainval, whole"
        )
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    others: list[str] = []
    made = in_order(lambda one: _make(source, out, one), images)
    for done, (one, same) in enumerate(zip(images, made, strict=True), 1):
        others += [] if same else [one.image_id]
        if report:
            report("scale images", done, len(images))
    found = boxes_hash(out, (one.image_id for one in images))
    if found != BOXES:
        raise DataError(
            f"{out}: boxes are not the set's: {source} holds other labels than VOC 2012"
        )
    if others:
        raise DataError(f"{out}: {len(others)} images look otherwise, the first is {others[0]}")
    for split in ("train", "val"):
        _write_list(source, out, split, images)
    last.write_text("".join(f"{one.image_id}\n" for one in images))


def boxes_hash(root: Path, names: Iterator[str]) -> str:
    """SHA-256 of image sizes, classes, difficult flags and corners, as they are written."""
    total = sha256()
    for name in names:
        raw = voc_xml.parse(voc_xml.read_bytes(root / f"Annotations/{name}.xml"), root)
        total.update(f"{name} {raw.width}x{raw.height}\n".encode())
        for label, box, flag in zip(raw.names, raw.corners, raw.difficult, strict=True):
            corners = " ".join(f"{value:.1f}" for value in box)
            total.update(f"{label} {corners} {flag:d}\n".encode())
    return total.hexdigest()


def scaled_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of an image of this size in the set."""
    scale = min(1.0, LONGEST / max(width, height))
    return round(width * scale), round(height * scale)


def _both(source: Path, name: str) -> bool:
    files = (source / f"JPEGImages/{name}.jpg", source / f"Annotations/{name}.xml")
    return all(path.is_file() for path in files)


def _make(source: Path, out: Path, one: Listed) -> bool:
    """Write one image and its labels; whether it looks as it should."""
    path = source / f"JPEGImages/{one.image_id}.jpg"
    target = out / f"JPEGImages/{one.image_id}.jpg"
    try:
        with Image.open(path) as image:
            size = scaled_size(*image.size)
            small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    except OSError as error:
        raise DataError(f"{path}: not a readable image: {error}") from None
    small.save(target, quality=QUALITY)
    label = Path(f"Annotations/{one.image_id}.xml")
    root = voc_xml.element(voc_xml.read_bytes(source / label), source / label)
    _scale(root, size)
    ElementTree.ElementTree(root).write(out / label, encoding="utf-8")
    apart = likeness(target.read_bytes()).hash ^ one.look
    return apart.bit_count() <= MOST_BITS


def _scale(root: ElementTree.Element, size: tuple[int, int]) -> None:
    """Corners and size, in place; parts go."""
    _set(root, "folder", NAME)
    for thing in root.iterfind("object"):
        for part in thing.findall("part"):
            thing.remove(part)
    for axis, side, value in (("x", "width", size[0]), ("y", "height", size[1])):
        scale = value / _number(root, f"size/{side}")
        for thing in root.iterfind("object"):
            low, high = (_number(thing, f"bndbox/{axis}{end}") for end in ("min", "max"))
            _set(thing, f"bndbox/{axis}min", f"{(low - 1) * scale + 1:.1f}")
            _set(thing, f"bndbox/{axis}max", f"{high * scale:.1f}")
        _set(root, f"size/{side}", str(value))


def _number(element: ElementTree.Element, tag: str) -> float:
    return float(element.findtext(tag) or "nan")


def _set(element: ElementTree.Element, tag: str, text: str) -> None:
    found = element.find(tag)
    if found is not None:
        found.text = text


def _write_list(source: Path, out: Path, split: str, images: list[Listed]) -> None:
    official = set((source / f"ImageSets/Main/{split}.txt").read_text().split())
    lines = (f"{one.image_id}\n" for one in images if one.image_id in official)
    (out / f"ImageSets/Main/{split}.txt").write_text("".join(lines))
