import colorsys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.colour import Colour, distort

factor = st.floats(0.4, 2.5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(-0.5, 0.5), factor, factor)
def test_each_pixel_is_what_the_textbook_conversion_gives(
    seed: int, hue: float, saturation: float, exposure: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8, generator=generator)
    image[:, 0, 0], image[:, 0, 1], image[:, 0, 2] = 0, 255, 90
    found = distort(image, hue, saturation, exposure).permute(1, 2, 0).reshape(-1, 3).tolist()
    for pixel, got in zip(image.permute(1, 2, 0).reshape(-1, 3).tolist(), found, strict=True):
        h, s, v = colorsys.rgb_to_hsv(*(value / 255 for value in pixel))
        want = colorsys.hsv_to_rgb((h + hue) % 1, min(1, s * saturation), min(1, v * exposure))
        assert got == pytest.approx([value * 255 for value in want], abs=1)


def test_any_height_and_layout(make_random: torch.Tensor) -> None:
    for height in (1, 63, 64, 65, 200):
        image = make_random[:, :height]
        planes = distort(image.contiguous(), 0.1, 1.2, 1.1)
        rows = distort(image.permute(1, 2, 0).contiguous().permute(2, 0, 1), 0.1, 1.2, 1.1)
        assert torch.equal(planes, rows) and planes.shape == image.shape


@pytest.fixture
def make_random() -> torch.Tensor:
    return torch.randint(0, 256, (3, 200, 11), dtype=torch.uint8, generator=torch.Generator())


@pytest.mark.parametrize(
    ("field", "value"), [("hue", 0.6), ("hue", -0.1), ("saturation", 0.9), ("exposure", 0.0)]
)
def test_impossible_values_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{field}: must be"):
        Colour(**{field: value})
