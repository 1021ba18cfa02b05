"""Detections and truth from whatever a user has; labels are read by the reader of training.

A run's folder, Parquet, VOC folders, COCO JSON: `load` hands the tables to `evaluation`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.coco import label_by_category
from datasets.layouts import layout_of, open_truth
from experiments.evaluation import Tables
from experiments.evaluation.dump import FILES, is_compact, read_table, truth_folder
from experiments.evaluation.interchange.names import Truth, narrowed
from experiments.evaluation.interchange.reading import read_detections
from experiments.evaluation.tables import EvaluationError
from experiments.run.measuring import truth_tables


def load(
    detections: Path,
    truth: Path | None = None,
    split: str = "test",
    classes: Sequence[str] = (),
) -> Tables:
    """Read what `detections` and `truth` name, whatever their form.

    detections: a run's folder or its detections.parquet, or a form of `interchange`. truth: by
    default what lies beside detections.parquet; a run's folder or its truth.parquet (images.parquet
    beside it); a data set's folder, of which `split` is read; a COCO instances JSON. `classes`:
    those to measure, in order; by default the truth's. What is assumed or left out is said on
    stderr. Raises EvaluationError, and DataError as `datasets` does.
    """
    if not detections.exists():
        raise EvaluationError(f"{detections}: no such file or folder")
    if (detections / FILES["detections"]).is_file():
        detections = detections / FILES["detections"]
    if truth is None:
        if detections.suffix != ".parquet":
            inside = sorted(detections.rglob(FILES["detections"])) if detections.is_dir() else []
            if inside:
                raise EvaluationError(
                    f"{detections}: is no run; name one of those in it, such as {inside[0].parent}"
                )
            raise EvaluationError(
                f"{detections}: holds no dump, which would bring its truth; name that, too: --truth"
            )
        truth = truth_folder(detections.parent)
    known = read_truth(truth, split)
    if detections.suffix == ".parquet":
        return _of_dump(detections, known, classes)
    read = read_detections(detections, known, classes)
    _tell(read.notes)
    return Tables(read.detections, read.truth.objects, read.truth.images, read.truth.classes)


def read_truth(path: Path, split: str) -> Truth:
    """The truth of a run's dump, or of a split of a data set as training reads it."""
    dump = truth_folder(path) / FILES["truth"] if path.is_dir() else path
    if dump.suffix == ".parquet" and (dump.is_file() or not path.is_dir()):
        objects, classes = read_table(dump, "truth")
        images, _ = read_table(dump.parent / FILES["images"], "images")
        return Truth(objects, images, classes, {}, True)
    dataset, listed = open_truth(path, split)
    objects, images = truth_tables(dataset)
    numbers = label_by_category(dataset)
    first_pixel = 1 if path.is_dir() and layout_of(path) == "voc" else 0
    return Truth(objects, images, dataset.classes, numbers, listed, first_pixel)


def _of_dump(detections: Path, truth: Truth, asked: Sequence[str]) -> Tables:
    """Detections of a Parquet file with any truth; classes are matched by name.

    Where the truth has no list of classes, those of the detections are the ones to measure.
    """
    table, classes = read_table(detections, "detections")
    unknown = [name for name in classes if name not in truth.classes]
    if truth.listed and unknown and not asked:
        raise EvaluationError(
            f"{detections}: class {unknown[0]!r} is not in the truth ({', '.join(truth.classes)})"
        )
    if asked or not truth.listed:
        truth, notes = narrowed(truth, asked or classes)
        _tell(notes)
    place = {name: label for label, name in enumerate(truth.classes)}
    lookup = np.array([place.get(name, -1) for name in classes] or [-1], np.int16)
    label_D = lookup[table["label"].to_numpy()] if len(table) else np.zeros(0, np.int16)
    kept = table.assign(label=label_D)[label_D >= 0]
    if is_compact(detections):  # lies by class
        kept = kept.sort_values("label", kind="stable")
    kept = kept.reset_index(drop=True)
    if len(kept) < len(table):
        _tell([f"{len(table) - len(kept)} detections of other classes are left out"])
    return Tables(kept, truth.objects, truth.images, truth.classes)


def _tell(notes: Sequence[str]) -> None:
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
