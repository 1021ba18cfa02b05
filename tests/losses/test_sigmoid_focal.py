"""Sigmoid focal loss: the paper's numbers, plain formulas, and no NaN anywhere."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import losses.kernels.pieces
from losses.focal import sigmoid_focal_loss

with warnings.catch_warnings():  # torchvision 0.29 warns of torch.jit as it is imported
    warnings.simplefilter("ignore")
    from torchvision.ops import sigmoid_focal_loss as torchvision_focal_loss

GAMMAS = [0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]


def value_and_slope(loss_of, logits: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the gradient of a sum in which every element has a factor of its own."""
    logits = logits.detach().requires_grad_()
    loss = loss_of(logits)
    factors = torch.linspace(0.5, 2.0, loss.numel(), dtype=loss.dtype).reshape(loss.shape)
    return loss.detach(), torch.autograd.grad((loss * factors).sum(), logits)[0]


def example(rows: int = 300, classes: int = 7, scale: float = 4.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(rows, classes, generator=generator, dtype=torch.float64) * scale
    return logits, (torch.rand(rows, classes, generator=generator) < 0.2).double()


def test_by_hand_at_p_one_half() -> None:
    loss = sigmoid_focal_loss(torch.zeros(1, 1), torch.ones(1, 1), alpha=0.25, gamma=2.0)
    assert loss.item() == pytest.approx(0.25 * 0.5**2 * math.log(2))


@pytest.mark.parametrize(("p", "less"), [(0.9, 100), (0.968, 1000)])
def test_the_papers_down_weighting(p: float, less: int) -> None:
    # section 3.2: at gamma 2 an example of p_t = 0.9 has 100 times less loss, of 0.968 about 1000
    logit = torch.tensor([[math.log(p / (1 - p))]], dtype=torch.float64)
    plain = sigmoid_focal_loss(logit, torch.ones(1, 1), gamma=0.0)
    focal = sigmoid_focal_loss(logit, torch.ones(1, 1), gamma=2.0)
    assert (plain / focal).item() == pytest.approx(less, rel=0.03)


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_gamma_zero_is_balanced_cross_entropy(alpha: float | None) -> None:
    logits, targets = example()
    weight = 1.0 if alpha is None else alpha * targets + (1 - alpha) * (1 - targets)
    ours = value_and_slope(lambda x: sigmoid_focal_loss(x, targets, alpha=alpha, gamma=0.0), logits)
    plain = value_and_slope(
        lambda x: weight * F.binary_cross_entropy_with_logits(x, targets, reduction="none"),
        logits,
    )
    for mine, theirs in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-15)


def test_gamma_zero_is_cross_entropy_to_a_millionth_in_float32() -> None:
    logits, targets = example(scale=8.0)
    logits = logits.float()
    ours = value_and_slope(lambda x: sigmoid_focal_loss(x, targets.float(), gamma=0.0), logits)
    # in float64, because torch's float32 slope sigmoid(x) - t has no digits for a sure positive
    plain = value_and_slope(
        lambda x: F.binary_cross_entropy_with_logits(x, targets, reduction="none"), logits.double()
    )
    for mine, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine.double(), other, rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("soft", [False, True])
