"""A folder to splits: found, grouped by content, parted, written."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.errors import DataError
from datasets.importing.finding import Found, Item, find
from datasets.importing.splitting import split_groups
from datasets.importing.writing import FOLDER, named_from, refuse_foreign, write_splits
from datasets.pixels.alike import alike
from datasets.pixels.likeness import Likeness, likeness
from datasets.pixels.threads import in_order

Report = Callable[[str, int, int | None], None]
ROLES = ("train", "val", "test")
MOST_OF_ONE = 0.5  # of all images in one group: then only the same bytes are kept together


@dataclass(frozen=True, slots=True)
class Imported:
    """What was written: `settings` of `data:` but for the root, and what is to be told."""

    found: Found
    folder: Path
    splits: Mapping[str, Sequence[Item]]
    settings: dict[str, Any]
    copies: int  # images that are another's copy
    notes: tuple[str, ...]


def import_folder(
    root: Path,
    *,
    val: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    layout: str | None = None,
    out: Path | None = None,
    report: Report = lambda what, done, total: None,
) -> Imported:
    """Find what is below `root` and write its splits; DataError where that can't be.

    Copies of a photo, found by content, stay in one split. `out`: also elsewhere, for data that
    can't be written to.
    """
    for name, share in (("val", val), ("test", test)):
        if not 0 <= share < 1 or val + test >= 1:
            raise DataError(f"--{name}: parts of the whole, together below 1, found {share}")
    folder = out or root / FOLDER
    refuse_foreign(folder)
    found = find(root, layout, without=named_from(root, folder))
    groups, notes = _groups(found, report)
    classes_IK = np.array([[k in i.classes for k in found.classes] for i in found.items], np.bool_)
    shares = (1 - val - test, val, test)
    split_I = split_groups(classes_IK.reshape(len(found.items), -1), groups, shares, seed)
    splits = {
        role: [item for item, split in zip(found.items, split_I, strict=True) if split == place]
        for place, role in enumerate(ROLES)
    }
    _refuse_too_few(found, splits, shares)
    copies = len(groups) - len(np.unique(groups))
    record = {
        "seed": seed,
        "val": val,
        "test": test,
        "layout": found.layout,
        "classes": found.classes,
        "images": {role: len(items) for role, items in splits.items()},
        "copies": copies,
        "left_out": dict(found.left_out),
    }
    names = write_splits(found, splits, folder, record)
    settings: dict[str, Any] = {"name": found.layout} | names
    if not splits["val"]:
        settings["val"] = None
    if not splits["test"]:  # what measures a run is never empty
        settings["test"] = names["val" if splits["val"] else "train"]
    if found.layout == "coco":
        settings["images"] = "."
    settings["classes"] = list(found.classes)
    return Imported(found, folder, splits, settings, copies, tuple(notes))


def _refuse_too_few(
    found: Found, splits: Mapping[str, Sequence[Item]], shares: Sequence[float]
) -> None:
    for (role, items), share in zip(splits.items(), shares, strict=True):
        if share > 0 and not items:
            raise DataError(
                f"{found.root}: {len(found.items)} images, copies together, are too few for"
                f" {', '.join(splits)}: {role} would be empty"
            )


def _groups(found: Found, report: Report) -> tuple[Any, list[str]]:
    """The group of each image, and what is to be said of them; unreadable images go."""
    looked: list[tuple[bytes, Likeness | None, str]] = []
    paths = [found.root / item.image for item in found.items]
    for done, one in enumerate(in_order(_look, paths), 1):
        looked.append(one)
        report("look at images", done, len(paths))
    for item, (_, _, fault) in zip(found.items, looked, strict=True):
        if fault:
            found.leave_out("images that can't be read", f"{item.image}: {fault}")
    kept = [row for row, (_, _, fault) in enumerate(looked) if not fault]
    found.items = [found.items[row] for row in kept]
    if not kept:
        raise DataError(f"{found.root}: none of {len(looked)} images can be read: {looked[0][2]}")
    contents = [looked[row][0] for row in kept]
    groups = alike(contents, [looked[row][1] for row in kept])
    largest = Counter(groups.tolist()).most_common(1)[0][1]
    if largest > max(3, MOST_OF_ONE * len(kept)):
        note = (
            f"{largest} of {len(kept)} images look the same (a fixed camera?): only files of the"
            " same bytes are kept together, so that test images may be like those of training"
        )
        return alike(contents, [None] * len(kept)), [note]
    return groups, []


def _look(path: Path) -> tuple[bytes, Likeness | None, str]:
    try:
        data = path.read_bytes()
        return hashlib.sha256(data).digest(), likeness(data), ""
    except OSError as error:
        return b"", None, str(error.strerror)
    except ValueError as error:
        return b"", None, str(error)
