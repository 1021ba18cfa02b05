"""Losses of boxes, against torch, torchvision and numbers by hand."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import generalized_box_iou_loss

from losses.boxes import giou, smooth_l1


def boxes(count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, count, 2, generator=generator) * 100
    sides = torch.rand(2, count, 2, generator=generator) * 50 + 1
    both = torch.cat([corners, corners + sides], -1).double()
    return both[0], both[1]


@pytest.mark.parametrize("beta", [0.0, 0.11, 1.0])
def test_smooth_l1_is_torchs(beta: float) -> None:
    predictions, targets = (box / 50 for box in boxes())
    expected = F.smooth_l1_loss(predictions, targets, beta=beta, reduction="none")
    torch.testing.assert_close(smooth_l1(predictions, targets, beta), expected)


def test_giou_is_torchvisions() -> None:
    predictions, targets = boxes()
    torch.testing.assert_close(
        giou(predictions, targets), generalized_box_iou_loss(predictions, targets, eps=0.0)
    )


def test_giou_by_hand() -> None:
    unit = torch.tensor([0.0, 0.0, 1.0, 1.0])
    apart = torch.tensor([3.0, 0.0, 4.0, 1.0])
    inside = torch.tensor([0.0, 0.0, 0.5, 1.0])
    assert giou(unit, unit).item() == 0
    assert giou(unit, apart).item() == pytest.approx(1.5)  # hull 4, union 2: 1 + 2 / 4
    assert giou(unit, inside).item() == pytest.approx(0.5)  # hull = union: 1 - 1 / 2


def test_giou_is_the_same_at_every_scale_and_place() -> None:
    predictions, targets = boxes()
    moved = giou(predictions * 7 + 300, targets * 7 + 300)
    torch.testing.assert_close(moved, giou(predictions, targets))


def test_giou_gradient_is_the_derivative() -> None:
    predictions, targets = boxes(20)
    assert torch.autograd.gradcheck(lambda box: giou(box, targets), predictions.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_empty_boxes_are_finite(dtype: torch.dtype) -> None:
    empty = torch.tensor([[5.0, 5.0, 5.0, 5.0], [2.0, 2.0, 2.0, 9.0]], dtype=dtype)
    empty.requires_grad_()
    for other in (empty.detach(), torch.tensor([[0.0, 0.0, 9.0, 9.0]] * 2, dtype=dtype)):
        loss = giou(empty, other)
        (slope,) = torch.autograd.grad(loss.sum(), empty)
        assert loss.dtype == torch.float32 and loss.isfinite().all() and slope.isfinite().all()


def test_half_precision_is_computed_in_single() -> None:
    predictions, targets = (box.half() for box in boxes())
    assert smooth_l1(predictions, targets).equal(smooth_l1(predictions.float(), targets.float()))
    assert giou(predictions, targets).equal(giou(predictions.float(), targets.float()))


def test_no_boxes_no_loss() -> None:
    assert giou(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)
    assert smooth_l1(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0, 4)


def test_a_negative_beta_is_refused() -> None:
    with pytest.raises(ValueError, match="^beta: must be >= 0, found -1"):
        smooth_l1(torch.zeros(1), torch.zeros(1), beta=-1)
