"""One text file an image, named as the image, with a line a detection: a class and five numbers.

Cartucho's mAP writes `class score left top right bottom`, Padilla's Object-Detection-Metrics
`class score left top width height`, both in VOC's pixels where the truth has those: 1-based, and
the corners belong to the box. With fractions of the image Padilla's has the box's centre, and
ultralytics' `save_txt save_conf` puts the score last.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.evaluation.interchange.names import Images
from experiments.evaluation.interchange.text import read_lines
from experiments.evaluation.tables import CORNERS

LINE = "class score left top right bottom (or width height)"
Numbers = NDArray[np.float64]


def image_files(files: Iterable[Path], images: Images) -> list[Path]:
    """Those that are named as an image of the truth."""
    return [path for path in files if images.find(path.stem) is not None]


def read_per_image(
    files: Sequence[Path],
    classes: Sequence[str],
    size_by_file: Mapping[Path, tuple[int, int]],
    first_pixel: int,
) -> dict[str, pd.DataFrame]:
    """What the files hold, in every reading that gives boxes: image, class, score, corners.

    A class is its name, or its place in `classes` where that is no name of one, also as "0.0", of
    programs that write arrays of numbers. `size_by_file`: (width, height) of each file's image.
    """
    read = [read_lines(path, LINE) for path in files]
    counts = [len(names) for names, _ in read]
    names = [name for some, _ in read for name in some]
    numbers_D5 = np.concatenate([numbers for _, numbers in read]) if read else np.zeros((0, 5))
    size_D2 = np.repeat(np.array([size_by_file[path] for path in files], float), counts, axis=0)
    places = {f"{label}.0": name for label, name in enumerate(classes)}
    places |= {str(label): name for label, name in enumerate(classes)}
    columns: dict[str, Any] = {
        "image": np.repeat([path.stem for path in files], counts),
        "name": [name if name in classes else places.get(name, name) for name in names],
    }
    found = {}
    for form, (score_D, box_D4) in _readings(numbers_D5, size_D2, first_pixel).items():
        corners = dict(zip(CORNERS, box_D4.T, strict=True))
        found[form] = pd.DataFrame(columns | {"score": score_D} | corners)
    return found


def _readings(
    numbers_D5: Numbers, size_D2: Numbers, first_pixel: int
) -> dict[str, tuple[Numbers, Numbers]]:
    """Scores and corners by form; of the forms in pixels, those that turn no box inside out."""
    score_D, box_D4 = numbers_D5[:, 0], numbers_D5[:, 1:]
    if len(numbers_D5) and ((numbers_D5 >= 0) & (numbers_D5 <= 1)).all():
        return {
            "class centre_x centre_y width height score, in fractions": (
                numbers_D5[:, 4],
                _of_centres(numbers_D5[:, :4], size_D2),
            ),
            "class score centre_x centre_y width height, in fractions": (
                score_D,
                _of_centres(box_D4, size_D2),
            ),
        }
    moved = np.array([first_pixel, first_pixel, 0, 0])
    sized_D4 = np.concatenate([box_D4[:, :2], box_D4[:, :2] + box_D4[:, 2:]], 1)
    forms = {
        "class score left top right bottom": (score_D, box_D4 - moved),
        "class score left top width height": (score_D, sized_D4 - moved),
    }
    if (box_D4[:, 2:] < box_D4[:, :2]).any():
        del forms["class score left top right bottom"]
    return forms


def _of_centres(box_D4: Numbers, size_D2: Numbers) -> Numbers:
    half_D2 = box_D4[:, 2:] / 2
    fractions = np.concatenate([box_D4[:, :2] - half_D2, box_D4[:, :2] + half_D2], 1)
    corners: Numbers = fractions * np.tile(size_D2, 2)
    return corners
