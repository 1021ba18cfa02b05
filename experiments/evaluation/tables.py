"""The three tables of a dump and their checks. Letters: D detections, N objects, I images.

Boxes are xyxy in pixels of the original image: x right, y down, 0-based, x2 and y2 exclusive. The
files hold float32; tables read from text formats may hold float64, and all computing is done in
float64.

    detections  image_id, label, score, x1, y1, x2, y2
    truth       image_id, label, x1, y1, x2, y2, difficult, crowd, area
    images      image_id, width, height, path; turn where a file's pixels are turned (EXIF's 2..8)

Detections of a compact dump (`compact.py`) have LEFT_OUT besides: how many false ones of the same
class, small, medium and large as COCO counts, stood right before each by score and are not here;
and how many that VOC calls false and COCO passes over.

What is allowed though it may look odd: no detections (AP 0 where there are objects), no objects (AP
undefined), boxes without area (they overlap nothing), boxes that reach out of the image.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.errors import UserError, nearest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

CORNERS = ["x1", "y1", "x2", "y2"]
DETECTION_TYPES = {"image_id": "str", "label": "int16", "score": "float32"} | dict.fromkeys(
    CORNERS, "float32"
)
TRUTH_TYPES = (
    {"image_id": "str", "label": "int16"}
    | dict.fromkeys(CORNERS, "float32")
    | {"difficult": "bool", "crowd": "bool", "area": "float32"}
)
IMAGE_TYPES = {"image_id": "str", "width": "int32", "height": "int32", "path": "str"}
TURN = {"turn": "uint8"}  # optional column of the images
# Of detections; left_past and past (0 or 1, of the row itself): COCO passes over it, since it is
# beyond the 100 of its image and class or lies in an object that is ignored.
LEFT_OUT = dict.fromkeys(("left_small", "left_medium", "left_large", "left_past", "past"), "uint32")
OPTIONAL = {"images": TURN, "detections": LEFT_OUT}  # by kind of table: all of them or none


class EvaluationError(UserError):
    """A table or file that cannot be evaluated; says where, what was found and what is allowed."""


@dataclass(frozen=True, slots=True)
class Dump:
    """Checked tables as arrays; an image is told by its position in `image_ids`."""

    classes: tuple[str, ...]
    image_ids: tuple[str, ...]
    size_I2: Ints  # width, height
    image_D: Ints
    label_D: Ints
    score_D: Floats
    box_D4: Floats
    image_N: Ints
    label_N: Ints
    box_N4: Floats
    difficult_N: Bools
    crowd_N: Bools
    area_N: Floats
    left_D5: Ints | None = None  # LEFT_OUT of a compact dump: by rank, not by image

    def picked(self, rows_R: Ints | Bools) -> "Dump":
        """The same with these of its detections alone, of a whole dump."""
        return replace(
            self,
            image_D=self.image_D[rows_R],
            label_D=self.label_D[rows_R],
            score_D=self.score_D[rows_R],
            box_D4=self.box_D4[rows_R],
        )

    def require_whole(self, what: str) -> None:
        """Raise EvaluationError where detections were left out that `what` takes."""
        if self.left_D5 is not None:
            raise EvaluationError(
                f"{what}: needs every detection, and this compact dump counts"
                f" {self.left_D5[:, :4].sum():,} by their rank alone; use the run's own folder"
            )


def check(
    detections: pd.DataFrame, truth: pd.DataFrame, images: pd.DataFrame, classes: tuple[str, ...]
) -> Dump:
    """Check three tables against each other and give them as arrays; raises EvaluationError."""
    for name, table, types in (
        ("detections", detections, DETECTION_TYPES),
        ("truth", truth, TRUTH_TYPES),
        ("images", images, IMAGE_TYPES),
    ):
        require_columns(table, types, name)
    ids = pd.Index(images["image_id"])
    if not ids.is_unique:
        twice = ids[ids.duplicated()][0]
        raise EvaluationError(f"images: image_id {twice!r} occurs more than once")
    if len(set(classes)) != len(classes):
        raise EvaluationError(f"classes: a name occurs more than once: {', '.join(classes)}")
    score_D = detections["score"].to_numpy(np.float64)
    _refuse(~np.isfinite(score_D), "detections", "score", score_D, "a finite number")
    return Dump(
        classes=tuple(classes),
        image_ids=tuple(ids),
        size_I2=images[["width", "height"]].to_numpy(np.int64),
        image_D=_positions(detections, ids, "detections"),
        label_D=_labels(detections, classes, "detections"),
        score_D=score_D,
        box_D4=_boxes(detections, "detections"),
        image_N=_positions(truth, ids, "truth"),
        label_N=_labels(truth, classes, "truth"),
        box_N4=_boxes(truth, "truth"),
        difficult_N=truth["difficult"].to_numpy(np.bool_),
        crowd_N=truth["crowd"].to_numpy(np.bool_),
        area_N=truth["area"].to_numpy(np.float64),
        left_D5=_left_out(detections),
    )


def _left_out(detections: pd.DataFrame) -> Ints | None:
    """Counts beside detections that lie by class and falling score, None where all are here."""
    if not set(LEFT_OUT) <= set(detections.columns):
        return None
    label_D, score_D = detections["label"].to_numpy(), detections["score"].to_numpy()
    rising_D = (np.diff(label_D) == 0) & (np.diff(score_D) > 0)
    _refuse(rising_D | (np.diff(label_D) < 0), "detections", "order", score_D, "by class and score")
    left_D5: Ints = detections[list(LEFT_OUT)].to_numpy(np.int64)
    return left_D5


def require_columns(table: pd.DataFrame, wanted: dict[str, str], name: str) -> None:
    """Raise EvaluationError where a column is missing, with the nearest one that is there."""
    for column in wanted:
        if column not in table.columns:
            hint = nearest(column, table.columns)
            raise EvaluationError(
                f"{name}: no column {column!r}{hint}; needed: {', '.join(wanted)}"
            )


def empty_table(types: dict[str, str]) -> pd.DataFrame:
    """A table without rows, of the right column types."""
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})


def _positions(table: pd.DataFrame, ids: "pd.Index[Any]", name: str) -> Ints:
    image_R: Ints = ids.get_indexer(pd.Index(table["image_id"])).astype(np.int64)
    if (image_R < 0).any():
        row = int(np.flatnonzero(image_R < 0)[0])
        found = table["image_id"].iloc[row]
        raise EvaluationError(f"{name} row {row}: unknown image_id {found!r}{nearest(found, ids)}")
    return image_R


def _labels(table: pd.DataFrame, classes: tuple[str, ...], name: str) -> Ints:
    label_R: Ints = table["label"].to_numpy(np.int64)
    allowed = f"0..{len(classes) - 1} ({', '.join(classes)})"
    _refuse((label_R < 0) | (label_R >= len(classes)), name, "label", label_R, allowed)
    return label_R


def _boxes(table: pd.DataFrame, name: str) -> Floats:
    box_R4: Floats = table[CORNERS].to_numpy(np.float64)
    endless_R: Bools = ~np.isfinite(box_R4.sum(axis=1))
    _refuse(endless_R, name, "box", box_R4, "finite numbers")
    inverted_R = (box_R4[:, 2] < box_R4[:, 0]) | (box_R4[:, 3] < box_R4[:, 1])
    _refuse(inverted_R, name, "box", box_R4, "x1 <= x2 and y1 <= y2")
    return box_R4


def _refuse(bad_R: Bools, name: str, column: str, values: NDArray[Any], allowed: str) -> None:
    if bad_R.any():
        row = int(np.flatnonzero(bad_R)[0])
        found = values[row].tolist()
        raise EvaluationError(f"{name} row {row}: {column}: found {found}, allowed: {allowed}")


def no_formula(cell: str) -> str:
    """A cell of a CSV file; text that a spreadsheet would compute is marked as text (OWASP, "CSV
    Injection"). Numbers stay as they are.
    """
    if not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
