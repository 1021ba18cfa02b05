"""Detections of Darknet's `detector test .. -out result.json`: a frame an image, boxes by their
centres in fractions of it (`relative_coordinates`), classes by name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.evaluation.interchange.names import Images
from experiments.evaluation.tables import CORNERS, EvaluationError

_SIDES = ("center_x", "center_y", "width", "height")


def of_darknet(
    path: Path, frames: Sequence[dict[str, Any]], images: Images, table: pd.DataFrame
) -> pd.DataFrame:
    """Image, class, score and corners of each object; `table`: the truth's images, with sizes.

    EvaluationError names the frame, and images that the truth doesn't have.
    """
    rows: list[Any] = []
    for number, frame in enumerate(frames):
        try:
            for found in frame["objects"]:
                box = [float(found["relative_coordinates"][side]) for side in _SIDES]
                rows.append((frame["filename"], found["name"], float(found["confidence"]), *box))
        except (KeyError, TypeError, ValueError) as error:
            raise EvaluationError(f"{path}: frame {number}: not Darknet's: {error!r}") from error
    read = pd.DataFrame(rows, columns=["image", "name", "score", *CORNERS])
    ids = images.ids_of(str(path), read["image"].tolist())
    size_D2 = table.set_index("image_id")[["width", "height"]].loc[ids].to_numpy(np.float64)
    box_D4 = read[CORNERS].to_numpy(np.float64)
    half_D2 = box_D4[:, 2:] / 2
    corners_D4 = np.hstack([box_D4[:, :2] - half_D2, box_D4[:, :2] + half_D2])
    return read.assign(**dict(zip(CORNERS, (corners_D4 * np.tile(size_D2, 2)).T, strict=True)))
