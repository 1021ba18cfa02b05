"""The four layouts people know, each against its own formula in float64 numpy, written apart.

Reference gradients are central differences of those formulas.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from losses.conventions import (
    focal_loss_of_anchor_states,
    focal_loss_of_class_counts,
    focal_loss_of_shifted_labels,
    focal_loss_of_softmax,
)

Array = NDArray[np.float64]
GAMMAS = (0.0, 0.3, 0.5, 1.0, 2.0, 5.0)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array, axis: int) -> Array:
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def of_labels_above_zero(x: Array, labels: NDArray[np.int64], count: int, gamma: float) -> Array:
    """-alpha (1-p)^gamma log p / n where j + 1 is the label, with 1-alpha and 1-p elsewhere."""
    p = sigmoid(x)
    own = labels[:, None] == np.arange(1, x.shape[1] + 1)
    positive = -0.25 * (1 - p) ** gamma * np.log(p) / count
    return np.where(own, positive, -0.75 * p**gamma * np.log(1 - p) / count)


def of_states(
    p: Array, targets: Array, states: NDArray[np.int64], gamma: float, clip: float = 0.0
) -> float:
    """Rows that are not -1, over max(1, rows that are 1); Keras clips p for the logarithm."""
    p, targets, objects = p[states != -1], targets[states != -1], (states == 1).sum()
    safe = np.clip(p, clip, 1 - clip) if clip else p
    entropy = -targets * np.log(safe) - (1 - targets) * np.log(1 - safe)
    weight = np.where(targets > 0.5, 0.25 * (1 - p) ** gamma, 0.75 * p**gamma)
    return float((weight * entropy).sum() / max(1, objects))


def of_softmax(x: Array, labels: NDArray[np.int64], alpha: Array, gamma: float) -> Array:
    """-alpha_y (1-p_y)^gamma log p_y for each label; classes on axis 1."""
    p = np.take_along_axis(softmax(x, 1), labels[:, None], 1)[:, 0]
    return np.asarray(-alpha[labels] * (1 - p) ** gamma * np.log(p))


def of_counts(x: Array, labels: NDArray[np.int64], counts: list[int], gamma: float) -> Array:
    """-(n / n_y) (1-p_y)^gamma log p_y of the label's own sigmoid; classes on axis 1."""
    p = sigmoid(np.take_along_axis(x, labels[:, None], 1)[:, 0])
    frequency = np.array(counts)[labels] / sum(counts)
    return np.asarray(-((1 - p) ** gamma) * np.log(p) / frequency)


def slope(loss: Callable[[Array], float], x: Array, step: float = 1e-6) -> Array:
    gradient = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * step
            gradient[place] += sign * loss(moved) / (2 * step)
    return gradient


def agree(
    loss: Callable[[torch.Tensor], torch.Tensor],
    formula: Callable[[Array], float],
    shape: tuple[int, ...] = (5, 3),
) -> None:
    """Value and gradient of a scalar as `formula` has them, in float64 and in float32."""
    x = np.random.default_rng(3).normal(0, 2, shape)
    gradient = slope(formula, x)
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 2e-5)):
        logits = torch.tensor(x, dtype=dtype, requires_grad=True)
        value = loss(logits)
        value.backward()
        assert value.item() == pytest.approx(formula(x), rel=tolerance)
        assert logits.grad is not None
        np.testing.assert_allclose(
            logits.grad.numpy(), gradient, rtol=10 * tolerance, atol=tolerance
        )


DENSE = (2, 3, 2, 3)
LABELS = np.array([0, 1, 2, 3, 1])
MAP = np.random.default_rng(4).integers(0, 3, (2, 2, 3))


