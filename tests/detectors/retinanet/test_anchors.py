"""Anchor grids, against torchvision's generator and against arithmetic."""

import math

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from detectors.retinanet.anchors import Anchors, anchor_grid

CPU = torch.device("cpu")
STRIDES = (8, 16, 32, 64, 128)


def level_shapes(height: int, width: int) -> list[tuple[int, int]]:
    return [(-(-height // s), -(-width // s)) for s in STRIDES]


@pytest.mark.parametrize("size", [(256, 352), (320, 192)])
def test_truncated_anchors_are_torchvisions_bit_for_bit(size: tuple[int, int]) -> None:
    sizes = tuple(
        (x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in (32, 64, 128, 256, 512)
    )
    theirs = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)
    shapes = level_shapes(*size)
    features = [torch.zeros(1, 1, *shape) for shape in shapes]
    expected = theirs(ImageList(torch.zeros(1, 3, *size), [size]), features)[0]
    grid = anchor_grid(Anchors(sizes="truncated"), STRIDES, shapes, size, CPU)
    assert torch.equal(grid.boxes_A4, expected)


def test_exact_anchors_have_the_papers_areas_and_ratios() -> None:
    cell = Anchors().cell(8)
    widths, heights = cell[:, 2] - cell[:, 0], cell[:, 3] - cell[:, 1]
    areas = [(32 * 2 ** (i / 3)) ** 2 for i in range(3)] * 3
    assert torch.allclose(widths * heights, torch.tensor(areas))
    assert torch.allclose(heights / widths, torch.tensor([0.5] * 3 + [1.0] * 3 + [2.0] * 3))


@pytest.mark.parametrize(
    ("octave_scales", "ratios"), [(1, (1.0,)), (2, (0.5, 1.0, 2.0)), (4, (1.0,))]
)
def test_table_1c_counts(octave_scales: int, ratios: tuple[float, ...]) -> None:
    settings = Anchors(octave_scales=octave_scales, ratios=ratios)
    grid = anchor_grid(settings, (8,), [(3, 5)], (24, 40), CPU)
    assert settings.per_cell == octave_scales * len(ratios)
    assert grid.boxes_A4.shape == (3 * 5 * settings.per_cell, 4)


def test_centre_moves_anchors_to_the_middle_of_their_cell() -> None:
    grid = anchor_grid(
        Anchors(octave_scales=1, ratios=(1.0,), centre=0.5), (8,), [(2, 2)], (16, 16), CPU
    )
    centres = (grid.boxes_A4[:, :2] + grid.boxes_A4[:, 2:]) / 2
    assert centres.tolist() == [[4, 4], [12, 4], [4, 12], [12, 12]]


def test_areas_are_those_of_the_boxes() -> None:
    grid = anchor_grid(Anchors(), (8, 16), [(4, 4), (2, 2)], (32, 32), CPU)
    assert grid.areas_A[0].item() == pytest.approx(32 * 32, rel=1e-5)
    assert math.isclose(grid.areas_A[-1].item(), (64 * 2 ** (2 / 3)) ** 2, rel_tol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": 0.0}, "base:"),
        ({"octave_scales": 0}, "octave_scales:"),
        ({"ratios": ()}, "ratios:"),
    ],
)
def test_impossible_values_name_their_field(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Anchors(**change)  # type: ignore[arg-type]
