"""Which layout a folder is in and which splits it holds, for the tools that take any data set."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from datasets.coco import COCO
from datasets.dataset import Dataset
from datasets.errors import DataError
from datasets.voc import VOC

_SPLIT_ORDER = ("trainval", "train", "val", "test")
# Unions of other splits: left out when splits are looked for, or each image would count twice.
_UNIONS = {"trainval": {"train", "val"}}


def layout_of(root: Path, splits: Sequence[str] = ()) -> Literal["voc", "coco"]:
    """`coco` when JSON is named, or found where VOC's folders are not; DataError for neither."""
    if splits:
        return "coco" if all(name.endswith(".json") for name in splits) else "voc"
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    if voc_splits(root):
        return "voc"
    if coco_splits(root):
        return "coco"
    raise DataError(
        f"{root}: neither VOC layout (ImageSets/Main/*.txt, or VOC2007/...) nor COCO layout"
        " (annotations/instances_*.json)"
    )


def voc_splits(root: Path) -> list[str]:
    """Names for `VOC` of all splits in a flat folder or a devkit, unions of others left out."""
    flat = _names(root)
    years = sorted(path.name for path in root.glob("*/ImageSets") if path.is_dir())
    names = flat or [
        f"{folder.name}/{name}"
        for folder in sorted(path.parent for path in root.glob("*/ImageSets"))
        for name in _names(folder)
    ]
    return names if flat or years else []


def coco_splits(root: Path) -> list[str]:
    """Names for `COCO` of all instances files below a folder."""
    found = sorted(root.glob("annotations/*.json")) or sorted(root.glob("*.json"))
    instances = [path for path in found if path.name.startswith("instances")] or found
    return [path.relative_to(root).as_posix() for path in instances]


def open_all(
    root: Path,
    splits: Sequence[str] = (),
    *,
    images: str | None = None,
    classes: Sequence[str] | None = None,
    first_pixel: Literal[0, 1] = 1,
) -> dict[str, Dataset]:
    """Open the splits named, or all there are, with the same classes; DataError as readers."""
    wanted = tuple(classes) if classes else None
    if layout_of(root, splits) == "coco":
        names = list(splits) or coco_splits(root)
        opened = {
            name: COCO(str(root), name, name, name, images=images, classes=wanted) for name in names
        }
        return {Path(name).stem: settings.open("train") for name, settings in opened.items()}
    names = list(splits) or voc_splits(root)
    everything = "+".join(names)
    return {
        name: VOC(str(root), name, everything, name, classes=wanted, first_pixel=first_pixel).open(
            "train"
        )
        for name in names
    }


def open_truth(path: Path, split: str) -> tuple[Dataset, bool]:
    """One split of a folder, or what an instances JSON holds, and if its classes are a full list.

    VOC's are not: they are those that occur in the split.
    """
    if path.suffix == ".json":
        root, name = (path.parent, path.name)
        if root.name == "annotations":
            root, name = (root.parent, f"annotations/{name}")
        return COCO(str(root), name, name, name).open("test"), True
    if layout_of(path) == "coco":
        name = _coco_split(path, split)
        return COCO(str(path), name, name, name).open("test"), True
    return VOC(str(path), split, split, split).open("test"), False


def _coco_split(root: Path, split: str) -> str:
    names = coco_splits(root)
    found = [name for name in names if re.search(rf"(^|[_/]){re.escape(split)}$", Path(name).stem)]
    if split in names or len(found) == 1:
        return split if split in names else found[0]
    raise DataError(f"{root}: no such split: {split!r} (found: {', '.join(names)})")


def _names(folder: Path) -> list[str]:
    """Splits of one VOC folder; per-class lists (`cat_train`) are no splits of their own."""
    sets = folder / "ImageSets"
    paths = sorted((sets / "Main").glob("*.txt")) or sorted(sets.glob("*.txt"))
    names = {path.stem for path in paths}
    per_class = {name for name in names if "_" in name and name.rpartition("_")[2] in _SPLIT_ORDER}
    names -= per_class
    unions = {whole for whole, parts in _UNIONS.items() if whole in names and parts <= names}
    return sorted(names - unions)