@pytest.mark.parametrize("gamma", GAMMAS)
def test_labels_above_zero_over_the_foreground_count(gamma: float) -> None:
    labels = torch.tensor(LABELS)

    def rows(x: Array) -> float:
        return float(of_labels_above_zero(x, LABELS, 4, gamma).sum())

    agree(lambda x: focal_loss_of_shifted_labels(x, labels, 4, gamma=gamma).sum(), rows)
    x = torch.randn(5, 3, dtype=torch.float64)
    each = focal_loss_of_shifted_labels(x, labels[:, None].int(), torch.tensor([4]), gamma=gamma)
    expected = of_labels_above_zero(x.numpy(), LABELS, 4, gamma)
    np.testing.assert_allclose(each.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_anchor_states_as_keras_writes_them(gamma: float) -> None:
    states = np.array([1, 0, -1, 1, 0])
    targets = np.eye(3)[[0, 1, 1, 2, 0]] * (states == 1)[:, None]
    truth = np.concatenate([targets, states[:, None]], 1)  # the last column holds the states

    def rows(x: Array) -> float:
        return of_states(sigmoid(x), truth[:, :-1], states, gamma, clip=1e-7)

    agree(
        lambda x: focal_loss_of_anchor_states(
            x, torch.tensor(truth[:, :-1]).to(x), torch.tensor(truth[:, -1]), gamma=gamma
        ),
        rows,
    )


def test_a_sure_mistake_costs_16_in_keras_and_its_logit_here() -> None:
    x, states = np.array([[-40.0]]), np.array([1])
    keras = of_states(sigmoid(x), np.ones((1, 1)), states, 2.0, clip=1e-7) / 0.25
    logits = torch.tensor(x, requires_grad=True)
    here = focal_loss_of_anchor_states(logits, torch.ones(1, 1), torch.tensor([1])) / 0.25
    here.backward()
    assert keras == pytest.approx(16.118, abs=1e-3) and here.item() == pytest.approx(40)
    assert logits.grad is not None and logits.grad.item() == pytest.approx(-1)
    moved = of_states(sigmoid(x + 1), np.ones((1, 1)), states, 2.0, clip=1e-7) / 0.25
    assert moved == pytest.approx(keras, rel=1e-12)  # flat: Keras teaches nothing there


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("size_average", [True, False])
def test_softmax_with_a_weight_each_class(gamma: float, size_average: bool) -> None:
    alpha, labels = np.array([0.5, 1.0, 4.0]), LABELS % 3
    reduce = np.mean if size_average else np.sum

    def rows(x: Array) -> float:
        return float(reduce(of_softmax(x, labels, alpha, gamma)))

    def dense(x: Array) -> float:
        return float(reduce(of_softmax(x, MAP, alpha, gamma)))

    for weights, column in (
        ([0.5, 1.0, 4.0], labels),
        (torch.tensor(alpha)[:, None], labels[:, None]),
    ):
        agree(
            lambda x, weights=weights, column=column: focal_loss_of_softmax(
                x, torch.tensor(column), alpha=weights, gamma=gamma, size_average=size_average
            ),
            rows,
        )  # [K, 1] and [N, 1] as often written
    agree(
        lambda x: focal_loss_of_softmax(
            x, torch.tensor(MAP)[:, None], alpha=alpha, gamma=gamma, size_average=size_average
        ),
        dense,
        DENSE,
    )


def test_softmax_without_weights_is_cross_entropy_at_gamma_0() -> None:
    logits, labels = torch.randn(7, 4), torch.tensor([0, 1, 2, 3, 0, -100, 1])
    loss = focal_loss_of_softmax(logits, labels, gamma=0.0)
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item())


