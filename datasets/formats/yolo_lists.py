"""Which images a YOLO data set's splits hold, and where their labels are."""

import os
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, NamedTuple

from datasets.errors import IMPORT, DataError, nearest
from datasets.formats.finder import IMAGE_ENDINGS, Finder, files_below, leads_out, tidy
from datasets.formats.values import is_text
from datasets.formats.yolo_layout import SPLITS, Layout, resolved, text_lines

# Folders of images whose labels are in `labels` beside them, however their letters are written.
_ROOMS = ("images", "jpegimages")


class Entry(NamedTuple):
    """One image of a split: paths are relative to the data root."""

    image_id: str
    label: str
    image: str


def entries(layout: Layout, split: str, role: str) -> list[Entry]:
    """The images of a split ("train", "train+val", a folder or a list), with their label files.

    DataError where there is no such split, or no image in it.
    """
    images: dict[str, None] = {}
    for part in split.split("+"):
        for place in _places(layout, part.strip(), role):
            images |= dict.fromkeys(_images(layout, place))
    if not images:
        raise DataError(
            f"{layout.root}: split {split!r} holds no image (to leave it out, name the"
            " other splits)"
        )
    stems = [os.path.splitext(image)[0] for image in images]
    short = [stem.rpartition("/")[2] for stem in stems]
    ids = short if len(set(short)) == len(short) else stems
    labels = [label_of(layout.root, image) for image in images]
    return [Entry(*fields) for fields in zip(ids, labels, images, strict=True)]


def without_image(layout: Layout, split: str, role: str, known: Sequence[Entry]) -> list[str]:
    """Text files where the labels of a split's folders lie that belong to none of its images.

    A list names images, so a folder that it shares with other splits is not looked at.
    """
    folders = {
        label_of(layout.root, f"{place}/x").rpartition("/")[0]
        for part in split.split("+")
        for place in _places(layout, part.strip(), role)
        if (layout.root / place).is_dir()
    }
    return texts_alone(layout.root, folders, {entry.label for entry in known})


def texts_alone(root: Path, folders: Iterable[str], labels: Collection[str]) -> list[str]:
    """Text files at and below some folders that are none of `labels`, relative to the root."""
    there = {
        path
        for folder in folders
        for path in files_below(root, (".txt",), folder)
        if path not in labels and path.rpartition("/")[2] != "classes.txt"
    }
    return sorted(there)


def label_of(root: Path, image: str) -> str:
    """The label file of an image: in `labels` where it is in `images`, else beside it."""
    stem = os.path.splitext(image)[0]
    parts = stem.split("/")
    rooms = [place for place, part in enumerate(parts[:-1]) if part.lower() in _ROOMS]
    choices = [f"{stem}.txt"]
    for name in ("Labels", "labels") if rooms else ():
        parts[rooms[-1]] = name
        choices.insert(0, f"{'/'.join(parts)}.txt")
    if not stem.isascii():  # a Mac's files write an accent by itself, their labels may not
        forms: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
        choices += [unicodedata.normalize(form, c) for c in choices for form in forms]
    ending = os.path.splitext(image)[1]
    spelt = [f"{c.removesuffix('.txt')}{end}" for end in (".TXT", f"{ending}.txt") for c in choices]
    for choice in (*choices, *spelt):
        if os.path.isfile(f"{root}/{choice}"):  # a Path takes longer to make
            return choice
    return choices[0]


def splits(layout: Layout) -> list[str]:
    """The splits that the description names, or that folders are called by."""
    if layout.places:
        return [split for split in SPLITS if split in layout.places]
    folders = [
        f"{inside}{split}{below}" for split in (*SPLITS, "valid") for inside, below in _FORMS
    ]
    return [folder for folder in folders if (layout.root / folder).is_dir()]


_FORMS = (("images/", ""), ("", "/images"))


def _places(layout: Layout, split: str, role: str) -> Iterator[str]:
    """Folders and lists of one split, relative to the root."""
    for written in layout.places.get(split, ()):
        place = resolved(layout.root, layout.base, written) or _pattern(layout, written)
        if place is None:
            others = ", ".join(name for name in layout.places if name != split)
            raise DataError(
                f"{layout.root}: split {split!r} is said to be at {written!r}: no such place;"
                f" name others to leave it out ({others or 'there are none'}); {IMPORT}"
            )
        yield place
    if split not in layout.places:
        tried = (split, *(f"{inside}{split}{below}" for inside, below in _FORMS))
        place = next((p for p in tried if (layout.root / tidy(p)).exists()), None)
        listed = place is not None and os.path.isabs(place) and place.endswith(".txt")
        if place is None or leads_out(tidy(place)) and not listed:
            known = [*layout.places] or splits(layout)
            raise DataError(
                f"{layout.root}: no such split {split!r} ({role}){nearest(split, known)}"
                f" (found: {', '.join(known) or 'none'}); {IMPORT}"
            )
        yield tidy(place)


def _pattern(layout: Layout, written: str) -> str | None:
    """Names with `*` in a folder that is there, as ultralytics takes them."""
    folder, _, names = tidy(written).rpartition("/")
    found = resolved(layout.root, layout.base, folder or ".") if "*" in names else None
    return None if found is None else f"{found}/{names}".lstrip("/")


def _images(layout: Layout, place: str) -> Iterator[str]:
    folder, _, names = place.rpartition("/")
    pattern = "*" in names and not (layout.root / place).exists()
    if pattern or (layout.root / place).is_dir():
        for path in files_below(layout.root, IMAGE_ENDINGS, folder if pattern else place):
            if pattern and not fnmatch(path, place):
                continue
            if not is_text(path):
                raise DataError(f"{layout.root}: {path!r}: a file name that isn't UTF-8; rename it")
            yield path
        return
    finder = Finder(layout.root)
    beside = place.rpartition("/")[0]
    for line in text_lines(layout.root / place):
        base = beside if line.startswith("./") else layout.base
        found = resolved(layout.root, base, line)
        found = found or finder.find(tidy(line), place, exact=True)
        yield found or tidy(line).lstrip("/.")
