"""Box coding and overlap, against torchvision and by round trip."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou

from detectors.retinanet.anchors import Anchors, anchor_grid
from detectors.retinanet.boxes import clip, decode, encode, grid_intersection, grid_iou

STRIDES, SHAPES, SIZE = (8, 16, 32), [(12, 20), (6, 10), (3, 5)], (96, 160)


def random_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([140.0, 80.0])
    return torch.cat([corner, corner + 1 + 60 * torch.rand(count, 2, generator=generator)], dim=1)


def test_coding_equals_torchvisions() -> None:
    coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
    boxes, anchors = random_boxes(50, 0), random_boxes(50, 1)
    assert torch.allclose(encode(boxes, anchors), coder.encode_single(boxes, anchors), atol=1e-6)
    deltas = torch.randn(50, 4, generator=torch.Generator().manual_seed(2)) * 3
    assert torch.allclose(decode(deltas, anchors), coder.decode_single(deltas, anchors), rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_decoding_undoes_encoding(seed: int) -> None:
    boxes, anchors = random_boxes(8, seed), random_boxes(8, seed + 1)
    assert torch.allclose(decode(encode(boxes, anchors), anchors), boxes, atol=1e-3)


def test_a_wild_code_stays_finite() -> None:
    decoded = decode(torch.full((1, 4), 1e4), torch.tensor([[0.0, 0.0, 16.0, 16.0]]))
    assert torch.isfinite(decoded).all()
    assert (decoded[0, 2] - decoded[0, 0]).item() <= 1000.1


def test_separated_iou_equals_the_general_form() -> None:
    for anchors in (Anchors(), Anchors(sizes="truncated"), Anchors(centre=0.5)):
        grid = anchor_grid(anchors, STRIDES, SHAPES, SIZE, torch.device("cpu"))
        boxes = random_boxes(17, 3)
        assert torch.allclose(grid_iou(boxes, grid), box_iou(boxes, grid.boxes_A4), atol=1e-6)


def test_intersection_by_hand() -> None:
    grid = anchor_grid(
        Anchors(base=1.0, octave_scales=1, ratios=(1.0,), centre=0.5),
        (8,),
        [(1, 2)],
        (8, 16),
        torch.device("cpu"),
    )
    shared = grid_intersection(torch.tensor([[4.0, 2.0, 10.0, 20.0]]), grid)
    assert shared.tolist() == [[4 * 6, 2 * 6]]


def test_clip_cuts_x_by_width_and_y_by_height() -> None:
    boxes = torch.tensor([[-5.0, -5.0, 500.0, 500.0]])
    assert clip(boxes, torch.tensor([30, 70])).tolist() == [[0, 0, 70, 30]]
