"""Which images a split of a VOC-layout folder names, and where their files are."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from datasets.errors import DataError, nearest

_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_PLAIN = re.compile(r"\w+")  # nearly every line, told fast
_LINE = re.compile(r"(\S(?:.*\S)?)\s+(-1|0|1)")  # the devkit's per-class lists: stem and verdict


class Entry(NamedTuple):
    """One line of a split: paths are relative to the data root."""

    image_id: str
    annotation: str
    image: str
    present: bool  # the image file is there


def read_split(root: Path, split: str, role: str) -> list[Entry]:
    """The images of `split` ("trainval", "2007/trainval+2012/trainval").

    DataError when it is missing or empty.

    An image listed twice counts once. Where two folders use the same name, ids become
    `folder/name`.
    """
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder; point `root` at a folder in VOC layout,"
            " or fetch one: python -m experiments data --help"
        )
    stems: dict[tuple[str, str], None] = {}
    for part in split.split("+"):
        folder, name = split_folder(root, part.strip())
        for _, stem in listed(split_file(root, folder, name, role)):
            stems[folder, stem] = None
    if not stems:
        raise DataError(
            f"{root}: split {split!r} ({role}) is empty; it must name at least one image"
        )
    clash = len({stem for _, stem in stems}) < len(stems)
    folders = {folder for folder, _ in stems}
    images = {folder: _images(root / folder / "JPEGImages") for folder in folders}
    entries = []
    for folder, stem in stems:
        within = f"{folder}/" if folder else ""
        found = images[folder].get(stem)
        entries.append(
            Entry(
                image_id=within + stem if clash else stem,
                annotation=f"{within}Annotations/{stem}.xml",
                image=f"{within}JPEGImages/{found or stem + '.jpg'}",
                present=found is not None or "/" in stem,
            )
        )
    return entries


def split_folder(root: Path, part: str) -> tuple[str, str]:
    """(folder, list) of a split: ("VOC2007", "trainval") for `2007/trainval`, ("", x) for `x`."""
    folder, slash, name = part.rpartition("/")
    if not slash:
        return "", name
    choices = [f"VOC{folder}", folder]
    for choice in choices:
        if (root / choice).is_dir():
            return choice, name
    raise DataError(f"{root}: split {part!r} needs the folder {choices[0]} or {choices[1]} there")


def split_file(root: Path, folder: str, name: str, role: str = "split") -> Path:
    """The list of a split, in ImageSets/Main or ImageSets; DataError names the nearest there is."""
    sets = root / folder / "ImageSets"
    for path in (sets / "Main" / f"{name}.txt", sets / f"{name}.txt"):
        if path.is_file():
            return path
    known = sorted(path.stem for path in sets.rglob("*.txt"))
    raise DataError(
        f"{sets / 'Main' / name}.txt: no such split ({role}){nearest(name, known)}"
        f" (found: {', '.join(known[:12]) or 'none'})"
    )


def listed(path: Path) -> list[tuple[int, str]]:
    """(line number, image stem) of a split's list; a per-class list's negatives are left out."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file in UTF-8") from None
    stems = ((number, _stem(path, number, line)) for number, line in enumerate(lines, 1))
    return [(number, stem) for number, stem in stems if stem]


def _stem(path: Path, number: int, line: str) -> str | None:
    line = line.strip()
    if _PLAIN.fullmatch(line):
        return line
    listed = _LINE.fullmatch(line)
    if listed:
        if listed[2] == "-1":  # a per-class list's negatives
            return None
        line = listed[1]
    stem, ending = os.path.splitext(line)
    stem = stem if ending.lower() in (*_IMAGE_ENDINGS, ".xml") else line
    if stem.startswith("/") or ".." in stem.split("/") or "\0" in stem:
        raise DataError(f"{path}, line {number}: {line!r} leads out of the data folder")
    return stem


def _images(folder: Path) -> dict[str, str]:
    """File name by stem, for every image of the folder: endings differ in spelling."""
    try:
        names = sorted(os.listdir(folder), reverse=True)  # .jpg wins over .png
    except OSError:
        return {}
    split = (os.path.splitext(name) for name in names)
    return {stem: stem + ending for stem, ending in split if ending.lower() in _IMAGE_ENDINGS}
