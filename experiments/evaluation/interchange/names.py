"""Which image and which class of the truth a name or a number in someone's file means."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from experiments.errors import nearest
from experiments.evaluation.tables import EvaluationError

_ENDINGS = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".jfif"),
    *(".jpe", ".mpo", ".gif", ".avif", ".jp2", ".ppm", ".pgm"),
)


@dataclass(frozen=True, slots=True)
class Truth:
    """The objects and images of a split, and the names by which detections may refer to them."""

    objects: pd.DataFrame
    images: pd.DataFrame
    classes: tuple[str, ...]
    label_by_category: Mapping[int, int]  # COCO's category ids; empty for other data
    listed: bool  # whether `classes` are all there are, or those that happen to occur
    first_pixel: int = 0  # what its own files call the first pixel


def narrowed(truth: Truth, classes: Sequence[str]) -> tuple[Truth, list[str]]:
    """The truth of `classes` alone, labels as places in them; and what was left out, in words.

    Raises EvaluationError for a name that a full list of classes doesn't have.
    """
    for name in classes:
        if truth.listed and name not in truth.classes:
            raise EvaluationError(f"--classes: no class {name!r}{nearest(name, truth.classes)}")
    if len(set(classes)) != len(classes):
        raise EvaluationError(f"--classes: each may be named once, found {' '.join(classes)}")
    place = {name: label for label, name in enumerate(classes)}
    lookup = np.array([place.get(name, -1) for name in truth.classes] or [-1], np.int16)
    label_N = lookup[truth.objects["label"].to_numpy()]
    left = truth.objects["label"][label_N < 0].value_counts().sort_index()
    told = [f"{truth.classes[label]} {count}" for label, count in left.items()]
    notes = [f"objects of other classes are left out: {', '.join(told)}"] if told else []
    objects = truth.objects.assign(label=label_N)[label_N >= 0].reset_index(drop=True)
    return replace(truth, objects=objects, classes=tuple(classes)), notes


class Images:
    """The truth's images by every name that files give them.

    An image is told by its id, else by the name of its file, with or without ending and folders,
    else by the number that either is; a name that two images could have tells none.
    """

    def __init__(self, images: pd.DataFrame) -> None:
        ids = [str(name) for name in images["image_id"]]
        paths = [PurePosixPath(str(path).replace("\\", "/")) for path in images["path"]]
        self.ids = frozenset(ids)
        self._by_name = [
            {name: name for name in ids},
            _unique(zip((path.name for path in paths), ids, strict=True)),
            _unique(zip((path.stem for path in paths), ids, strict=True)),
        ]
        numbers = [(path.stem, name) for path, name in zip(paths, ids, strict=True)]
        numbers += [(name, name) for name in ids]
        self._by_number = _unique({(int(n), name) for n, name in numbers if _number(n)})

    def find(self, name: Any) -> str | None:
        """The id of the image that `name` means, None where it means none or several."""
        text = identity(name)
        last = PurePosixPath(text.replace("\\", "/")).name
        bare = last[: last.rindex(".")] if last.lower().endswith(_ENDINGS) else last
        for spelling in dict.fromkeys((text, last, bare)):
            for known in self._by_name:
                if spelling in known:
                    return known[spelling]
        return self._by_number.get(int(bare)) if _number(bare) else None

    def ids_of(self, source: str, names: Sequence[Any]) -> list[str]:
        """The id of each name; EvaluationError names the first that means no image."""
        found = {name: self.find(name) for name in dict.fromkeys(names)}
        lost = [identity(name) for name, known in found.items() if known is None]
        if lost:
            some = ", ".join(sorted(self.ids)[:3])
            raise EvaluationError(
                f"{source}: {len(lost)} of {len(found)} images are not in the truth's"
                f" {len(self.ids)}, the first is {lost[0]!r}{nearest(lost[0], self.ids)}"
                f" (the truth has {some}, ..); is it another split?"
            )
        return [str(found[name]) for name in names]


def identity(value: Any) -> str:
    """An id as text: 7, 7.0, "7" and " 7 " are one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _unique(pairs: Iterable[tuple[Any, str]]) -> dict[Any, str]:
    """Names that one image alone has."""
    found: dict[Any, str | None] = {}
    for name, image in pairs:
        found[name] = image if found.get(name, image) == image else None
    return {name: image for name, image in found.items() if image is not None}


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
