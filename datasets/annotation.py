"""The labels of one image without its pixels. Shapes: N boxes.

Boxes as in `sample.py`, in the original image.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Annotation:
    """One image's labels after the policies; `ignore_N` is `difficult_N` or `crowd_N`."""

    image_id: str
    path: str  # of the image file
    size_hw: tuple[int, int]  # pixels, as the labels say
    boxes_N4: npt.NDArray[np.float32]
    labels_N: npt.NDArray[np.int64]
    difficult_N: npt.NDArray[np.bool_]
    crowd_N: npt.NDArray[np.bool_]
    area_N: npt.NDArray[np.float32]  # COCO: of the segment; else of the box; square pixels
    object_N: npt.NDArray[np.int64]  # place in the XML file from 1, or COCO annotation id

    @property
    def ignore_N(self) -> npt.NDArray[np.bool_]:
        """Boxes neither rewarded nor punished."""
        ignore: npt.NDArray[Any] = self.difficult_N | self.crowd_N
        return ignore
