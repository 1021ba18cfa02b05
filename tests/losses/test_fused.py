"""Compiled kernels: equal to the eager ones, one for all gammas, absent with grace."""

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

import losses.kernels.compiled
from losses.focal import Focal, sigmoid_focal_loss, softmax_focal_loss
from losses.schedules import Linear

ROOT = Path(__file__).parents[2]
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="no C++ compiler here"
)


def value_and_slope(loss_of, logits: Tensor, upstream: str = "dense") -> tuple[Tensor, Tensor]:
    """The loss and the gradient of a sum that weighs elements, rows, or nothing."""
    logits = logits.detach().requires_grad_()
    loss = loss_of(logits)
    if upstream == "dense":
        total = (loss * torch.linspace(0.5, 2.0, loss.numel()).reshape(loss.shape)).sum()
    elif upstream == "rows":
        total = (loss.sum(-1) * torch.linspace(0.5, 2.0, loss[..., 0].numel())).sum()
    else:
        total = loss.sum()
    return loss.detach(), torch.autograd.grad(total, logits)[0]


def assert_same(loss_of, logits: Tensor, upstream: str = "dense") -> None:
    """Eager and fused agree to a millionth, and the fused ones were compiled."""
    eager = value_and_slope(lambda x: loss_of(x, False), logits, upstream)
    fused = value_and_slope(lambda x: loss_of(x, True), logits, upstream)
    assert losses.kernels.compiled._availability.reason is None
    for mine, other in zip(fused, eager, strict=True):
        assert mine.dtype == other.dtype
        tolerance = 1e-6 if mine.dtype == torch.float32 else 1e-2  # one rounding to half precision
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=1e-9)


@needs_compiler
def test_fused_sigmoid_equals_eager_and_compiles_once_for_all_gammas() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(53, 7, generator=generator) * 4
    hard = (torch.rand(53, 7, generator=generator) < 0.2).float()
    for gamma in (0.0, 0.3, 1.0, 2.0):
        assert_same(
            lambda x, f, g=gamma: sigmoid_focal_loss(x, hard, alpha=0.25, gamma=g, fused=f),
            logits,
            "sum",
        )
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    schedule = Focal(alpha=0.25, gamma=Linear(0.0, 2.0), fused=True)
    for step in range(20):
        loss = schedule.at(step / 20).sigmoid(logits.clone().requires_grad_(), hard)
        loss.sum().backward()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("upstream", ["dense", "rows", "sum"])
@pytest.mark.parametrize("targets", ["hard", "soft", "labels"])
@pytest.mark.parametrize("ignored", [False, True])
def test_every_kind_of_input(dtype, upstream: str, targets: str, ignored: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(53, 7, generator=generator) * 4).to(dtype)
    values = {
        "hard": (torch.rand(53, 7, generator=generator) < 0.2).float(),
        "soft": torch.rand(53, 7, generator=generator),
        "labels": torch.arange(53) % 8,
    }[targets]
    ignore = torch.arange(53) % 4 == 0 if ignored else None
    for alpha in (0.25, tuple(0.1 * k for k in range(1, 8))):
        assert_same(
            lambda x, f, a=alpha: sigmoid_focal_loss(
                x, values, alpha=a, gamma=0.7, ignore=ignore, fused=f
            ),
            logits,
            upstream,
        )


@needs_compiler
@pytest.mark.slow
def test_fused_sum_and_finite_at_every_logit() -> None:
    logits = torch.arange(-200.0, 201.0)[:, None].repeat(1, 2)
    targets = torch.tensor([[0.0, 1.0]]).repeat(401, 1)
    for gamma in (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0):
        loss, slope = value_and_slope(
            lambda x, g=gamma: sigmoid_focal_loss(x, targets, gamma=g, fused=True), logits
        )
        assert loss.isfinite().all() and slope.isfinite().all()
    total = sigmoid_focal_loss(logits, targets, gamma=2.0, fused=True, reduction="sum")
    eager = sigmoid_focal_loss(logits, targets, gamma=2.0, reduction="sum")
    torch.testing.assert_close(total, eager, rtol=1e-6, atol=0)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_softmax_equals_eager(dense: bool, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 7, 5, 4) if dense else (53, 7)
    logits = (torch.randn(shape, generator=generator) * 4).to(dtype)
    labels = torch.randint(7, shape[:1] + shape[2:], generator=generator)
    labels.view(-1)[::5] = -100
    for gamma in (0.0, 0.5, 2.0, torch.linspace(0, 2, 7)):
        assert_same(
            lambda x, f, g=gamma: softmax_focal_loss(
                x, labels, alpha=torch.linspace(0.5, 2, 7), gamma=g, fused=f
            ),
            logits,
        )


def test_without_a_compiler_one_notice_and_the_same_numbers(tmp_path: Path) -> None:
    script = """
import warnings, torch
from losses.focal import sigmoid_focal_loss, softmax_focal_loss
logits, targets = torch.randn(9, 3), torch.eye(3).repeat(3, 1)
with warnings.catch_warnings(record=True) as notices:
    warnings.simplefilter("always")
    for gamma in (0.5, 2.0):
        x = logits.clone().requires_grad_()
        loss = sigmoid_focal_loss(x, targets, gamma=gamma, fused=True)
        loss.sum().backward()
        assert loss.equal(sigmoid_focal_loss(logits, targets, gamma=gamma))
        labels = targets.argmax(1)
        soft = softmax_focal_loss(logits, labels, gamma=gamma, fused=True)
        assert soft.equal(softmax_focal_loss(logits, labels, gamma=gamma))
print([str(n.message) for n in notices if str(n.message).startswith("fused:")])
"""
    environment = {
        **os.environ,
        "CXX": str(tmp_path / "no-such-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),  # else an older build is loaded
        "OMP_NUM_THREADS": "1",
    }
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("fused: the loss cannot be compiled here and runs eagerly") == 1


def test_a_failed_compilation_is_told_once_and_never_tried_again(monkeypatch) -> None:
    tried = []

    def refuse(function):
        tried.append(function)
        raise RuntimeError("no compiler\nlong trace")

    monkeypatch.setattr(losses.kernels.compiled, "_compiled", refuse)
    monkeypatch.setattr(losses.kernels.compiled._availability, "reason", None)
    logits, targets = torch.zeros(2, 3), torch.ones(2, 3)
    with pytest.warns(RuntimeWarning, match=r"runs eagerly \(no compiler\)$"):
        first = sigmoid_focal_loss(logits, targets, fused=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = sigmoid_focal_loss(logits, targets, fused=True)
    assert first.equal(second) and first.equal(sigmoid_focal_loss(logits, targets))
    assert len(tried) == 1
