"""One text file a class, with a line a detection: PASCAL VOC's devkit, our own `detect --voc`.

A line is `image score xmin ymin xmax ymax`. Corners are 1-based and inclusive there; here they
become 0-based with x2 and y2 exclusive, so only x1 and y1 change (by 1). Numbers stay float64.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.errors import nearest
from experiments.evaluation.interchange.text import read_lines
from experiments.evaluation.tables import CORNERS, EvaluationError

LINE = "image score xmin ymin xmax ymax"
_COLUMNS = ["image_id", "score", *CORNERS]


def class_files(files: Iterable[Path], classes: Sequence[str]) -> dict[str, Path]:
    """The file of each class: those that have one name before the class in common, or none.

    Of several such names the one that explains most files counts, so that `no_helmet` is not taken
    for `helmet` after `no_`; of equals the shortest.
    """
    explained: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in files:
        for name in classes:
            written = file_name(name)
            if name and path.stem.endswith(written):
                explained[path.stem[: -len(written)]][name] = path
    best = min(explained, key=lambda prefix: (-len(explained[prefix]), len(prefix)), default="")
    return dict(explained[best]) if explained else {}


def file_name(name: str) -> str:
    """A class in the name of a file: `fork%2Fknife` for fork/knife, which would be a folder."""
    return name.replace("/", "%2F")


def read_devkit(files: dict[str, Path]) -> pd.DataFrame:
    """The detections of each class's file: image, class, score and corners."""
    tables = []
    for name, path in files.items():
        images, numbers = read_lines(path, LINE)
        bad = np.flatnonzero((numbers[:, 3:] < numbers[:, 1:3]).any(1))
        if len(bad):
            found = f"{images[int(bad[0])]} {' '.join(f'{value:g}' for value in numbers[bad[0]])}"
            raise EvaluationError(
                f"{path}: expected '{LINE}' with xmin <= xmax and ymin <= ymax, found {found!r}"
                f" ({len(bad)} of {len(numbers)} lines)"
            )
        table = pd.DataFrame(numbers, columns=["score", *CORNERS])
        table[["x1", "y1"]] -= 1
        tables.append(table.assign(image=images, name=name))
    return pd.concat(tables, ignore_index=True)


def told_of_files(
    files: dict[str, Path], others: Iterable[Path], classes: Sequence[str], asked: bool
) -> list[str]:
    """In words: classes without a file, and files of no class."""
    notes = []
    missing = [name for name in classes if name not in files]
    if missing and not asked:
        notes.append(
            f"no file for {', '.join(missing)}: taken as without detections (AP 0);"
            f" --classes {' '.join(files)} measures those with a file alone"
        )
    for path in sorted(set(others) - set(files.values())):
        notes.append(
            f"{path.name}: of no class that is measured, left out{nearest(path.stem, missing)}"
        )
    return notes


def write_devkit(
    folder: Path, detections: pd.DataFrame, classes: Sequence[str], prefix: str
) -> list[Path]:
    """Write one text file a class, with 6 decimals, in the table's order; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for label, name in enumerate(classes):
        rows = detections.loc[detections["label"] == label, _COLUMNS].copy()
        rows[["x1", "y1"]] += 1
        paths.append(folder / f"{prefix}{file_name(name)}.txt")
        rows.to_csv(paths[-1], sep=" ", header=False, index=False, float_format="%.6f")
    return paths
