"""Whether a set's labels are of the pixels as stored, or of the picture as EXIF turns it upright.

Cameras store pixels as the sensor lay and note in EXIF how to turn them; label tools show, and let
draw on, the one or the other. The labels tell which: by the size that they state, and by boxes
that leave one of the two frames and not the other. Shapes: I images, N boxes.
"""

import numpy as np
from numpy.typing import NDArray

from datasets.pixels.header import ON_SIDE

SLACK_PX = 1.0  # labels that count from another first pixel stick out by this much
UNDECIDED = 0  # in place of a turn: the labels fit neither frame

_STORED, _UPRIGHT, _SILENT, _NEITHER = 0, 1, 2, 3
Ints = NDArray[np.integer]


def turns(
    stored_I2: Ints,
    orientation_I: Ints,
    written_I2: Ints,
    boxes_N4: NDArray[np.floating],
    first: Ints,
) -> NDArray[np.uint8]:
    """The EXIF orientation to apply to each image: 1 as stored, 0 where the labels fit neither.

    `stored_I2` and `written_I2`: (height, width) of the pixels and in the labels, 0 where unknown;
    `orientation_I`: of the files, 0 or 1 for none; `first` [I + 1] parts `boxes_N4` (pixels, xyxy)
    among the images.

    A stated size decides for its image, unless in this set sizes contradict boxes more often than
    they agree: then boxes decide. What neither tells (half turns, mirrors, squares, labels in
    fractions) goes with most of the set, and where none tells, upright, as label tools and OpenCV
    show it.
    """
    turned = (orientation_I >= 2) & (stored_I2 > 0).all(1)
    result = np.ones(len(stored_I2), np.uint8)
    if not turned.any():
        return result
    rows = np.flatnonzero(turned)
    by_size = _by_size(stored_I2[rows], orientation_I[rows], written_I2[rows])
    by_boxes = _by_boxes(stored_I2, orientation_I, boxes_N4, first)[rows]
    both = (by_size <= _UPRIGHT) & (by_boxes <= _UPRIGHT)
    if (by_size != by_boxes)[both].sum() > (by_size == by_boxes)[both].sum():
        by_size = np.where(by_size == _NEITHER, _NEITHER, _SILENT)
    said = np.where(by_size <= _UPRIGHT, by_size, by_boxes)
    undecided = (by_size == _NEITHER) & (by_boxes == _SILENT)
    upright = int((said == _UPRIGHT).sum()) >= int((said == _STORED).sum())
    said = np.where(said == _SILENT, _UPRIGHT if upright else _STORED, said)
    result[rows] = np.where(said == _UPRIGHT, orientation_I[rows], 1)
    result[rows[undecided]] = UNDECIDED
    return result


def turned_size(stored_I2: Ints, turn_I: Ints) -> Ints:
    """(height, width) of images once turned."""
    return np.where(np.isin(turn_I, ON_SIDE)[:, None], stored_I2[:, ::-1], stored_I2)


def _by_size(stored_J2: Ints, orientation_J: Ints, written_J2: Ints) -> Ints:
    """What the stated sizes of the images with a turn say."""
    upright_J2 = turned_size(stored_J2, orientation_J)
    alike = (stored_J2 == upright_J2).all(1)
    said = np.select(
        [
            (written_J2 <= 0).any(1) | alike,
            (written_J2 == upright_J2).all(1),
            (written_J2 == stored_J2).all(1),
        ],
        [_SILENT, _UPRIGHT, _STORED],
        _NEITHER,
    )
    return said


def _by_boxes(
    stored_I2: Ints, orientation_I: Ints, boxes_N4: NDArray[np.floating], first: Ints
) -> Ints:
    """What boxes say: a frame that holds them all where the other doesn't."""
    image_N = np.repeat(np.arange(len(stored_I2)), np.diff(first))

    def holds(size_I2: Ints) -> NDArray[np.bool_]:
        limit_N2 = size_I2[image_N][:, ::-1] + SLACK_PX
        with np.errstate(invalid="ignore"):  # a coordinate that is no number is in any frame
            out_N = (boxes_N4[:, 2:] > limit_N2).any(1) | (boxes_N4[:, :2] > limit_N2).any(1)
        inside_I = np.ones(len(stored_I2), np.bool_)
        inside_I[image_N[out_N]] = False
        return inside_I

    stored, upright = holds(stored_I2), holds(turned_size(stored_I2, orientation_I))
    return np.select([stored & ~upright, upright & ~stored], [_STORED, _UPRIGHT], _SILENT)