@pytest.mark.parametrize("gamma", GAMMAS)
def test_class_counts_keep_the_own_sigmoid_and_nothing_else(gamma: float) -> None:
    counts, labels = [10, 60, 30], LABELS % 3

    def rows(x: Array) -> float:
        return float(of_counts(x, labels, counts, gamma).mean())

    def dense(x: Array) -> float:
        return float(of_counts(x, MAP, counts, gamma).mean())

    agree(lambda x: focal_loss_of_class_counts(x, torch.tensor(labels), counts, gamma=gamma), rows)
    for column in (MAP, MAP[:, None]):
        agree(
            lambda x, column=column: focal_loss_of_class_counts(
                x, torch.tensor(column), counts, gamma=gamma
            ),
            dense,
            DENSE,
        )
    logits = torch.randn(5, 3, requires_grad=True)
    each = focal_loss_of_class_counts(
        logits, torch.tensor(labels), counts, gamma=gamma, reduction="none"
    )
    each.sum().backward()
    assert each.shape == (5,) and logits.grad is not None
    own = torch.nn.functional.one_hot(torch.tensor(labels), 3).bool()
    assert logits.grad[~own].eq(0).all() and logits.grad[own].lt(0).all()  # all only ever rise


@pytest.mark.parametrize("gamma", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("size", [8.0, 17.0, 40.0, 120.0, 200.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_sure_logits_have_finite_gradients_below_gamma_1(
    gamma: float, size: float, dtype: torch.dtype
) -> None:
    signs = torch.tensor([[1.0, -1.0, -1.0], [-1.0, 1.0, 1.0]]) * size
    labels, one_hot = torch.tensor([0, 0]), torch.tensor([[1.0, 0, 0], [1.0, 0, 0]])
    for loss in (
        lambda x: focal_loss_of_shifted_labels(x, labels + 1, 2, gamma=gamma).sum(),
        lambda x: focal_loss_of_anchor_states(x, one_hot, torch.ones(2).long(), gamma=gamma),
        lambda x: focal_loss_of_softmax(x, labels, alpha=[1.0, 2.0, 3.0], gamma=gamma),
        lambda x: focal_loss_of_class_counts(x, labels, [1, 2, 3], gamma=gamma),
    ):
        logits = signs.to(dtype).requires_grad_()
        value = loss(logits)
        value.backward()
        assert value.isfinite() and logits.grad is not None and logits.grad.isfinite().all()
        assert logits.grad[1, 0] < 0  # the sure mistake still learns


def test_the_logarithm_of_a_rounded_softmax_is_lost() -> None:
    x = torch.tensor([[120.0, 0.0]], requires_grad=True)
    usual = -((1 - x.softmax(1)[0, 1]) ** 2) * x.softmax(1)[0, 1].log()
    usual.backward()
    assert usual.isinf() and x.grad is not None and x.grad.isnan().any()
    here = focal_loss_of_softmax(x, torch.tensor([1]))
    assert here.item() == pytest.approx(120)


def test_a_batch_without_objects_divides_by_one() -> None:
    loss = focal_loss_of_shifted_labels(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), 0)
    assert loss.isfinite().all() and loss.gt(0).all()
    states = torch.zeros(2, dtype=torch.int64)
    single = focal_loss_of_anchor_states(torch.zeros(2, 3), torch.zeros(2, 3), states)
    assert single.item() == pytest.approx(loss.sum().item())


def test_other_labels_states_and_weights_are_refused() -> None:
    zeros = torch.zeros(1, 3)
    with pytest.raises(ValueError, match="^labels: must be in 0..3, found 4"):
        focal_loss_of_shifted_labels(zeros, torch.tensor([4]), 1)
    with pytest.raises(ValueError, match="^states: "):
        focal_loss_of_anchor_states(zeros, zeros, torch.tensor([2]))
    with pytest.raises(ValueError, match=r"^alpha: must be one for each of 3 classes"):
        focal_loss_of_softmax(zeros, torch.tensor([0]), alpha=torch.tensor([[0.2, 0.3, 0.5]]))
    with pytest.raises(ValueError, match=r"^counts: must be one for each of 3 classes, found 2"):
        focal_loss_of_class_counts(zeros, torch.tensor([0]), [1, 2])
    with pytest.raises(ValueError, match="^labels: must be in 0..2, found 3"):
        focal_loss_of_class_counts(zeros, torch.tensor([3]), [1, 2, 3])
