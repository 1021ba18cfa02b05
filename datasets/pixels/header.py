"""Size and EXIF orientation of an image file from its first bytes; no pixel is decoded.

JPEG and PNG are walked here, in some 20 us a file (Pillow: 130 us, measured); what is odd in them,
and every other format, is left to Pillow.
"""

import io
import struct
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image, UnidentifiedImageError

from datasets.errors import DataError

JPEG = b"\xff\xd8"  # how one begins
ON_SIDE = (5, 6, 7, 8)  # EXIF orientations that lay an upright picture on its side
ORIENTATION = 0x0112  # EXIF's tag

_FIRST_BYTES = 2048  # holds the frame header of most JPEGs; seeking on costs less than reading more
_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # JPEG markers that carry the size
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # JPEG markers without a segment
_MOST_STRAY = 2**16  # a file with more of them is no JPEG for us; Pillow may say what it is
_MOST_CHUNKS = 2**12  # of a PNG, before its pixels
_EXIF = b"Exif\0\0"
_EXIF_BYTES = 512  # of a segment: cameras put the directory first, others behind a thumbnail
_MOST_EXIF = 2**16
_SHORT, _LONG = 3, 4  # types of numbers in a directory
_PNG = b"\x89PNG\r\n\x1a\n"


class Header(NamedTuple):
    """Size as stored, in pixels; EXIF's orientation, 1..8, or 0 where there is none."""

    height: int
    width: int
    orientation: int = 0
    deep: bool = False  # grey of 16 or 32 bit, which is scaled to 8 (reading.py)


class Frame(NamedTuple):
    """A JPEG's frame header."""

    height: int
    width: int
    channels: int
    orientation: int
    stray: int  # bytes where a marker should stand, which every decoder skips


def image_header(path: Path | str) -> Header:
    """Header of one image file; DataError names the file when it is missing or no image."""
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(_FIRST_BYTES)
            found = _jpeg_or_png(head, file)
            return found or _by_pillow(path)
    except FileNotFoundError:
        raise DataError(f"{path}: image can't be read: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: image can't be read: {error.strerror or error}") from None
    except ValueError as error:
        raise DataError(f"{path}: not a readable image: {error}") from None


def header_of(data: bytes) -> Header:
    """As `image_header`, of a file's bytes; ValueError when they are no image."""
    return _jpeg_or_png(data, io.BytesIO(data)) or _by_pillow(io.BytesIO(data))


def _jpeg_or_png(head: bytes, file: BinaryIO) -> Header | None:
    if head[:2] == JPEG:
        frame = jpeg_frame(head, file)
        return Header(frame.height, frame.width, frame.orientation) if frame else None
    if head[:8] == _PNG:
        return _png(head, file)
    return None


def jpeg_frame(head: bytes, file: BinaryIO | None = None) -> Frame | None:
    """A JPEG's frame header, as libjpeg finds it: bytes before a marker are skipped and counted.

    None when there is none in `head`, the file's first bytes, nor in `file`, which is read on where
    given.
    """
    place, orientation, stray = 2, 0, 0

    def at(start: int, count: int) -> bytes:
        if start + count <= len(head) or file is None:
            return head[start : start + count]
        file.seek(start)
        return file.read(count)

    while len(marker := at(place, 2)) == 2 and stray <= _MOST_STRAY:
        if marker[0] != 0xFF or marker[1] == 0:
            place, stray = place + 1, stray + 1
        elif marker[1] == 0xFF:  # fill byte
            place += 1
        elif marker[1] in _ALONE:
            place += 2
        elif marker[1] in (0xD9, 0xDA):  # end, or pixels without a frame
            return None
        elif marker[1] in _SIZES:
            fields = at(place + 5, 5)
            if len(fields) < 5:
                return None
            height, width, channels = struct.unpack(">HHB", fields)
            return Frame(height, width, channels, orientation, stray)
        else:
            length = int.from_bytes(at(place + 2, 2))
            if marker[1] == 0xE1 and not orientation:
                orientation = _jpeg_exif(partial(at, place + 4), max(length - 2, 0))
            place += 2 + max(length, 2)
    return None


def _jpeg_exif(read: Callable[[int], bytes], length: int) -> int:
    begun = read(min(length, _EXIF_BYTES))
    if begun[:6] != _EXIF:
        return 0
    found = exif_orientation(begun[6:])
    return (exif_orientation(read(length)[6:]) if found is None else found) or 0


def exif_orientation(exif: bytes) -> int | None:
    """Orientation 1..8 in EXIF's first directory, 0 where it is not there or no such number; None
    where the directory goes on beyond these bytes.
    """
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return 0
    (start,) = struct.unpack_from(order + "I", exif, 4)
    if start + 2 > len(exif):
        return None
    (count,) = struct.unpack_from(order + "H", exif, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if entry + 12 > len(exif):
            return None
        tag, kind = struct.unpack_from(order + "HH", exif, entry)
        if tag == ORIENTATION:
            form = {_SHORT: "H", _LONG: "I"}.get(kind)
            value = struct.unpack_from(order + form, exif, entry + 8)[0] if form else 0
            return value if 1 <= value <= 8 else 0
    return 0


def _png(head: bytes, file: BinaryIO) -> Header | None:
    if len(head) < 33 or head[12:16] != b"IHDR":
        return None
    width, height, depth, colours = struct.unpack(">IIBB", head[16:26])
    orientation, place = 0, 8
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        chunk = file.read(8)
        if len(chunk) < 8 or chunk[4:] in (b"IDAT", b"IEND"):
            break
        length = int.from_bytes(chunk[:4])
        if chunk[4:] == b"eXIf":
            orientation = exif_orientation(file.read(min(length, _MOST_EXIF))) or 0
        place += 12 + length
    return Header(height, width, orientation, depth == 16 and colours == 0)


def _by_pillow(source: Path | str | BinaryIO) -> Header:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which is not our subject
            with Image.open(source) as image:
                return pillow_header(image)
    except UnidentifiedImageError:
        raise ValueError("of no known format") from None
    except Exception as error:  # Pillow's plugins raise many kinds for damaged files
        raise ValueError(str(error)) from None


def pillow_header(image: Image.Image) -> Header:
    """Header of an image that Pillow has opened and not yet loaded."""
    value = image.getexif().get(ORIENTATION, 0)
    orientation = value if isinstance(value, int) and 1 <= value <= 8 else 0
    width, height = image.size
    if image.format == "TIFF" and orientation in ON_SIDE:  # Pillow turns these by itself
        width, height = height, width
    return Header(height, width, orientation, is_deep_grey(image.mode))


def is_deep_grey(mode: str) -> bool:
    """Whether Pillow's mode means grey of 16 or 32 bit."""
    return mode == "F" or mode.startswith("I")
