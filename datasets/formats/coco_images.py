"""Where the images of an instances JSON lie, however its file names are written."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from datasets.formats.finder import Finder, leads_out

_TRIED = 9  # names by which a split's folder is known


def file_named(row: Mapping[str, Any]) -> Any:
    """The image that a row of `images` names: by its file, or by its address alone, as LVIS does.

    >>> file_named({"coco_url": "http://images.cocodataset.org/train2017/000000391895.jpg"})
    'train2017/000000391895.jpg'
    """
    address = row.get("coco_url")
    if row.get("file_name") is None and isinstance(address, str):
        return address.partition("://")[2].partition("/")[2]
    return row.get("file_name")


def image_folders(split: str, images: str | None) -> list[str]:
    """Folders below the root where a split's images may be, the likeliest first; see `COCO`."""
    if images is not None:
        return [images.rstrip("/")]
    named = re.fullmatch(r"(?:instances|person_keypoints|image_info)_(.+)", Path(split).stem)
    likely = [named[1], f"images/{named[1]}"] if named else []
    beside = Path(split).parent.as_posix().removeprefix(".")
    return list(dict.fromkeys([*likely, "images", f"{beside}/images".lstrip("/"), beside]))


def find_images(root: Path, split: str, images: str | None, names: Sequence[str]) -> list[str]:
    """The file of each image, relative to the root and inside it, whether it is there or not."""
    folders = image_folders(split, images)
    there = [folder for folder in folders if (root / folder).is_dir()]
    some = [name for name in names[:_TRIED] if not leads_out(name)]
    holding = (f for f in there if any((root / f / name).is_file() for name in some))
    folder = next(holding, (there or folders)[0])
    listing = set(_listing(root / folder))
    search = _Search(root, folder, there, Path(split).parent.as_posix())
    return [_within(folder, n) if n in listing else search.find(n) for n in names]


class _Search:
    """Looks for images that are not directly in their folder."""

    def __init__(self, root: Path, folder: str, folders: Sequence[str], beside: str) -> None:
        self._root, self._folder = root, folder
        self._folders = list(dict.fromkeys((folder, *folders, beside, "")))
        places = (root, root.absolute(), root.resolve())
        self._roots = tuple(dict.fromkeys(f"{place.as_posix()}/" for place in places))
        self._finder = Finder(root)

    def find(self, name: str) -> str:
        """By the path as written from each likely folder, else by its name anywhere below; what is
        found by neither may be an address.
        """
        for place in self._roots:
            name = name.removeprefix(place)
        address = _path_of(name)
        found, expected = self._look(name)
        if not found and address != name:
            found, _ = self._look(address)
        return found or expected

    def _look(self, name: str) -> tuple[str | None, str]:
        """The file that a name means, and where it would be expected."""
        tried = [os.path.normpath(_within(folder, name)) for folder in self._folders]
        inside = [path for path in tried if not leads_out(path)]
        for path in inside:
            if (self._root / path).is_file():
                return path, path
        found = self._finder.find(name, _within(self._folder, "x"), exact=True)
        expected = inside[0] if inside else _within(self._folder, name.rpartition("/")[2])
        return found, expected


def _path_of(address: str) -> str:
    """The file that an address means.

    >>> _path_of("/data/local-files/?d=photos/a%201.jpg")
    'photos/a 1.jpg'
    >>> _path_of("https:/b.s3.amazonaws.com/x/e.jpg?Signature=a/b")
    'https:/b.s3.amazonaws.com/x/e.jpg'
    """
    path, _, query = address.partition("?")
    return unquote(query.removeprefix("d=") if query.startswith("d=") else path)


def _within(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and not name.startswith("/") else name


def _listing(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
