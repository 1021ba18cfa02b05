"""Files below a folder by their names, for lists and labels that don't say where things lie."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

# What Pillow reads and people label; the likeliest first, where several images have one name.
IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".jfif"),
    *(".jpe", ".mpo", ".gif", ".avif", ".jp2", ".ppm", ".pgm"),
)


class Finder:
    """Looks through all folders below `root`, once, when it is first asked."""

    def __init__(self, root: Path, endings: tuple[str, ...] = IMAGE_ENDINGS) -> None:
        self._root, self._endings = root, endings

    def find(self, name: str, near: str = "", *, exact: bool = False) -> str | None:
        """The file that `name` means, relative to the root; None for none, or for several alike.

        Letters and ending may be spelt otherwise: labels written on Windows say IMG.JPG for
        img.jpg, a Mac's files write an accent by itself, and many labels say .jpg for a .png (not
        where `exact`). Of several, those count that share most folders with the end of `name`, then
        those that lie nearest to `near`.
        """
        found = self.alike(name, near, exact=exact)
        return found[0] if len(found) == 1 else None

    def alike(self, name: str, near: str = "", *, exact: bool = False) -> list[str]:
        """All files that `find` can't tell apart."""
        last = _plain(name).rpartition("/")[2]
        stem, ending = os.path.splitext(last)  # "img.1", of a label without ending, is whole
        known = ending in self._endings or ending in IMAGE_ENDINGS
        there = self._by_stem.get(stem if known else last)
        if not there:
            return []
        asked = PurePosixPath(_plain(name))
        found = [path for path in there if _plain(path).endswith(last)]
        found = found if found or exact else there
        ends = [_alike(_folders(_plain(path))[::-1], asked.parts[-2::-1]) for path in found]
        found = _best(found, ends)
        return _best(found, [_alike(_folders(path), _folders(near)) for path in found])

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        by_stem: dict[str, list[str]] = defaultdict(list)
        for path in files_below(self._root, self._endings):
            by_stem[os.path.splitext(_plain(path.rpartition("/")[2]))[0]].append(path)
        return by_stem


def files_below(root: Path, endings: tuple[str, ...], folder: str = "") -> Iterator[str]:
    """Files of all folders below `root`/`folder`, relative to the root, in order.

    What a system hides or leaves behind (`._photo.jpg` of macOS) is passed over.
    """
    seen: set[str] = set()
    for place, folders, names in os.walk(root / folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(f for f in folders if not f.startswith("."))
        within = Path(place).relative_to(root).as_posix()
        if real not in seen:
            for name in sorted(names):
                if name.lower().endswith(endings) and not name.startswith("."):
                    yield name if within == "." else f"{within}/{name}"
        seen.add(real)


def image_by_stem(folder: Path) -> dict[str, str]:
    """File name by stem, for every image directly in a folder, whatever its ending; "" for a stem
    that several have.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return {}
    found: dict[str, str] = {}
    for name in names:
        stem, ending = os.path.splitext(name)
        if ending.lower() in IMAGE_ENDINGS:
            found[stem] = "" if stem in found else name
    return found


def likeliest(images: Sequence[str]) -> str:
    """Of images with one name the one whose ending most have."""
    order = {ending: place for place, ending in enumerate(IMAGE_ENDINGS)}
    return min(images, key=lambda path: (order[os.path.splitext(path)[1].lower()], path))


def tidy(path: str) -> str:
    """A path as people write it with `/` between folders and without `.` and `x/..` in it."""
    path = path.replace("\\", "/")
    return os.path.normpath(path).replace("\\", "/") if path else path


def leads_out(path: str) -> bool:
    """Whether a tidy path leaves the folder that it is said to be in."""
    return path.startswith("/") or path.split("/")[0] == ".." or "\0" in path


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.lower())


def _folders(path: str) -> tuple[str, ...]:
    return PurePosixPath(path).parts[:-1]


def _alike(one: Iterable[str], other: Iterable[str]) -> int:
    """How many parts agree before the first that doesn't."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def _best(found: Sequence[str], scores: Sequence[int]) -> list[str]:
    best = max(scores, default=0)
    return [path for path, score in zip(found, scores, strict=True) if score == best]