def test_equals_torchvision_wherever_that_is_finite(gamma: float, soft: bool) -> None:
    logits, targets = example(scale=6.0)
    if soft:
        targets = torch.rand(targets.shape, generator=torch.Generator().manual_seed(4)).double()
        targets[0, :3] = torch.tensor([0.0, 0.5, 1.0])
    ours = value_and_slope(lambda x: sigmoid_focal_loss(x, targets, alpha=0.3, gamma=gamma), logits)
    theirs = value_and_slope(
        lambda x: torchvision_focal_loss(x, targets, alpha=0.3, gamma=gamma), logits
    )
    for mine, other in zip(ours, theirs, strict=True):
        # in float64 torchvision's 1 - p_t keeps 7 digits at the far end of these logits
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_float32_is_within_a_millionth_of_float64(gamma: float) -> None:
    logits, targets = example(scale=3.0)
    exact = value_and_slope(
        lambda x: sigmoid_focal_loss(x, targets, alpha=0.25, gamma=gamma), logits.float().double()
    )
    single = value_and_slope(
        lambda x: sigmoid_focal_loss(x, targets.float(), alpha=0.25, gamma=gamma), logits.float()
    )
    for mine, other in zip(single, exact, strict=True):
        tolerance = 1e-6 * max(1.0, gamma)  # exp(gamma log q) passes gamma roundings of log q on
        torch.testing.assert_close(mine.double(), other, rtol=2 * tolerance, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_finite_at_every_logit(dtype: torch.dtype, gamma: float, target: float) -> None:
    logits = torch.arange(-200, 201, dtype=dtype)[:, None]
    targets = torch.full_like(logits, target)
    loss, slope = value_and_slope(
        lambda x: sigmoid_focal_loss(x, targets, alpha=0.25, gamma=gamma), logits
    )
    assert loss.isfinite().all() and slope.isfinite().all()
    assert loss.dtype == torch.float32 and slope.dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "target", "first"),
    [
        (torch.float32, 1.0, 17),
        (torch.float32, 0.0, -18),
        (torch.bfloat16, 1.0, 7),
        (torch.bfloat16, 0.0, -7),
        (torch.float16, 1.0, 9),
        (torch.float16, 0.0, -9),
    ],
)
def test_where_torchvision_turns_nan_and_this_does_not(
    dtype: torch.dtype, target: float, first: int
) -> None:
    steps = torch.arange(0, 31, dtype=dtype)
    logits = (steps if first > 0 else -steps)[:, None]
    targets = torch.full_like(logits, target)
    _, theirs = value_and_slope(
        lambda x: torchvision_focal_loss(x, targets, alpha=0.25, gamma=0.5), logits
    )
    _, ours = value_and_slope(
        lambda x: sigmoid_focal_loss(x, targets, alpha=0.25, gamma=0.5), logits
    )
    assert logits[theirs.isnan()][0].item() == first
    assert ours.isfinite().all()


@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_gradient_is_the_derivative(gamma: float) -> None:
    logits, targets = example(rows=6, classes=4, scale=2.0)
    targets[0] = torch.tensor([0.1, 0.5, 0.7, 0.99])
    logits[1, 0] = 0.0  # where a careless |x| has no slope
    assert torch.autograd.gradcheck(
        lambda x: sigmoid_focal_loss(x, targets, alpha=0.25, gamma=gamma), logits.requires_grad_()
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_the_closed_form_of_the_documentation(gamma: float, target: float) -> None:
    # docs/losses.md: for y = +-1, d FL / d x = y (1 - p_t)^gamma (gamma p_t log p_t + p_t - 1)
    logits = torch.linspace(-8, 8, 33, dtype=torch.float64)[:, None].requires_grad_()
    sign = 2 * target - 1
    p = (sign * logits.detach()).sigmoid()
    expected = sign * (1 - p) ** gamma * (gamma * p * p.log() + p - 1)
    sigmoid_focal_loss(logits, torch.full_like(logits, target), gamma=gamma).sum().backward()
    torch.testing.assert_close(logits.grad, expected, rtol=1e-10, atol=1e-12)


def test_labels_say_the_same_as_one_hot_rows() -> None:
    logits, _ = example(classes=5)
    labels = torch.arange(len(logits)) % 6  # 5 is the background
    targets = F.one_hot(labels, 6)[:, :5]
    by_label = value_and_slope(lambda x: sigmoid_focal_loss(x, labels, alpha=0.25), logits)
    for kind in (torch.float64, torch.bool, torch.int64):
        by_row = value_and_slope(
            lambda x, kind=kind: sigmoid_focal_loss(x, targets.to(kind), alpha=0.25), logits
        )
        assert all(a.equal(b) for a, b in zip(by_label, by_row, strict=True))


def test_parameters_of_each_class_act_on_their_column() -> None:
    logits, targets = example(classes=3)
    alphas, gammas, weights = (0.1, 0.5, 0.9), torch.tensor([0.0, 0.7, 2.0]), (1.0, 3.0, 0.5)
    joint = value_and_slope(
        lambda x: sigmoid_focal_loss(x, targets, alpha=alphas, gamma=gammas, class_weights=weights),
        logits,
    )
    for column in range(3):
        part = value_and_slope(
            lambda x, c=column: sigmoid_focal_loss(
                x[:, c : c + 1],
                targets[:, c : c + 1],
                alpha=alphas[c],
                gamma=gammas[c].item(),
                class_weights=weights[c],
            ),
            logits,
        )
        torch.testing.assert_close(joint[0][:, column : column + 1], part[0], rtol=1e-6, atol=0)


def test_class_weights_leave_negatives_alone() -> None:
    logits, targets = example(classes=2)
    plain = sigmoid_focal_loss(logits, targets, gamma=1.0)
    heavy = sigmoid_focal_loss(logits, targets, gamma=1.0, class_weights=(2.0, 3.0))
    factor = 1 + targets * torch.tensor([1.0, 2.0])
    torch.testing.assert_close(heavy, plain * factor)


@pytest.mark.parametrize("whole", [False, True])
def test_what_is_ignored_has_no_loss_and_no_gradient(whole: bool) -> None:
    logits, targets = example(rows=40)
    ignore = torch.arange(40) % 3 == 0
    if whole:
        ignore = ignore[:, None] & (torch.arange(7) % 2 == 0)
    where = ignore if whole else ignore[:, None].expand(40, 7)
    expected = value_and_slope(lambda x: sigmoid_focal_loss(x, targets, alpha=0.25), logits)
    broken = logits.masked_fill(where, math.nan)  # an ignored anchor may hold anything
    found = value_and_slope(
        lambda x: sigmoid_focal_loss(x, targets, alpha=0.25, ignore=ignore), broken
    )
    for mine, other in zip(found, expected, strict=True):
        assert mine.equal(other.masked_fill(where, 0))


def test_an_ignored_row_may_have_any_label() -> None:
    labels = torch.tensor([-1, 2, 99])
    ignore = torch.tensor([True, False, True])
    loss = sigmoid_focal_loss(torch.zeros(3, 2), labels, ignore=ignore)
    assert loss[[0, 2]].eq(0).all() and loss[1].gt(0).all()


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (5, 0)])
def test_nothing_in_nothing_out(shape: tuple[int, ...]) -> None:
    logits = torch.zeros(shape, requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.zeros(shape))
    loss.sum().backward()
    assert loss.shape == shape and logits.grad is not None and logits.grad.shape == shape


