"""Quality focal loss: focal loss at hard targets, still at p = t, finite everywhere."""

import math

import pytest
import torch

from losses.focal import sigmoid_focal_loss
from losses.quality import QualityFocal, quality_focal_loss
from losses.schedules import Linear


@pytest.mark.parametrize("beta", [0.0, 1.0, 1.5, 2.0])
def test_focal_loss_at_hard_targets(beta: float) -> None:
    logits = torch.linspace(-15, 15, 61, dtype=torch.float64)[:, None].repeat(1, 2)
    targets = torch.tensor([[0.0, 1.0]]).repeat(61, 1).double()
    quality = logits.clone().requires_grad_()
    focal = logits.clone().requires_grad_()
    loss = quality_focal_loss(quality, targets, beta=beta)
    expected = sigmoid_focal_loss(focal, targets, gamma=beta)
    loss.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(quality.grad, focal.grad, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("target", [0.1, 0.5, 0.93])
def test_no_loss_and_no_push_where_the_answer_is_right(target: float) -> None:
    logit = torch.tensor([math.log(target / (1 - target))], dtype=torch.float64).requires_grad_()
    loss = quality_focal_loss(logit, torch.tensor([target]).double(), beta=2.0)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert logit.grad is not None and logit.grad.item() == pytest.approx(0, abs=1e-7)
    focal = logit.detach().requires_grad_()
    sigmoid_focal_loss(focal[None], torch.tensor([[target]]).double(), gamma=2.0).backward()
    if target != 0.5:
        assert focal.grad is not None and abs(focal.grad.item()) > 1e-3  # where focal still pushes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("target", [0.0, 0.4, 1.0])
def test_finite_at_every_logit(dtype: torch.dtype, beta: float, target: float) -> None:
    logits = torch.arange(-200, 201, dtype=dtype).requires_grad_()
    loss = quality_focal_loss(logits, torch.full_like(logits, target).detach(), beta=beta)
    loss.sum().backward()
    assert loss.isfinite().all() and loss.dtype == torch.float32
    assert logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("beta", [1.0, 2.0, 3.5])
def test_the_gradient_is_the_derivative(beta: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.rand(8, 3, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: quality_focal_loss(x, targets, beta=beta), logits)


def test_what_is_ignored_has_no_loss_and_no_gradient() -> None:
    logits = torch.tensor([[math.nan, 1.0], [2.0, math.nan]], requires_grad=True)
    ignore = torch.tensor([[True, False], [False, True]])
    loss = quality_focal_loss(logits, torch.full((2, 2), 0.5), ignore=ignore)
    loss.sum().backward()
    assert loss[ignore].eq(0).all() and loss.isfinite().all()
    assert logits.grad is not None and logits.grad[ignore].eq(0).all()
    rows = quality_focal_loss(
        torch.ones(2, 2), torch.zeros(2, 2), ignore=torch.tensor([True, False])
    )
    assert rows[0].eq(0).all() and rows[1].gt(0).all()


@pytest.mark.parametrize("beta", [-1.0, 0.5, math.inf, Linear(0.0, 2.0)])
def test_beta_between_zero_and_one_is_refused(beta) -> None:
    with pytest.raises(ValueError, match="^beta: must be 0 or >= 1, found"):
        QualityFocal(beta)


def test_beta_may_be_a_schedule() -> None:
    soft = QualityFocal(Linear(1.0, 3.0, (0.0, 1.0)))
    assert soft.values(0.5) == {"beta": 2.0} and soft.at(0.5).beta == 2.0
