"""Detections and truth from whatever a user has; labels are read by the reader of training.

A run's folder, Parquet, VOC folders, COCO JSON: `load` hands the tables to `evaluation`.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from datasets.coco import label_by_category
from datasets.layouts import open_truth
from experiments.evaluation import Tables
from experiments.evaluation.dump import FILES, read_table
from experiments.evaluation.interchange import devkit_prefix, read_devkit, read_results
from experiments.evaluation.tables import EvaluationError
from experiments.run.measuring import truth_tables


@dataclass(frozen=True, slots=True)
class Truth:
    """The objects and images of a split, and the names by which detections may refer to them."""

    objects: pd.DataFrame
    images: pd.DataFrame
    classes: tuple[str, ...]
    label_by_category: Mapping[int, int]  # COCO's category ids; empty for other data
    listed: bool  # whether `classes` are all there are, or those that happen to occur


def load(detections: Path, truth: Path | None = None, split: str = "test") -> Tables:
    """Read what `detections` and `truth` name, whatever their form.

    detections: a run's folder or its detections.parquet; a folder of the devkit's `*_<class>.txt`;
    a COCO results JSON. truth: by default what lies beside detections.parquet; a run's folder or
    its truth.parquet (images.parquet beside it); a data set's folder, of which `split` is read; a
    COCO instances JSON. Raises EvaluationError, and DataError as `datasets` does.
    """
    if not detections.exists():
        raise EvaluationError(f"{detections}: no such file or folder")
    if (detections / FILES["detections"]).is_file():
        detections = detections / FILES["detections"]
    if truth is None:
        if detections.suffix != ".parquet":
            raise EvaluationError(
                f"{detections}: holds no dump, which would bring its truth; name that, too"
            )
        truth = detections.parent
    return _joined(detections, read_truth(truth, split))


def read_truth(path: Path, split: str) -> Truth:
    """The truth of a run's dump, or of a split of a data set as training reads it."""
    dump = path / FILES["truth"] if path.is_dir() else path
    if dump.suffix == ".parquet" and (dump.is_file() or not path.is_dir()):
        objects, classes = read_table(dump, "truth")
        images, _ = read_table(dump.parent / FILES["images"], "images")
        return Truth(objects, images, classes, {}, True)
    dataset, listed = open_truth(path, split)
    objects, images = truth_tables(dataset)
    return Truth(objects, images, dataset.classes, label_by_category(dataset), listed)


def _joined(detections: Path, truth: Truth) -> Tables:
    if detections.suffix == ".parquet":
        return _of_dump(detections, truth)
    if detections.is_dir():
        prefix = devkit_prefix(detections, truth.classes)
        table = read_devkit(detections, truth.classes, prefix)
    else:
        table = read_results(detections, truth.label_by_category)
    return Tables(table, truth.objects, truth.images, truth.classes)


def _of_dump(detections: Path, truth: Truth) -> Tables:
    """Detections of a Parquet file with any truth; classes are matched by name.

    Where the truth has no list of classes, those of the detections are the ones to measure.
    """
    table, classes = read_table(detections, "detections")
    if not truth.listed:
        return Tables(table, _relabelled(truth, classes), truth.images, classes)
    unknown = [name for name in classes if name not in truth.classes]
    if unknown:
        raise EvaluationError(
            f"{detections}: class {unknown[0]!r} is not in the truth ({', '.join(truth.classes)})"
        )
    label_of = np.array([truth.classes.index(name) for name in classes], dtype=np.int16)
    table["label"] = label_of[table["label"].to_numpy()] if len(table) else table["label"]
    return Tables(table, truth.objects, truth.images, truth.classes)


def _relabelled(truth: Truth, classes: tuple[str, ...]) -> pd.DataFrame:
    """The objects of these classes, labels as places in them; the others are left out."""
    other = truth.objects["label"].map(dict(enumerate(truth.classes)))
    left = other[~other.isin(classes)].value_counts().sort_index()
    if len(left):
        counted = ", ".join(f"{name} {count}" for name, count in left.items())
        print(f"objects of classes that the detections don't have: {counted}", file=sys.stderr)
    place = {name: label for label, name in enumerate(classes)}
    lookup = np.array([place.get(name, -1) for name in truth.classes] or [-1], dtype=np.int16)
    objects = truth.objects.assign(label=lookup[truth.objects["label"].to_numpy()])
    return objects[objects["label"] >= 0].reset_index(drop=True)
