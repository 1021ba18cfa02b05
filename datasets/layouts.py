"""Which layout a folder is in and which splits it holds, for the tools that take any data set.

All that is known of a layout is asked of its row of `DATASETS`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from datasets import DATASETS
from datasets.coco import COCO
from datasets.dataset import Dataset, DataSettings
from datasets.errors import IMPORT, DataError
from datasets.formats.split_names import voc_splits
from datasets.formats.yolo_layout import DESCRIBING
from datasets.written import Written, chosen
from datasets.yolo import YOLO


def layout_of(root: Path, splits: Sequence[str] = ()) -> str:
    """The name of the first row that knows the folder and has splits there, else of the first that
    knows it, `coco` when JSON is named; DataError where none does.
    """
    if splits and all(name.endswith(".json") for name in splits):
        return "coco"
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    at = [name for name, row in DATASETS.items() if row.is_at(root)]
    for name in [name for name in at if DATASETS[name].splits_in(root)] or at:
        return name
    if splits or voc_splits(root):  # XML files beside their images
        return "voc"
    known = " nor ".join(f"{name.upper()} layout ({row.FORM})" for name, row in DATASETS.items())
    raise DataError(f"{root}: neither {known}; {IMPORT}")


def settings_of(
    root: Path,
    layout: str,
    split: str,
    *,
    images: str | None = None,
    first_pixel: Literal[0, 1] = 1,
) -> DataSettings:
    """Settings of which every split is `split`."""
    return DATASETS[layout].of_split(root, split, images=images, first_pixel=first_pixel)


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
        for name in _split_names(root, layout, splits)
    }


def _split_names(root: Path, layout: str, asked: Sequence[str]) -> list[str]:
    """Those asked for, or all there are; DataError where a folder of this layout holds none.

    VoTT writes a list a class and none of all images; an empty ImageSets is what is left of others.
    """
    names = list(asked) or DATASETS[layout].splits_in(root)
    if names:
        return names
    lists = sorted(path.stem for path in root.glob("**/ImageSets/**/*.txt"))
    some = f", only lists of one class ({', '.join(lists[:4])}, ..)" if lists else ""
    raise DataError(f"{root}: {layout.upper()} layout, but no split in it{some}; {IMPORT}")


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
    names = _split_names(root, layout, splits)
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
        if path.suffix not in DESCRIBING:
            raise DataError(
                f"{path}: found a file '{path.suffix}'; the truth is a folder, COCO's JSON, or a"
                " YOLO set's data.yaml or obj.data"
            )
        return YOLO(str(path.parent), split, split, split, path.name).open("test"), True
    layout = layout_of(path)
    return settings_of(path, layout, split).open("test"), layout != "voc"
