"""Image files to uint8 RGB tensors [3, H, W].

EXIF orientation is applied where the caller asks: `headers.py` decides it for the images of a data
set by what their labels fit. Whole JPEGs go through torchvision's decoder, anything else through
Pillow: on BCCD, COCO and VOC both give the same bytes, in 1.2 and 2.6 ms for 640 x 480 (measured).
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision  # noqa: F401  # registers the decoder below
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from datasets.errors import DataError

MOST_PIXELS = 2**27  # 134 megapixels, 400 MB decoded; a compressed bomb claims more

# Sizes are checked here before anything is decoded; Pillow's own, lower, limit is turned off.
Image.MAX_IMAGE_PIXELS = None

_HEAD_BYTES = 4096  # holds the size of nearly every JPEG without EXIF
_ORIENTATION = 0x0112  # EXIF's tag
_RGB = 3  # torchvision.io.ImageReadMode.RGB
_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # JPEG markers that carry the size


def decode(path: Path, turn: int = 1) -> Tensor:
    """Read and decode one image, [3, H, W] laid out channels last, which resizes fastest.

    `turn`: the EXIF orientation to apply, 1 for the pixels as stored. DataError names the file when
    it is missing, unreadable, cut short or absurdly large.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: image can't be read: {error.strerror}") from None
    try:
        return upright(decode_bytes(data), turn)
    except ValueError as error:
        raise DataError(f"{path}: not a readable image: {error}") from None


def decode_bytes(data: bytes) -> Tensor:
    """As `decode`, from the file's bytes; ValueError when they are no whole image of sane size."""
    decoder = _jpeg_decoder()
    if decoder is not None and data[:2] == b"\xff\xd8":
        height, width, channels = jpeg_header(data)
        _refuse_bomb(height, width)
        if channels in (1, 3):
            with contextlib.suppress(RuntimeError):  # damaged; Pillow says how, or reads it still
                return decoder(torch.frombuffer(bytearray(data), dtype=torch.uint8), _RGB, False)
    return torch.from_numpy(_decode_by_pillow(data)).permute(2, 0, 1)


def upright(image_CHW: Tensor, turn: int) -> Tensor:
    """The image as its EXIF orientation (1 to 8) wants it seen."""
    if turn == 1:
        return image_CHW
    image_HWC = image_CHW.permute(1, 2, 0)
    if turn >= 5:
        image_HWC = image_HWC.transpose(0, 1)
    flipped = [axis for axis, turns in ((0, (3, 4, 7, 8)), (1, (2, 3, 6, 7))) if turn in turns]
    return image_HWC.flip(flipped).contiguous().permute(2, 0, 1)


def image_header(path: Path) -> tuple[int, int, int]:
    """(height, width, EXIF orientation or 0) as stored, from the header alone; errors as `decode`.

    A JPEG without EXIF takes 10 us, Pillow 80.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if head[:2] == b"\xff\xd8" and b"Exif" not in head:
                with contextlib.suppress(ValueError):
                    return *jpeg_header(head)[:2], 0
            with warnings.catch_warnings(), Image.open(file) as image:
                warnings.simplefilter("ignore")
                orientation = image.getexif().get(_ORIENTATION, 0)
                turn = orientation if orientation in range(1, 9) else 0
                return image.height, image.width, turn
    except OSError as error:
        why = error.strerror or str(error)
        raise DataError(f"{path}: image can't be read: {why}") from None
    except Exception as error:  # Pillow's plugins raise many kinds for damaged files
        raise DataError(f"{path}: not a readable image: {error}") from None


def jpeg_header(data: bytes) -> tuple[int, int, int]:
    """(height, width, channels) of a JPEG from its frame header; ValueError when there is none."""
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            break
        marker = data[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in _SIZES:
            height = int.from_bytes(data[place + 5 : place + 7])
            return height, int.from_bytes(data[place + 7 : place + 9]), data[place + 9]
        elif marker == 0xD9 or marker == 0xDA:
            break
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4])
    raise ValueError("JPEG without a frame header")


def _jpeg_decoder() -> Callable[[Tensor, int, bool], Tensor] | None:
    """torchvision's operator itself: the function around it warns that it will move elsewhere."""
    try:
        decoder: Callable[[Tensor, int, bool], Tensor] = torch.ops.image.decode_jpeg
    except AttributeError:  # a torchvision built without it
        return None
    return decoder


def _decode_by_pillow(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Pillow warns of odd metadata, which is not our subject
            with Image.open(io.BytesIO(data)) as image:
                _refuse_bomb(image.height, image.width)
                rgb = image if image.mode == "RGB" else image.convert("RGB")
                return np.array(rgb)
    except UnidentifiedImageError:
        raise ValueError("of no known format") from None
    except ValueError:
        raise
    except Exception as error:  # Pillow's plugins raise many kinds for damaged files
        raise ValueError(str(error)) from None


def _refuse_bomb(height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        raise ValueError(f"{width}x{height} pixels is more than {MOST_PIXELS:,}; refused")
    if height * width == 0:
        raise ValueError("it has no pixels")
