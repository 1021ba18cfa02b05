"""Files as people have them become the pixels that other programs show."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageOps

from datasets.decoding import decode, decode_bytes
from datasets.pixels.header import header_of, image_header, jpeg_frame
from datasets.pixels.reading import read_pixels, scaled

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)


def written(form: str, pixels: Any = PIXELS, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def turned(form: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return written(form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_from_the_header_and_applied_when_asked(
    form: str, orientation: int
) -> None:
    data = turned(form, orientation)
    assert header_of(data) == (40, 60, orientation, False)
    with Image.open(io.BytesIO(data)) as image:
        upright = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(decode_bytes(data, orientation).permute(1, 2, 0).numpy(), upright)
    stored = decode_bytes(data).permute(1, 2, 0).numpy()
    assert stored.shape == (40, 60, 3)
    assert form == "JPEG" or np.array_equal(stored, PIXELS)


def directory(order: str, kind: int, start: int, before: int) -> bytes:
    """EXIF with an orientation of 6, of a number of this type, after `before` other entries."""
    value = struct.pack(order + {1: "B3x", 3: "HH", 4: "I"}[kind], *((6, 0) if kind == 3 else (6,)))
    others = struct.pack(order + "HHI4s", 0x010F, 2, 4, b"abc") * before
    entries = others + struct.pack(order + "HHI", 0x0112, kind, 1) + value
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start)
    count = struct.pack(order + "H", before + 1)
    return b"Exif\0\0" + head.ljust(start, b"\0") + count + entries + bytes(4)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [1, 3, 4])
@pytest.mark.parametrize(("start", "before"), [(8, 0), (8, 45), (600, 0), (5000, 45)])
def test_orientation_may_lie_anywhere_in_exif(
    order: str, kind: int, start: int, before: int
) -> None:
    """Behind a thumbnail, after many entries, as a long number; as a byte nobody reads it."""
    data = written("JPEG", exif=directory(order, kind, start, before))
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image).size
    assert header_of(data).orientation == (0 if kind == 1 else 6)
    assert upright == ((60, 40) if kind == 1 else (40, 60))


def test_headers_are_those_that_pillow_reads(tmp_path: Path) -> None:
    long = Image.Exif()
    long[0x010E] = "x" * 5000  # the frame header lies beyond the bytes read first
    long[0x0112] = 8
    for name, data in {
        "plain.jpg": written("JPEG"),
        "progressive.jpg": written("JPEG", progressive=True),
        "long.jpg": written("JPEG", exif=long),
        "comment.jpg": written("JPEG", comment=b"c" * 4000),
        "a.png": written("PNG"),
        "a.bmp": written("BMP"),
        "a.webp": written("WEBP"),
    }.items():
        (tmp_path / name).write_bytes(data)
        orientation = 8 if name == "long.jpg" else 0
        assert image_header(tmp_path / name) == (40, 60, orientation, False), name


def stray(data: bytes, place: bytes, junk: bytes) -> bytes:
    """A JPEG with bytes that belong to no segment before its first marker `place`."""
    at = data.index(place)
    return data[:at] + junk + data[at:]


@pytest.mark.parametrize("place", [b"\xff\xdb", b"\xff\xc0", b"\xff\xc4", b"\xff\xda"])
@pytest.mark.parametrize("junk", [b"\0", b"abc", b"\0" * 300, b"\xff\0\xff\0", b"\xff" * 9])
def test_stray_bytes_before_a_marker_are_skipped(place: bytes, junk: bytes) -> None:
    data = written("JPEG")
    assert torch.equal(decode_bytes(stray(data, place, junk)), decode_bytes(data))
    assert header_of(stray(data, place, junk)) == (40, 60, 0, False)


def test_a_jpeg_that_our_parser_can_not_follow_goes_to_pillow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = written("JPEG")
    expected = decode_bytes(data)
    monkeypatch.setattr("datasets.decoding.jpeg_frame", lambda _: None)
    assert torch.equal(decode_bytes(data), expected)


@given(st.binary(max_size=400), st.integers(0, 600))
def test_no_bytes_can_hang_or_break_the_frame_parser(junk: bytes, cut: int) -> None:
    data = written("JPEG")
    jpeg_frame(b"\xff\xd8" + junk)
    jpeg_frame(data[:cut] + junk + data[cut:], io.BytesIO(data[:cut] + junk))


def test_sixteen_bit_grey_is_scaled_and_a_narrow_file_is_not(tmp_path: Path) -> None:
    values = np.linspace(8000, 60000, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "a.png")
    seen = decode(tmp_path / "a.png")
    assert seen[0].flatten().tolist() == list(range(256))
    assert torch.equal(seen[0], seen[2])
    Image.fromarray(values // 256).save(tmp_path / "narrow.png")  # 31..234: 8 bit in 16
    assert decode(tmp_path / "narrow.png")[0].numpy().tolist() == (values // 256).tolist()


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_thirty_two_bit_grey_is_scaled(tmp_path: Path, kind: Any) -> None:
    values = np.arange(-100, 156).astype(kind).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert decode(tmp_path / "a.tif")[0].flatten().tolist() == list(range(256))


DEEP = arrays.arrays(
    np.uint16, arrays.array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, 65535)
)


@given(DEEP)
def test_scaling_keeps_order_and_the_ends(grey: Any) -> None:
    small = scaled(grey).astype(int)
    order = np.argsort(grey, axis=None)
    assert (np.diff(small.flatten()[order]) >= 0).all()
    if grey.max() > grey.min():
        assert small.flatten()[order[0]] < small.flatten()[order[-1]]


def test_what_is_no_number_is_black() -> None:
    grey = np.array([[np.nan, np.inf, 1.0, 3.0]], np.float32)
    assert scaled(grey).tolist() == [[0, 0, 0, 255]]
    assert scaled(np.full((1, 2), np.nan)).tolist() == [[0, 0]]


def test_without_torch_the_same_pixels_are_read() -> None:
    data = turned("JPEG", 6)
    assert np.array_equal(read_pixels(data, 6), decode_bytes(data, 6).permute(1, 2, 0).numpy())