@pytest.mark.parametrize("elements", [1, 50, 10_000])
def test_the_size_of_pieces_changes_nothing(elements: int, monkeypatch) -> None:
    logits, targets = example(rows=101)
    targets[70, 0] = 0.5
    ignore = torch.arange(101) % 5 == 0

    def run() -> tuple[Tensor, Tensor]:
        return value_and_slope(
            lambda x: sigmoid_focal_loss(x, targets, alpha=0.25, ignore=ignore), logits
        )

    whole = run()
    monkeypatch.setattr(losses.kernels.pieces, "CPU_ELEMENTS", elements)
    for mine, other in zip(run(), whole, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=0)


def test_reductions_agree_with_the_unreduced_loss() -> None:
    logits, targets = example()
    ignore = torch.arange(len(logits)) % 2 == 0
    arguments = {"alpha": 0.25, "ignore": ignore}
    loss = sigmoid_focal_loss(logits, targets, **arguments)
    total, slope = value_and_slope(
        lambda x: sigmoid_focal_loss(x, targets, reduction="sum", **arguments), logits
    )
    mean = sigmoid_focal_loss(logits, targets, reduction="mean", **arguments)
    assert total.item() == pytest.approx(loss.sum().item(), rel=1e-12)
    assert mean.item() == pytest.approx(loss.mean().item(), rel=1e-12)
    plain = logits.detach().requires_grad_()
    (sigmoid_focal_loss(plain, targets, **arguments).sum() * 0.5).backward()
    torch.testing.assert_close(slope, plain.grad)


def test_views_and_permuted_maps_are_welcome() -> None:
    maps_BKHW = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    targets_BHWK = torch.zeros(2, 4, 5, 3)
    permuted = value_and_slope(
        lambda x: sigmoid_focal_loss(x.permute(0, 2, 3, 1), targets_BHWK), maps_BKHW
    )
    straight = sigmoid_focal_loss(maps_BKHW.permute(0, 2, 3, 1).contiguous(), targets_BHWK)
    assert permuted[0].equal(straight) and permuted[1].shape == maps_BKHW.shape


