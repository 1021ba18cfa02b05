"""Which image the labels of a VOC file belong to."""

import os
from collections.abc import Sequence
from pathlib import Path

from datasets.errors import Finding
from datasets.formats.finder import Finder, likeliest, tidy
from datasets.formats.voc_lists import Entry


def find_images(
    root: Path, entries: Sequence[Entry], filenames: Sequence[str]
) -> tuple[list[str], list[Finding]]:
    """The image of each entry, and a finding for each that nothing tells from another.

    It is where the list or the folder has it, else the one that is called as its labels are, with
    the ending that these say: masks and thumbnails have the names of photos. Else it is called by
    the name that they say: in copies and renamed files that is old.

    Looked for within JPEGImages, and anywhere only where there is no such folder. One that is
    nowhere is given the place where VOC would keep it.
    """
    finders: dict[str, tuple[str, Finder]] = {}
    files: list[str] = []
    twins: list[Finding] = []
    for entry, filename in zip(entries, filenames, strict=True):
        if entry.image:
            files.append(entry.image)
            continue
        folder = entry.annotation.rpartition("Annotations/")[0]
        if folder not in finders:
            inner = f"{folder}JPEGImages/" if (root / folder / "JPEGImages").is_dir() else folder
            finders[folder] = inner, Finder(root / inner)
        inner, finder = finders[folder]
        stem = entry.annotation.removeprefix(f"{folder}Annotations/").removesuffix(".xml")
        found = _alike(finder, stem, tidy(filename), entry.annotation.removeprefix(inner))
        beside = len({path.rpartition("/")[0] for path in found}) == 1
        files.append(f"{inner}{likeliest(found)}" if beside else f"{folder}JPEGImages/{stem}.jpg")
        if len(found) > 1:
            told = ", ".join(f"{inner}{path}" for path in sorted(found)[:4])
            used = f"{files[-1]} is used" if beside else "none is used"
            what = f"doesn't say to which image of its name it belongs ({told}); {used}"
            twins.append(Finding(entry.annotation, None, "twin_images", what))
    return files, twins


def _alike(finder: Finder, stem: str, filename: str, near: str) -> list[str]:
    """The images that labels called `stem`, which name `filename`, may belong to."""
    called = os.path.splitext(filename)[0].rpartition("/")[2]
    own = called.lower() == stem.rpartition("/")[2].lower()
    found = finder.find(filename, near, exact=True) if own and filename else None
    if found:
        return [found]
    several = finder.alike(stem, near)
    found = finder.find(filename, near) if filename and len(several) != 1 else None
    return [found] if found else several
