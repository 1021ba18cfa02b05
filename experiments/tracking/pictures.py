"""What a mirror of a measured run shows: its classes, curves and pictures, from the dump alone.

Letters: K classes, R recall levels. Boxes are xyxy in pixels of the original image.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.evaluation import Tables, read_dump
from experiments.record.record import Metrics

PICTURES = 8
LEAST_SCORE = 0.3  # of a box that is drawn, as the 'detect' verb draws
MOST_BOXES = 50  # of one picture


@dataclass(frozen=True, slots=True)
class Picture:
    """One measured image; a box is its corners, its class and, where detected, its score."""

    image_id: str
    path: Path
    turn: int  # EXIF orientation that is applied to its pixels, 1 for none
    truth: tuple[dict[str, Any], ...]
    found: tuple[dict[str, Any], ...]


def class_rows(metrics: Metrics) -> tuple[list[str | int], list[list[Any]]]:
    """Column names and a row a class: average precisions in percent, and counts."""
    rows = [{"class": name, **asdict(values)} for name, values in metrics.per_class.items()]
    columns: list[str | int] = [*rows[0]] if rows else ["class"]
    return columns, [list(row.values()) for row in rows]


def pictures(tables: Tables) -> Iterator[Picture]:
    """Up to PICTURES measured images that are still there, evenly over the split."""
    images = tables.images
    places = np.unique(np.linspace(0, len(images) - 1, PICTURES).round().astype(int))
    for place in places if len(images) else ():
        image = images.iloc[place]
        path = Path(str(image["path"]))
        if path.is_file():
            found = _of(tables.detections, image["image_id"], tables.classes)
            best = sorted(found, key=lambda box: -box["score"])
            shown = tuple(box for box in best if box["score"] >= LEAST_SCORE)[:MOST_BOXES]
            truth = tuple(_of(tables.truth, image["image_id"], tables.classes))
            turn = int(image.get("turn", 1))
            yield Picture(str(image["image_id"]), path, turn, truth, shown)


def tables_of(folder: Path) -> Tables:
    """The dump of a measured run."""
    return read_dump(folder)


def _of(boxes: pd.DataFrame, image_id: object, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = boxes[boxes["image_id"] == image_id]
    return [
        {
            "corners": [float(getattr(row, name)) for name in ("x1", "y1", "x2", "y2")],
            "class": int(row.label),
            "name": classes[int(row.label)],
            "score": float(getattr(row, "score", 1.0)),
        }
        for row in rows.itertuples(index=False)
    ]
