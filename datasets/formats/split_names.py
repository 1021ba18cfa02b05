"""The names of the splits that a folder holds, as the rows of `DATASETS` know them."""

import re
from collections.abc import Iterable
from pathlib import Path

from datasets.errors import DataError, nearest
from datasets.formats.finder import image_by_stem

_ORDER = ("trainval", "train", "valid", "val", "test")
# Unions of other splits: left out when splits are looked for, or each image would count twice.
_UNIONS = {"trainval": {"train", "val"}}
_HEAD_BYTES = 2**16
_JSON = ("_annotations*.json", "instances*.json", "annotations.json", "coco.json")


def voc_splits(root: Path) -> list[str]:
    """Names for `VOC` of all splits in a flat folder or a devkit, unions of others left out."""
    flat = _names(root)
    return (
        flat
        or [
            f"{folder.name}/{name}"
            for folder in sorted(path.parent for path in root.glob("*/ImageSets"))
            for name in _names(folder)
        ]
        or _in_order(path.name for path in root.glob("*") if _is_pairs(path))
    )


def coco_splits(root: Path) -> list[str]:
    """Names for `COCO` of all instances files below a folder."""
    found = [path for path in sorted(root.glob("annotations/*.json")) if _is_coco(path)]
    found = found or [path for path in sorted(root.glob("*.json")) if _is_coco(path)]
    found = found or [path for form in _JSON for path in sorted(root.glob(f"*/{form}"))]
    instances = [path for path in found if path.name.startswith("instances")] or found
    return _in_order(path.relative_to(root).as_posix() for path in instances)


def coco_split(root: Path, split: str) -> str:
    """The instances file, or its folder, that a word such as `train` means; DataError."""
    names = coco_splits(root)
    if split.endswith(".json") or (root / split).is_dir():
        return split
    found = [name for name in names if re.search(rf"(^|[_/]){re.escape(split)}$", Path(name).stem)]
    if len(found) != 1:
        raise DataError(
            f"{root}: no such split: {split!r}{nearest(split, names)} (found: {', '.join(names)})"
        )
    return found[0]


def _is_coco(path: Path) -> bool:
    if path.name.startswith("instances"):
        return True
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return b'"images"' in head or b'"annotations"' in head


def _is_pairs(folder: Path) -> bool:
    """Whether XML files lie in a folder beside their images."""
    xml = next(folder.glob("*.xml"), None) if folder.is_dir() else None
    return xml is not None and xml.stem in image_by_stem(folder)


def _in_order(names: Iterable[str]) -> list[str]:
    def place(name: str) -> tuple[int, str]:
        words = re.split(r"[/_.\d]+", name)
        return next((k for k, split in enumerate(_ORDER) if split in words), len(_ORDER)), name

    return sorted(names, key=place)


def _names(folder: Path) -> list[str]:
    """Splits of one VOC folder; per-class lists (`cat_train`) are no splits of their own."""
    sets = folder / "ImageSets"
    paths = sorted((sets / "Main").glob("*.txt")) or sorted(sets.glob("*.txt"))
    names = {path.stem for path in paths}
    per_class = {name for name in names if "_" in name and name.rpartition("_")[2] in _ORDER}
    names -= per_class
    unions = {whole for whole, parts in _UNIONS.items() if whole in names and parts <= names}
    return sorted(names - unions)
