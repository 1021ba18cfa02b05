"""Image files to uint8 RGB tensors [3, H, W]: the one way from disk to pixels.

Whole JPEGs go through torchvision's decoder, anything else, and what that one refuses, through
Pillow (`datasets/pixels`): on BCCD, COCO and VOC both give the same bytes, in 1.2 and 2.6 ms for
640 x 480 (measured). EXIF rotation is applied where the caller says so: whether a data set's labels
know of it is told by the labels (`datasets/pixels/orientation.py`).
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision  # noqa: F401  # registers the decoder below
from torch import Tensor

from datasets.errors import DataError
from datasets.pixels.header import JPEG, jpeg_frame
from datasets.pixels.reading import Pixels, read_pixels, refuse_bomb, upright

OTHER_DECODER = "a JPEG that torchvision refuses and Pillow reads"
_RGB = 3  # torchvision.io.ImageReadMode.RGB


def decode(path: Path | str, turn: int = 1) -> Tensor:
    """Read and decode one image, [3, H, W] laid out channels last, which resizes fastest.

    `turn`: the EXIF orientation to turn upright, 1 for pixels as stored. DataError names the file
    when it is missing, unreadable, cut short or absurdly large.
    """
    return decode_told(path, turn)[0]


def decode_told(path: Path | str, turn: int = 1) -> tuple[Tensor, bool]:
    """As `decode`; also whether Pillow read a JPEG that the faster decoder could not."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise DataError(f"{path}: image can't be read: {error.strerror}") from None
    try:
        image_CHW, plain = _decode(data, turn)
    except ValueError as error:
        raise DataError(f"{path}: not a readable image: {error}") from None
    return image_CHW, plain and data[:2] == JPEG


def decode_bytes(data: bytes, turn: int = 1) -> Tensor:
    """As `decode`, from the file's bytes; ValueError when they are no whole image of sane size."""
    return _decode(data, turn)[0]


def _decode(data: bytes, turn: int) -> tuple[Tensor, bool]:
    """The image, and whether it is of a kind for the faster decoder and Pillow read it still."""
    frame = jpeg_frame(data) if data[:2] == JPEG else None
    decoder = _jpeg_decoder()
    plain = decoder is not None and (frame is None or frame.channels in (1, 3))
    if decoder is not None and frame is not None and plain:
        refuse_bomb(frame.height, frame.width)
        with contextlib.suppress(RuntimeError):  # damaged; Pillow says how, or reads it still
            packed = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            image_CHW = decoder(packed, _RGB, False)
            if turn == 1:
                return image_CHW, False
            return _planes(upright(image_CHW.permute(1, 2, 0).numpy(), turn)), False
    return _planes(read_pixels(data, turn)), plain


def _planes(pixels_HWC: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels_HWC)).permute(2, 0, 1)


def _jpeg_decoder() -> Callable[[Tensor, int, bool], Tensor] | None:
    """torchvision's operator itself: the function around it warns that it will move elsewhere."""
    try:
        decoder: Callable[[Tensor, int, bool], Tensor] = torch.ops.image.decode_jpeg
    except AttributeError:  # a torchvision built without it
        return None
    return decoder
