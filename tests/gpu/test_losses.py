"""The losses on a GPU, eager and compiled, against double precision."""

import pytest
import torch
from torch import Tensor

from losses.focal import sigmoid_focal_loss, softmax_focal_loss
from losses.kernels import compiled

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="-m gpu runs it, on a GPU"),
]
ROWS, CLASSES = 2000, 20


def value_and_slope(form: str, logits: Tensor, gamma: float, fused: bool) -> tuple[Tensor, Tensor]:
    """On the device of the logits, read back as float64."""
    logits = logits.detach().requires_grad_()
    labels = (torch.arange(ROWS) % CLASSES).to(logits.device)
    if form == "softmax":
        loss = softmax_focal_loss(logits, labels, gamma=gamma, fused=fused)
    else:
        loss = sigmoid_focal_loss(logits, labels, alpha=0.25, gamma=gamma, fused=fused)
    loss.sum().backward()
    assert logits.grad is not None
    assert not fused or compiled._availability.reason is None  # else it was eager
    return loss.detach().double().cpu(), logits.grad.double().cpu()


@pytest.mark.parametrize("form", ["sigmoid", "softmax"])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_loss_is_that_of_double_precision(form: str, fused: bool, gamma: float) -> None:
    logits = torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(0)) * 4
    found = value_and_slope(form, logits.cuda(), gamma, fused)
    exact = value_and_slope(form, logits.double(), gamma, False)
    for mine, other in zip(found, exact, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6 * other.abs().max().item())


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", ["soft", "hard", "bool"])
def test_dense_targets(kind: str, fused: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(ROWS, CLASSES, generator=generator) * 4
    targets = torch.rand(ROWS, CLASSES, generator=generator)
    targets = targets if kind == "soft" else targets.round()
    targets = targets.bool() if kind == "bool" else targets
    found = sigmoid_focal_loss(logits.cuda(), targets.cuda(), alpha=0.25, fused=fused)
    exact = sigmoid_focal_loss(logits.double(), targets.double(), alpha=0.25)
    torch.testing.assert_close(found.double().cpu(), exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_a_float32_loss(dtype: torch.dtype) -> None:
    logits = torch.linspace(-20, 20, ROWS, dtype=dtype, device="cuda")[:, None].requires_grad_()
    loss = sigmoid_focal_loss(logits, torch.ones_like(logits), gamma=0.5)
    loss.sum().backward()
    assert loss.dtype == torch.float32 and loss.isfinite().all()
    assert logits.grad is not None and logits.grad.isfinite().all()
