"""An image file's bytes to RGB in 8 bit, by Pillow, for every format it knows.

Grey of 16 or 32 bit is scaled: an image's darkest value becomes 0, its brightest 255, what is
between in proportion. An integer image whose values all lie in 0..255 is 8 bit in a wider file
and stays as it is. Clipping at 255, which Pillow does by itself, makes such images white.
"""

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from datasets.formats.foreign import foreign
from datasets.pixels.header import JPEG, is_deep_grey, pillow_header

MOST_PIXELS = 2**27  # 134 megapixels, 400 MB decoded; a compressed bomb claims more

# Sizes are checked here before anything is decoded; Pillow's own, lower, limit is turned off.
Image.MAX_IMAGE_PIXELS = None

Pixels = NDArray[np.uint8]
_UPRIGHT_OF = {5: 5, 6: 8, 7: 7, 8: 6}  # what undoes an orientation; the others undo themselves


def read_pixels(data: bytes, turn: int = 1) -> Pixels:
    """RGB [H, W, 3], turned upright as EXIF's orientation `turn` asks (1: as stored).

    ValueError when the bytes are no whole image of sane size.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which is not our subject
            with Image.open(io.BytesIO(data)) as image:
                refuse_bomb(image.height, image.width)
                turned = pillow_header(image).orientation if image.format == "TIFF" else 0
                pixels = rgb(image)
    except UnidentifiedImageError:
        raise ValueError(unknown_format(data)) from None
    except ValueError:
        raise
    except Exception as error:  # Pillow's plugins raise many kinds for damaged files
        raise ValueError(str(error)) from None
    if turned:  # Pillow turns TIFF by itself
        pixels = upright(pixels, _UPRIGHT_OF.get(turned, turned))
    return upright(pixels, turn)


def unknown_format(data: bytes) -> str:
    """What is told of bytes that no decoder takes."""
    if data[:2] == JPEG:
        return "JPEG without a frame header"
    return foreign(data) or "of no known format"


def upright(pixels_HWC: Pixels, orientation: int) -> Pixels:
    """The pixels turned as EXIF's orientation asks, 1..8; other numbers change nothing."""
    if orientation in (5, 6, 7, 8):
        pixels_HWC = pixels_HWC.transpose(1, 0, 2)
    across = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    down = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    return pixels_HWC[down, across]


def refuse_bomb(height: int, width: int) -> None:
    """ValueError for a size that no honest image has."""
    if height * width > MOST_PIXELS:
        raise ValueError(f"{width}x{height} pixels is more than {MOST_PIXELS:,}; refused")
    if height * width == 0:
        raise ValueError("it has no pixels")


def rgb(image: Image.Image) -> Pixels:
    """RGB [H, W, 3] of an image of any mode, as stored."""
    if is_deep_grey(image.mode):
        grey = scaled(np.asarray(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def scaled(grey_HW: NDArray[Any]) -> Pixels:
    """Deep grey in 8 bit, by the rule at the head of this file; what is no number is black."""
    known = np.isfinite(grey_HW)
    if not known.any():
        return np.zeros(grey_HW.shape, np.uint8)
    values = grey_HW.astype(np.float64)
    low, high = float(values[known].min()), float(values[known].max())
    narrow = np.issubdtype(grey_HW.dtype, np.integer) and low >= 0 and high <= 255
    if not narrow:
        values = (values - low) * (255 / (high - low) if high > low else 0)
    return np.where(known, np.rint(np.nan_to_num(values)), 0).astype(np.uint8)
