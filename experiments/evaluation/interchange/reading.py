"""Detections from a path of whatever form, as the table that evaluation takes.

Where a form leaves two readings open (corners or sizes, classes counted from 0 or 1), that one
counts under which the boxes agree better with the truth (mean AP at an overlap of .5): the other
is off by whole boxes or classes. It is said which.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.errors import nearest
from experiments.evaluation.interchange import devkit, per_image, results
from experiments.evaluation.interchange.names import Images, Truth, narrowed
from experiments.evaluation.tables import (
    CORNERS,
    DETECTION_TYPES,
    EvaluationError,
    check,
    empty_table,
)
from experiments.evaluation.voc import voc_average_precision

FORMS = (
    f"a text file a class, its name ending on the class ('{devkit.LINE}'), a text file an image"
    f" ('{per_image.LINE}'), or a .json of results"
)


@dataclass(frozen=True, slots=True)
class Read:
    """Detections with the truth that they are measured against, and what is to be said of it."""

    detections: pd.DataFrame
    truth: Truth
    notes: tuple[str, ...]


def read_detections(path: Path, truth: Truth, classes: Sequence[str] = ()) -> Read:
    """Read what others wrote; `classes` are those to measure, by default the truth's.

    Raises EvaluationError, which says what was found and which forms there are.
    """
    wanted, told = narrowed(truth, classes) if classes else (truth, [])
    images = Images(truth.images)
    readings, notes = _readings(path, truth, images, classes)
    tables = {
        form: _labelled(path, table, wanted, truth.classes, images)
        for form, table in readings.items()
    }
    form = _likeliest(tables, wanted)
    if len(tables) > 1 or (form.startswith("category ids") and form not in results.AS_WRITTEN):
        notes = [*notes, f"{path.name} is read as: {form}"]
    table, left = tables[form]
    return Read(table, wanted, (*notes, *told, *left))


def _readings(
    path: Path, truth: Truth, images: Images, classes: Sequence[str]
) -> tuple[Mapping[str, pd.DataFrame], list[str]]:
    """The detections in every reading of the path's form: image, name of class, score, corners."""
    if path.is_file():
        if path.suffix != ".json":
            raise EvaluationError(f"{path}: expected {FORMS}; found a file '{path.suffix}'")
        listed = replace(truth, classes=tuple(classes), listed=True) if classes else truth
        known = truth if truth.label_by_category else listed
        return results.read_results(path, known, images), []
    files = _text_files(path)
    names = classes or truth.classes
    of_class = devkit.class_files(files, names)
    of_image = per_image.image_files(files, images)
    if len(of_image) > len(of_class) or (of_image and len(of_image) == len(files)):
        return _of_images(of_image, files, truth, images, names)
    if not of_class:
        found = ", ".join(file.name for file in files[:4])
        raise EvaluationError(
            f"{path}: {len(files)} text files ({found}{', ..' if len(files) > 4 else ''}), none"
            f" of a class ({', '.join(names):.200}) nor of an image of the truth; expected {FORMS}"
        )
    table = devkit.read_devkit(of_class)
    return {"devkit": table}, devkit.told_of_files(of_class, files, names, bool(classes))


def _text_files(folder: Path) -> list[Path]:
    """The folder's text files, or those of the one folder below it that has some: `voc` of
    `detect --voc`, `labels` of ultralytics, `results/VOC2007/Main` of the devkit.
    """
    for place in (folder, folder / "voc"):
        if files := _texts(place.glob("*.txt")):
            return files
    below = sorted({file.parent for file in _texts(folder.rglob("*.txt"))})
    if len(below) == 1:
        return _texts(below[0].glob("*.txt"))
    some = ", ".join(place.relative_to(folder).as_posix() for place in below[:4])
    told = f"; folders below do, name one of them: {some}" if below else ""
    raise EvaluationError(f"{folder}: holds no text files{told}; expected {FORMS}")


def _texts(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if not path.name.startswith("._"))


def _of_images(
    files: Sequence[Path],
    all_files: Sequence[Path],
    truth: Truth,
    images: Images,
    classes: Sequence[str],
) -> tuple[Mapping[str, pd.DataFrame], list[str]]:
    sizes = truth.images.set_index("image_id")[["width", "height"]]
    size_by_file = {file: tuple(sizes.loc[images.find(file.stem)].tolist()) for file in files}
    notes = []
    others = [file.name for file in all_files if file not in set(files)]
    if others:
        notes.append(f"{len(others)} files of no image of the truth left out, {others[0]} first")
    missing = len(images.ids) - len({images.find(file.stem) for file in files})
    if missing:
        notes.append(f"{missing} of {len(images.ids)} images have no file: without detections")
    return per_image.read_per_image(files, classes, size_by_file, truth.first_pixel), notes


def _labelled(
    path: Path, table: pd.DataFrame, truth: Truth, known: Sequence[str], images: Images
) -> tuple[pd.DataFrame, list[str]]:
    """The rows of classes that are measured, as evaluation takes them, and what was left out."""
    place = {name: label for label, name in enumerate(truth.classes)}
    left = table["name"][~table["name"].isin(place)].value_counts().sort_index()
    lost = [name for name in left.index if name not in known]
    hints = {name: nearest(name, place) if name in lost else "" for name in left.index}
    notes = [f"{name} {count}{hints[name]}" for name, count in left.items()]
    if len(left) and len(left) == table["name"].nunique():
        raise EvaluationError(
            f"{path}: none of its classes ({', '.join(map(str, left.index)):.200}) is one of the"
            f" truth's ({', '.join(truth.classes):.200})"
        )
    kept = table[table["name"].isin(place)].reset_index(drop=True)
    if not len(kept):
        return empty_table(DETECTION_TYPES), []
    ids = images.ids_of(str(path), kept["image"].tolist())
    label = kept["name"].map(place).to_numpy(np.int16)
    ready = kept[["score", *CORNERS]].assign(image_id=ids, label=label)[list(DETECTION_TYPES)]
    told = f"detections of other classes are left out: {', '.join(notes)}"
    return ready, [told] if notes else []


def _likeliest(tables: Mapping[str, tuple[pd.DataFrame, list[str]]], truth: Truth) -> str:
    """The reading with the highest mean AP; of equals the first."""
    if len(tables) == 1:
        return next(iter(tables))

    def agreement(form: str) -> float:
        try:
            dump = check(tables[form][0], truth.objects, truth.images, truth.classes)
        except EvaluationError:  # boxes inside out: not this reading
            return -1.0
        return float(np.nan_to_num(voc_average_precision(dump).map_area))

    return max(tables, key=agreement)
