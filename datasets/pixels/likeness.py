"""What an image looks like in a few bytes, to find copies of it that are not the same file.

A difference hash (which of two neighbouring pixels of a 9 x 8 thumbnail is brighter, 64 bits) finds
candidates, a grey thumbnail of 16 x 16 confirms them: scaled, compressed again or made a little
brighter, an image keeps both. Shapes: I images.
"""

import io
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from datasets.pixels.header import is_deep_grey
from datasets.pixels.reading import refuse_bomb, scaled, unknown_format

SIDE = 16  # of the thumbnail
_DRAFT = 64  # a JPEG is decoded at the least size that is no smaller: a fifth of the time


class Likeness(NamedTuple):
    """`hash`: 64 bits; `thumb`: [SIDE * SIDE] grey, 8 bit."""

    hash: int
    thumb: NDArray[np.uint8]


def likeness(data: bytes) -> Likeness:
    """Of an image file's bytes; ValueError when they are no image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which is not our subject
            with Image.open(io.BytesIO(data)) as image:
                refuse_bomb(image.height, image.width)
                image.draft("L", (_DRAFT, _DRAFT))
                grey = _grey(image)
    except UnidentifiedImageError:
        raise ValueError(unknown_format(data)) from None
    except ValueError:
        raise
    except Exception as error:  # Pillow's plugins raise many kinds for damaged files
        raise ValueError(str(error)) from None
    small = np.asarray(grey.resize((9, 8), Image.Resampling.BOX))
    bits = np.packbits(small[:, 1:] > small[:, :-1])
    thumb = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX)).reshape(-1)
    return Likeness(int.from_bytes(bits.tobytes()), thumb)


def _grey(image: Image.Image) -> Image.Image:
    if is_deep_grey(image.mode):
        return Image.fromarray(scaled(np.asarray(image)))
    return image.convert("L")
