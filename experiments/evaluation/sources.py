"""Detections and truth from whatever a user has: a run's folder, Parquet, devkit or COCO files."""

from pathlib import Path

import numpy as np

from experiments.evaluation import coco_json, devkit
from experiments.evaluation.dump import FILES, Tables, read_table
from experiments.evaluation.tables import EvaluationError


def load(detections: Path, truth: Path | None = None, split: str = "test") -> Tables:
    """Read what `detections` and `truth` name, whatever their form.

    detections: a run's folder or its detections.parquet; a folder of the devkit's `*_<class>.txt`;
    a COCO results JSON. truth: by default what lies beside detections.parquet; a run's folder or
    its truth.parquet (images.parquet beside it); a folder in VOC layout, of which `split` is read;
    a COCO instances JSON. Raises EvaluationError.
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
        return _with_parquet(detections, detections.parent)
    if truth.suffix == ".json":
        return _with_coco(detections, truth)
    if (truth / "Annotations").is_dir():
        return _with_devkit(detections, truth, split)
    return _with_parquet(detections, truth)


def _with_coco(detections: Path, truth: Path) -> Tables:
    objects, images, classes, label_of = coco_json.read_truth(truth)
    if detections.suffix == ".json":
        return Tables(coco_json.read_results(detections, label_of), objects, images, classes)
    return _joined(detections, Tables(objects, objects, images, classes))


def _with_devkit(detections: Path, root: Path, split: str) -> Tables:
    if detections.suffix == ".parquet":
        table, classes = read_table(detections, "detections")
        return Tables(table, *devkit.read_truth(root, split, classes))
    names = devkit.read_truth(root, split)[2]
    prefix = _common_prefix(detections, names)
    return devkit.read(root, split, detections, names, prefix)


def _with_parquet(detections: Path, truth: Path) -> Tables:
    path = truth / FILES["truth"] if truth.is_dir() else truth
    objects, classes = read_table(path, "truth")
    images, _ = read_table(path.parent / FILES["images"], "images")
    return _joined(detections, Tables(objects, objects, images, classes))


def _joined(detections: Path, truth: Tables) -> Tables:
    """Detections of a Parquet file with another file's truth; classes are matched by name."""
    table, classes = read_table(detections, "detections")
    unknown = [name for name in classes if name not in truth.classes]
    if unknown:
        raise EvaluationError(
            f"{detections}: class {unknown[0]!r} is not in the truth ({', '.join(truth.classes)})"
        )
    label_of = np.array([truth.classes.index(name) for name in classes], dtype=np.int16)
    table["label"] = label_of[table["label"].to_numpy()] if len(table) else table["label"]
    return Tables(table, truth.truth, truth.images, truth.classes)


def _common_prefix(folder: Path, classes: tuple[str, ...]) -> str:
    found = sorted(folder.glob(f"*_{classes[0]}.txt")) if classes else []
    if len(found) != 1:
        raise EvaluationError(
            f"{folder}: expected one file '*_{classes[0] if classes else 'CLASS'}.txt' of the "
            f"devkit's form, found {len(found)}"
        )
    return found[0].name.removesuffix(f"{classes[0]}.txt")
