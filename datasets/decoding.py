"""Image files to uint8 RGB tensors [3, H, W].

EXIF rotation is not applied: VOC's and COCO's boxes don't know it.
"""

import io
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datasets.errors import DataError

MOST_PIXELS = 2**27  # 134 megapixels, 400 MB decoded; a compressed bomb claims more

# Large images are measured before they are decoded, so Pillow's own, lower, warning would only
# repeat it.
Image.MAX_IMAGE_PIXELS = None


def decode(path: Path) -> Tensor:
    """Read and decode one image.

    The result is [3, H, W] laid out channels last, which resizes fastest.

    DataError names the file when it is missing, unreadable, cut short or absurdly large.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: image can't be read: {error.strerror}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Pillow warns of odd metadata, which is not our subject
            with Image.open(io.BytesIO(data)) as image:
                _refuse_bomb(path, image.size)
                rgb = image if image.mode == "RGB" else image.convert("RGB")
                pixels_HWC = np.array(rgb)
    except DataError:
        raise
    except Exception as error:  # Pillow's plugins raise many kinds for damaged files
        raise DataError(f"{path}: not a readable image: {error}") from None
    return torch.from_numpy(pixels_HWC).permute(2, 0, 1)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header alone; DataError as in `decode`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                width, height = image.size
    except FileNotFoundError:
        raise DataError(f"{path}: image can't be read: no such file") from None
    except Exception as error:
        raise DataError(f"{path}: not a readable image: {error}") from None
    return height, width


def _refuse_bomb(path: Path, size: tuple[int, int]) -> None:
    if size[0] * size[1] > MOST_PIXELS:
        raise DataError(f"{path}: {size[0]}x{size[1]} pixels is more than {MOST_PIXELS:,}; refused")
