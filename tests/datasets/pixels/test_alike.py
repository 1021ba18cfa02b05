"""Copies of a photo are found, different photos are not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from datasets.pixels.alike import alike
from datasets.pixels.likeness import likeness


def photo(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Blurred noise: as smooth as photos are."""
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    large = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    return large.filter(ImageFilter.GaussianBlur(6))


def saved(image: Image.Image, form: str = "JPEG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def copies(image: Image.Image) -> list[bytes]:
    width, height = image.size
    return [
        saved(image, quality=30),
        saved(image.resize((width // 2, height // 2))),
        saved(image.resize((width * 2, height * 2)), quality=95),
        saved(image, "PNG"),
        saved(ImageEnhance.Brightness(image).enhance(1.1)),
        saved(image.convert("L")),
    ]


def test_copies_of_a_photo_are_one_group_and_other_photos_are_not() -> None:
    files = [saved(photo(seed), quality=90) for seed in range(40)]
    files += copies(photo(7))
    groups = alike(files, [likeness(data) for data in files])
    assert groups[40:].tolist() == [7] * 6
    assert sorted(groups[:40].tolist()) == list(range(40))


def test_the_same_bytes_are_one_group_whatever_they_are() -> None:
    assert alike([b"a", b"b", b"a", b"a"], [None] * 4).tolist() == [0, 1, 0, 0]


def test_flat_images_are_not_taken_for_copies() -> None:
    flat = [saved(Image.new("RGB", (60, 40), (value,) * 3), "PNG") for value in (0, 100, 200)]
    assert alike(flat, [likeness(data) for data in flat]).tolist() == [0, 1, 2]


def test_sixteen_bit_grey_has_a_likeness() -> None:
    grey = np.asarray(photo(3).convert("L")).astype(np.uint16) * 200
    deep = saved(Image.fromarray(grey), "PNG")
    files = [deep, saved(photo(3))]
    assert alike(files, [likeness(data) for data in files]).tolist() == [0, 0]


def test_a_fixed_camera_is_one_group_without_a_list_of_all_pairs() -> None:
    files = [
        saved(photo(1), quality=60 + row % 30) + bytes([row % 251]) * row for row in range(900)
    ]
    one = likeness(files[0])
    assert set(alike(files, [one] * len(files)).tolist()) == {0}


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"hello"])
def test_what_is_no_image_has_none(data: bytes) -> None:
    with pytest.raises(ValueError, match="."):
        likeness(data)
