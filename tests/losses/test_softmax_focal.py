"""Softmax focal loss: cross-entropy at gamma 0, exact tails, dense maps, and no NaN anywhere."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import losses.kernels.pieces
from losses.focal import FocalLoss, sigmoid_focal_loss, softmax_focal_loss

GAMMAS = [0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0]


def value_and_slope(loss_of, logits: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the gradient of a sum in which every element has a factor of its own."""
    logits = logits.detach().requires_grad_()
    loss = loss_of(logits)
    factors = torch.linspace(0.5, 2.0, loss.numel(), dtype=loss.dtype).reshape(loss.shape)
    return loss.detach(), torch.autograd.grad((loss * factors).sum(), logits)[0]


def example(rows: int = 200, classes: int = 6, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(rows, classes, generator=generator, dtype=torch.float64) * scale
    return logits, torch.randint(classes, (rows,), generator=generator)


def plain_focal_loss(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """As it is usually written: log_softmax, gather, power."""
    log_p = logits.log_softmax(1).gather(1, labels[:, None]).squeeze(1)
    return -((1 - log_p.exp()) ** gamma) * log_p


@pytest.mark.parametrize("classes", [1, 2, 20])
def test_gamma_zero_is_cross_entropy(classes: int) -> None:
    logits, labels = example(classes=classes)
    ours = value_and_slope(lambda x: softmax_focal_loss(x, labels, gamma=0.0), logits)
    plain = value_and_slope(lambda x: F.cross_entropy(x, labels, reduction="none"), logits)
    for mine, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_equals_the_usual_formula_where_that_is_finite(gamma: float) -> None:
    logits, labels = example()
    ours = value_and_slope(lambda x: softmax_focal_loss(x, labels, gamma=gamma), logits)
    plain = value_and_slope(lambda x: plain_focal_loss(x, labels, gamma), logits)
    for mine, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_two_classes_are_the_sigmoid_form_of_their_difference(gamma: float) -> None:
    logits, labels = example(classes=2, scale=10.0)
    pair = softmax_focal_loss(logits, labels, gamma=gamma)
    single = sigmoid_focal_loss(logits[:, 1:] - logits[:, :1], labels[:, None] == 1, gamma=gamma)
    torch.testing.assert_close(pair, single[:, 0], rtol=1e-10, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("label", [0, 1])
def test_finite_at_every_logit(dtype: torch.dtype, gamma: float, label: int) -> None:
    logits = torch.zeros(401, 4, dtype=dtype)
    logits[:, 0] = torch.arange(-200, 201, dtype=dtype)
    loss, slope = value_and_slope(
        lambda x: softmax_focal_loss(x, torch.full((401,), label), gamma=gamma), logits
    )
    assert loss.isfinite().all() and slope.isfinite().all()
    assert loss.dtype == torch.float32 and slope.dtype == dtype


def test_the_usual_formula_turns_nan_on_the_way() -> None:
    logits, labels = torch.tensor([[20.0, 0.0]]), torch.tensor([0])
    _, usual = value_and_slope(lambda x: plain_focal_loss(x, labels, 0.5), logits)
    _, ours = value_and_slope(lambda x: softmax_focal_loss(x, labels, gamma=0.5), logits)
    assert usual.isnan().any() and ours.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_float32_keeps_the_digits_of_a_sure_answer(gamma: float) -> None:
    # 1 - softmax would be 0 here: the others have 3 * exp(-25) = 4e-11 together
    logits = torch.tensor([[25.0, 0.0, 0.0, 0.0]])
    wrong = 3 * math.exp(-25)
    loss, slope = value_and_slope(
        lambda x: softmax_focal_loss(x, torch.tensor([0]), gamma=gamma), logits
    )
    assert loss.item() == pytest.approx(wrong ** (1 + gamma), rel=1e-5)
    g = (1 + gamma) * wrong ** (1 + gamma)
    assert (slope / 0.5).tolist()[0] == pytest.approx([-g, g / 3, g / 3, g / 3], rel=1e-5)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_gradient_is_the_derivative(gamma: float) -> None:
    logits, labels = example(rows=6, classes=4, scale=2.0)
    logits[0] = 0.0  # all equal: the maximum is not one class
    weights = (0.5, 1.0, 2.0, 0.5)
    assert torch.autograd.gradcheck(
        lambda x: softmax_focal_loss(x, labels, alpha=weights, gamma=gamma),
        logits.requires_grad_(),
    )


def test_dense_maps_are_rows_in_another_order() -> None:
    maps_NKHW = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    labels_NHW = torch.arange(24).reshape(2, 3, 4) % 5
    labels_NHW[0, 0, 0] = -100
    dense = value_and_slope(lambda x: softmax_focal_loss(x, labels_NHW), maps_NKHW)
    rows = value_and_slope(
        lambda x: softmax_focal_loss(x.permute(0, 2, 3, 1), labels_NHW, class_axis=-1), maps_NKHW
    )
    flat = softmax_focal_loss(maps_NKHW.movedim(1, -1).reshape(-1, 5), labels_NHW.flatten())
    for mine, other in zip(dense, rows, strict=True):
        torch.testing.assert_close(mine, other)
    torch.testing.assert_close(dense[0].flatten(), flat)
    assert dense[0][0, 0, 0] == 0 and dense[1][0, :, 0, 0].eq(0).all()


def test_what_is_ignored_has_no_loss_and_no_gradient() -> None:
    logits, labels = example(rows=30)
    ignore = torch.arange(30) % 3 == 0
    expected = value_and_slope(lambda x: softmax_focal_loss(x, labels), logits)
    broken = logits.masked_fill(ignore[:, None], math.nan)
    by_mask = value_and_slope(
        lambda x: softmax_focal_loss(x, labels.masked_fill(ignore, 77), ignore=ignore), broken
    )
    by_index = value_and_slope(
        lambda x: softmax_focal_loss(x, labels.masked_fill(ignore, -1), ignore_index=-1), broken
    )
    for mine, other, whole in zip(by_mask, by_index, expected, strict=True):
        skip = ignore if whole.ndim == 1 else ignore[:, None]
        assert mine.equal(other) and mine.equal(whole.masked_fill(skip, 0))


def test_mean_divides_by_what_is_not_ignored() -> None:
    logits, labels = example(rows=10)
    labels[:4] = -100
    loss = softmax_focal_loss(logits, labels)
    mean = softmax_focal_loss(logits, labels, reduction="mean")
    assert mean.item() == pytest.approx(loss.sum().item() / 6)
    assert softmax_focal_loss(logits, labels, reduction="sum").item() == pytest.approx(
        loss.sum().item()
    )
    labels[:] = -100
    assert softmax_focal_loss(logits, labels, reduction="mean").item() == 0


def test_weights_and_gamma_are_read_by_label() -> None:
    logits, labels = example(classes=3)
    weights, gammas = torch.tensor([0.2, 1.0, 3.0]), torch.tensor([0.0, 0.5, 2.0])
    joint = softmax_focal_loss(logits, labels, alpha=weights, gamma=gammas)
    for label in range(3):
        rows = labels == label
        part = softmax_focal_loss(logits[rows], labels[rows], gamma=gammas[label].item())
        torch.testing.assert_close(joint[rows], part * weights[label].double())


def test_one_alpha_for_all_classes_is_warned_of() -> None:
    logits, labels = example()
    plain = softmax_focal_loss(logits, labels)
    with pytest.warns(UserWarning, match="^alpha: one number .* only the learning rate"):
        scaled = softmax_focal_loss(logits, labels, alpha=0.25)
    torch.testing.assert_close(scaled, 0.25 * plain)


def test_it_is_warned_of_beside_class_weights_too() -> None:
    logits, labels = example(classes=2)
    loss = FocalLoss(alpha=0.25, gamma=2.0, class_weights=(0.5, 1.5))
    with pytest.warns(UserWarning, match="^alpha: one number .* only the learning rate"):
        scaled = loss.softmax(logits, labels)
    plain = replace(loss, alpha=None).softmax(logits, labels)
    torch.testing.assert_close(scaled, 0.25 * plain)


def test_gamma_and_alpha_may_be_learned() -> None:
    logits, labels = example(rows=5, classes=3, scale=1.5)
    gamma = torch.tensor([0.5, 1.3, 2.0], dtype=torch.float64, requires_grad=True)
    alpha = torch.tensor([0.3, 0.6, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, a, g: softmax_focal_loss(x, labels, alpha=a, gamma=g),
        (logits.requires_grad_(), alpha, gamma),
    )
    torch.testing.assert_close(
        softmax_focal_loss(logits, labels, alpha=alpha, gamma=gamma).detach(),
        softmax_focal_loss(logits, labels, alpha=alpha.detach(), gamma=gamma.detach()).detach(),
    )


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4, 4), (2, 3, 0)])
def test_nothing_in_nothing_out(shape: tuple[int, ...]) -> None:
    logits = torch.zeros(shape, requires_grad=True)
    loss = softmax_focal_loss(logits, torch.zeros(shape[:1] + shape[2:], dtype=torch.int64))
    loss.sum().backward()
    assert loss.shape == shape[:1] + shape[2:]


@pytest.mark.parametrize("elements", [1, 50, 10_000])
@pytest.mark.parametrize("dense", [False, True])
def test_the_size_of_pieces_changes_nothing(elements: int, dense: bool, monkeypatch) -> None:
    logits, labels = example(rows=40)
    if dense:
        logits, labels = logits.reshape(4, 10, 6).movedim(1, 2), labels.reshape(4, 10)

    def run() -> tuple[Tensor, Tensor]:
        return value_and_slope(lambda x: softmax_focal_loss(x, labels), logits)

    whole = run()
    monkeypatch.setattr(losses.kernels.pieces, "CPU_ELEMENTS", elements)
    for mine, other in zip(run(), whole, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_reads_half_and_computes_in_single(dtype: torch.dtype) -> None:
    logits, labels = example()
    with torch.autocast("cpu", dtype=dtype):
        inside, slope = value_and_slope(lambda x: softmax_focal_loss(x, labels), logits.to(dtype))
    outside = softmax_focal_loss(logits.to(dtype).float(), labels)
    assert inside.equal(outside) and slope.dtype == dtype


def test_classes_come_last_in_the_protocol() -> None:
    logits, labels = example(rows=24)
    loss = FocalLoss(alpha=None, gamma=2.0).softmax(logits.reshape(2, 12, 6), labels.reshape(2, 12))
    torch.testing.assert_close(loss.flatten(), softmax_focal_loss(logits, labels, gamma=2.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"labels": torch.zeros(4, 3).long()},
            r"labels: must be the logits \[4, 3\] without axis 1",
        ),
        ({"labels": torch.tensor([0, 1, 2, 3])}, "labels: must be in 0..2, found 3"),
        ({"labels": torch.tensor([0, 1, 2, -1])}, "labels: must be in 0..2, found -1"),
        ({"labels": torch.zeros(4)}, "labels: must be integers, found torch.float32"),
        ({"ignore": torch.zeros(4, 1).bool()}, r"ignore: must be bool \[4\], found torch.bool"),
        ({"alpha": (1.0, 2.0)}, r"alpha: must be one number or one for each of 3 classes"),
        ({"gamma": -0.5}, "gamma: must be >= 0, found -0.5"),
        ({"reduction": "avg"}, "reduction: must be none, sum or mean, found 'avg'"),
    ],
)
def test_a_wrong_argument_says_what_is_allowed(arguments: dict, message: str) -> None:
    arguments = {"labels": torch.zeros(4, dtype=torch.int64), **arguments}
    with pytest.raises(ValueError, match=f"^{message}"):
        softmax_focal_loss(torch.zeros(4, 3), **arguments)
