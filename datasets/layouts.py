"""Which layout a folder is in and which splits it holds, for the tools that take any data set."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from datasets.coco import COCO, json_of
from datasets.dataset import Dataset
from datasets.errors import IMPORT, DataError, nearest
from datasets.formats import yolo_lists
from datasets.formats.finder import image_by_stem
from datasets.formats.yolo_layout import described_by, read_layout
from datasets.voc import VOC
from datasets.written import Written, chosen
from datasets.yolo import YOLO

Layout = Literal["voc", "coco", "yolo"]
Settings = VOC | COCO | YOLO
_ORDER = ("trainval", "train", "valid", "val", "test")
# Unions of other splits: left out when splits are looked for, or each image would count twice.
_UNIONS = {"trainval": {"train", "val"}}
_HEAD_BYTES = 2**16
_JSON = ("_annotations*.json", "instances*.json", "annotations.json", "coco.json")


def layout_of(root: Path, splits: Sequence[str] = ()) -> Layout:
    """`coco` when JSON is named, else what is found; DataError where nothing is."""
    if splits and all(name.endswith(".json") for name in splits):
        return "coco"
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    if any(root.glob("ImageSets")) or any(root.glob("*/ImageSets")):
        return "voc"
    if coco_splits(root):
        return "coco"
    if described_by(root) is not None or yolo_lists.splits(read_layout(root)):
        return "yolo"
    if splits or voc_splits(root):
        return "voc"
    raise DataError(
        f"{root}: neither VOC layout (ImageSets/Main/*.txt, or VOC2007/...) nor COCO layout"
        " (annotations/instances_*.json, train/_annotations.coco.json) nor YOLO layout (data.yaml,"
        f" obj.data, images/train); {IMPORT}"
    )


def splits_of(root: Path, layout: Layout) -> list[str]:
    """The names by which the settings of `layout` know all splits of a folder."""
    if layout == "voc":
        return voc_splits(root)
    return coco_splits(root) if layout == "coco" else yolo_lists.splits(read_layout(root))


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


def settings_of(
    root: Path,
    layout: Layout,
    split: str,
    *,
    images: str | None = None,
    first_pixel: Literal[0, 1] = 1,
) -> Settings:
    """Settings of which every split is `split`."""
    if layout == "voc":
        return VOC(str(root), split, split, split, first_pixel=first_pixel)
    if layout == "coco":
        name = _coco_split(root, split)
        return COCO(str(root), name, name, name, images=images)
    return YOLO(str(root), split, split, split)


def written_all(
    root: Path,
    splits: Sequence[str] = (),
    *,
    images: str | None = None,
    first_pixel: Literal[0, 1] = 1,
) -> dict[str, Written]:
    """Labels as written of the splits named, or of all there are, by the split's name.

    DataError where the folder or a split isn't there at all.
    """
    layout = layout_of(root, splits)
    return {
        name: settings_of(root, layout, name, images=images, first_pixel=first_pixel).written(
            "train"
        )
        for name in splits or splits_of(root, layout)
    }


def open_all(
    root: Path,
    splits: Sequence[str] = (),
    *,
    images: str | None = None,
    classes: Sequence[str] | None = None,
    first_pixel: Literal[0, 1] = 1,
) -> dict[str, Dataset]:
    """Open the splits named, or all there are, with the same classes; DataError as readers.

    Named so that no two are called alike, see `short_names`.
    """
    layout = layout_of(root, splits)
    names = list(splits) or splits_of(root, layout)
    written = written_all(root, names, images=images, first_pixel=first_pixel)
    known = list(dict.fromkeys(name for one in written.values() for name in one.names))
    known = sorted(known) if layout == "voc" else known
    wanted = chosen(classes, known, f"{root}: classes: no object of class {{!r}}")
    policy = settings_of(root, layout, names[0]).policy
    opened = (one.dataset(wanted, policy) for one in written.values())
    return dict(zip(short_names(names), opened, strict=True))


def short_names(splits: Sequence[str]) -> list[str]:
    """What tells splits apart: a file's stem, or its folder where all files are called alike."""
    stems = [Path(name).stem if name.endswith((".json", ".txt")) else name for name in splits]
    if len(set(stems)) == len(stems) and not any(stem.startswith("_") for stem in stems):
        return stems
    folders = [Path(name).parent.name for name in splits]
    return folders if len(set(folders)) == len(folders) and all(folders) else list(splits)


def open_truth(path: Path, split: str) -> tuple[Dataset, bool]:
    """One split of a folder, or what a file of labels holds, and if its classes are a full list.

    VOC's are not: they are those that occur in the split.
    """
    if path.suffix == ".json":
        root, name = path.parent, path.name
        if root.name == "annotations":
            root, name = root.parent, f"annotations/{name}"
        return COCO(str(root), name, name, name).open("test"), True
    if path.is_file():
        return YOLO(str(path.parent), split, split, split, path.name).open("test"), True
    layout = layout_of(path)
    return settings_of(path, layout, split).open("test"), layout != "voc"


def _coco_split(root: Path, split: str) -> str:
    names = coco_splits(root)
    if split.endswith(".json") or json_of(root, split) != split:
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
