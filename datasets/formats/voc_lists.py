"""Which images a split of a VOC-layout folder names, and where their files are."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from datasets.errors import IMPORT, DataError, nearest
from datasets.formats.finder import (
    IMAGE_ENDINGS,
    Finder,
    files_below,
    image_by_stem,
    leads_out,
    tidy,
)
from datasets.formats.findings import Findings
from datasets.formats.values import text_of

_PLAIN = re.compile(r"\w+")  # nearly every line, told fast
_VERDICT = re.compile(r"(\S(?:.*\S)?)\s+(-1|0|1)")  # the devkit's per-class lists: stem, verdict
# "images/a.jpg annotations/a.xml", as PaddleDetection and others list pairs
_PAIR = re.compile(
    rf"(.+?(?:{'|'.join(map(re.escape, IMAGE_ENDINGS))}))[\s,;]+(.+\.xml)", re.IGNORECASE
)
_ROOMS = re.compile(r"^.*(?:^|/)(?:JPEGImages|Annotations)/", re.IGNORECASE)


class Entry(NamedTuple):
    """One image of a split: paths are relative to the data root."""

    image_id: str
    annotation: str
    image: str  # where the list or the folders place it; "" where they don't


class Line(NamedTuple):
    """What one line of a list names; `image` and `annotation` where it says so itself."""

    stem: str
    image: str = ""
    annotation: str = ""


def read_split(root: Path, split: str, role: str, findings: Findings) -> list[Entry]:
    """The images of `split` ("trainval", "2007/trainval+2012/trainval", a folder of XML files).

    DataError when it is missing or empty. An image listed twice counts once. Where two folders use
    the same name, ids become `folder/name`.
    """
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; point `root` at a folder in VOC layout,"
            " or fetch one: python -m experiments data --help"
        )
    lines: dict[str, tuple[str, Line]] = {}  # by annotation
    for part in split.split("+"):
        folder, name = split_folder(root, part.strip())
        place = _Place(root, folder)
        for line in _lines(root, folder, name, role, findings):
            annotation = line.annotation or place.annotation(line.stem)
            image = line.image or place.image(line.stem)
            lines.setdefault(annotation, (folder, Line(line.stem, image, annotation)))
    if not lines:
        raise DataError(
            f"{root}: split {split!r} is empty; it must name at least one image (to leave it out,"
            " name the other splits)"
        )
    clash = len({line.stem for _, line in lines.values()}) < len(lines)
    return [
        Entry(_long(folder, line) if clash else line.stem, line.annotation, line.image)
        for folder, line in lines.values()
    ]


def _long(folder: str, line: Line) -> str:
    return f"{folder}/{line.stem}" if folder else line.annotation.removesuffix(".xml")


class _Place:
    """Where a VOC folder keeps annotations and images: its own two folders, or anywhere below."""

    def __init__(self, root: Path, folder: str) -> None:
        self._root, self._within = root, f"{folder}/" if folder else ""
        self._images = {"": image_by_stem(root / folder / "JPEGImages")}
        self._own = (root / folder / "Annotations").is_dir()
        self._finder = Finder(root / folder, (".xml",))

    def annotation(self, stem: str) -> str:
        if not self._own:
            found = self._finder.find(f"{stem}.xml")
            if found is not None:
                return self._within + found
        return f"{self._within}Annotations/{stem}.xml"

    def image(self, stem: str) -> str:
        below, _, name = stem.rpartition("/")
        if below not in self._images:
            self._images[below] = image_by_stem(self._root / self._within / "JPEGImages" / below)
        found = self._images[below].get(name)
        inner = f"{below}/" if below else ""
        return f"{self._within}JPEGImages/{inner}{found}" if found else ""


def split_folder(root: Path, part: str) -> tuple[str, str]:
    """(folder, list) of a split: ("VOC2007", "trainval") for `2007/trainval`, ("", x) for `x` and
    for a file named whole.
    """
    part = tidy(part)
    if os.path.isabs(part):
        if part.endswith(".txt"):
            return "", part
        raise DataError(f"{part}: a split is a list's name, a folder below {root}, or a .txt file")
    if leads_out(part):
        raise DataError(f"{part}: leads out of {root}; name a list elsewhere by its whole path")
    folder, slash, name = part.rpartition("/")
    if not slash:
        return "", name
    choices = [f"VOC{folder}", folder]
    for choice in choices:
        if (root / choice).is_dir():
            return choice, name
    raise DataError(f"{root}: split {part!r} needs the folder {choices[0]} or {choices[1]} there")


def split_file(root: Path, folder: str, name: str, role: str = "split") -> Path:
    """The list of a split: ImageSets/Main/NAME.txt, ImageSets/NAME.txt or, named whole, NAME.txt.

    DataError names the nearest there is.
    """
    sets = root / folder / "ImageSets"
    places = [sets / "Main" / f"{name}.txt", sets / f"{name}.txt"]
    places += [root / folder / name] if name.endswith(".txt") else []
    for path in places:
        if path.is_file():
            return path
    known = sorted(path.stem for path in sets.rglob("*.txt"))
    raise DataError(
        f"{places[0]}: no such split ({role}){nearest(name, known)}"
        f" (found: {', '.join(known[:12]) or 'none'}); {IMPORT}"
    )


def xml_folder(root: Path, folder: str, name: str) -> Path | None:
    """The folder of a split that has no list: XML files beside their images (Roboflow's export)."""
    place = root / folder / name
    return place if place.is_dir() and next(place.glob("*.xml"), None) is not None else None


def _lines(root: Path, folder: str, name: str, role: str, findings: Findings) -> list[Line]:
    place = xml_folder(root, folder, name)
    if place is not None:
        images = image_by_stem(place)
        within = place.relative_to(root).as_posix()
        stems = [Path(path).stem for path in files_below(place, (".xml",)) if "/" not in path]
        return [
            Line(s, f"{within}/{images[s]}" if images.get(s) else "", f"{within}/{s}.xml")
            for s in stems
        ]
    path = split_file(root, folder, name, role)
    within = (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
    first: dict[str, int] = {}
    lines = []
    for number, line in listed(path, root / folder):
        name = line.annotation or line.stem
        if first.setdefault(name, number) != number:
            what = f"line {number}: {name} is there since line {first[name]}"
            findings.add(within, None, "duplicate_id", what)
        else:
            lines.append(_from_root(root, line, folder))
    return lines


def _from_root(root: Path, line: Line, folder: str) -> Line:
    """Pairs are named from the folder that the list belongs to, or else from the root."""
    if not folder or not line.annotation or (root / line.annotation).is_file():
        return line
    return Line(line.stem, f"{folder}/{line.image}", f"{folder}/{line.annotation}")


def listed(path: Path, place: Path) -> list[tuple[int, Line]]:
    """(line number, what it names) of a list; a per-class list's negatives are left out.

    `place`: the folder that the list belongs to; an image called "photo 1" is told from a line of
    a per-class list by its annotation.
    """
    data = path.read_bytes()
    try:
        text = text_of(data)
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file in UTF-8") from None

    def is_image(stem: str) -> bool:
        return (place / "Annotations" / f"{stem}.xml").is_file()

    named = (
        (number, _named(path, number, line.strip(), is_image))
        for number, line in enumerate(text.splitlines(), 1)
    )
    return [(number, line) for number, line in named if line is not None]


def _named(path: Path, number: int, line: str, is_image: Callable[[str], bool]) -> Line | None:
    if _PLAIN.fullmatch(line):
        return Line(line)
    pair = _PAIR.fullmatch(line)
    if pair:
        image, annotation = (_inside(path, number, part) for part in pair.groups())
        return Line(Path(annotation).stem, image, annotation)
    verdict = _VERDICT.fullmatch(line)
    if verdict and not is_image(_without_ending(line)):
        if verdict[2] == "-1":  # a per-class list's negatives
            return None
        line = verdict[1]
    if not line:
        return None
    line = _ROOMS.sub("", line.replace("\\", "/"))  # what a list of another machine says before
    return Line(_without_ending(_inside(path, number, line)))


def _inside(path: Path, number: int, name: str) -> str:
    name = tidy(name)
    if leads_out(name):
        raise DataError(f"{path}, line {number}: {name!r} leads out of the data folder")
    return name


def _without_ending(name: str) -> str:
    stem, ending = os.path.splitext(name)
    return stem if ending.lower() in (*IMAGE_ENDINGS, ".xml") else name