def test_gamma_and_alpha_may_be_learned() -> None:
    logits, targets = example(rows=5, classes=2, scale=1.5)
    gamma = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    alpha = torch.tensor([0.3, 0.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, a, g: sigmoid_focal_loss(x, targets, alpha=a, gamma=g),
        (logits.requires_grad_(), alpha, gamma),
    )
    assert torch.autograd.gradgradcheck(
        lambda x, a, g: sigmoid_focal_loss(x, targets, alpha=a, gamma=g), (logits, alpha, gamma)
    )
    torch.testing.assert_close(
        sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma).detach(),
        sigmoid_focal_loss(logits, targets, alpha=alpha.tolist(), gamma=1.3).detach(),
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_reads_half_and_computes_in_single(dtype: torch.dtype) -> None:
    logits, targets = (values.float() for values in example())
    with torch.autocast("cpu", dtype=dtype):
        inside, slope = value_and_slope(
            lambda x: sigmoid_focal_loss(x, targets, alpha=0.25, gamma=0.5), logits.to(dtype)
        )
    outside = sigmoid_focal_loss(logits.to(dtype).float(), targets, alpha=0.25, gamma=0.5)
    assert inside.equal(outside) and slope.dtype == dtype


@settings(max_examples=60, deadline=None)
@given(
    logit=st.floats(-300, 300, width=32),
    target=st.floats(0, 1, width=32),
    gamma=st.floats(0, 8),
    alpha=st.floats(0, 1),
)
def test_any_input_is_finite_and_not_negative(logit, target, gamma, alpha) -> None:
    loss, slope = value_and_slope(
        lambda x: sigmoid_focal_loss(x, torch.tensor([[target]]), alpha=alpha, gamma=gamma),
        torch.tensor([[logit]]),
    )
    assert loss.isfinite().all() and loss.ge(0).all() and slope.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": torch.zeros(3, 2)}, r"targets: must be \[4, 2\] or \[4\] .* found \[3, 2\]"),
        ({"targets": torch.tensor([0, 1, 2, 3])}, r"targets: must be in 0..2, found 3"),
        ({"targets": torch.tensor([0, 1, 2, -1])}, r"targets: must be in 0..2, found -1"),
        ({"targets": torch.zeros(4)}, r"targets: must be integers, found torch.float32"),
        ({"gamma": -1}, "gamma: must be >= 0, found -1"),
        ({"gamma": math.inf}, "gamma: must be >= 0, found inf"),
        ({"gamma": (1.0, 2.0, 3.0)}, r"gamma: must be one number or one for each of 2 classes"),
        ({"alpha": 1.5}, r"alpha: must be in \[0, 1\], found 1.5"),
        ({"alpha": (0.1, 1.7)}, r"alpha: must be in \[0, 1\], found 1.7"),
        ({"alpha": (0.1,) * 3}, r"alpha: must be one number .* found \[3\]"),
        (
            {"ignore": torch.zeros(4)},
            r"ignore: must be bool \[4, 2\] or \[4\], found torch.float32",
        ),
        ({"ignore": torch.zeros(3).bool()}, r"ignore: must be bool .* found torch.bool \[3\]"),
        ({"reduction": "avg"}, "reduction: must be none, sum or mean, found 'avg'"),
    ],
)
def test_a_wrong_argument_says_what_is_allowed(arguments: dict, message: str) -> None:
    arguments = {"targets": torch.zeros(4, 2), **arguments}
    with pytest.raises(ValueError, match=f"^{message}"):
        sigmoid_focal_loss(torch.zeros(4, 2), **arguments)


def test_integer_logits_are_refused() -> None:
    with pytest.raises(ValueError, match="^logits: must be floating point, found torch.int64"):
        sigmoid_focal_loss(torch.zeros(4, 2, dtype=torch.int64), torch.zeros(4, 2))


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_float32_slopes_keep_their_digits_where_the_answer_is_wrong(gamma: float) -> None:
    # near a = 1 the factor 1 - a would cancel: at gamma 5 it cost 4e-6 of the gradient
    logits = torch.linspace(-2, 16, 2001)[:, None]
    slopes = []
    for dtype in (torch.float32, torch.float64):
        x = logits.to(dtype).clone().requires_grad_()
        sigmoid_focal_loss(x, torch.zeros_like(x), gamma=gamma).sum().backward()
        assert x.grad is not None
        slopes.append(x.grad.double())
    assert ((slopes[0] - slopes[1]) / slopes[1]).abs().max() < 1e-6 * max(1.0, gamma / 2)
