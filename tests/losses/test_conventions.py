"""The two layouts people know, against the sums written out."""

import pytest
import torch

from losses.conventions import focal_loss_of_anchor_states, focal_loss_of_shifted_labels
from losses.focal import sigmoid_focal_loss


def test_shifted_labels_put_class_one_in_column_zero() -> None:
    logits = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 0, 3, 1])
    targets = torch.nn.functional.one_hot(labels, 4)[:, 1:].float()
    expected = sigmoid_focal_loss(logits, targets, alpha=0.25, gamma=2.0) / 5
    assert focal_loss_of_shifted_labels(logits, labels, 5).equal(expected)
    column = focal_loss_of_shifted_labels(logits, labels[:, None], torch.tensor([5]))
    assert column.equal(expected)


def test_a_batch_without_objects_divides_by_one() -> None:
    loss = focal_loss_of_shifted_labels(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), 0)
    assert loss.isfinite().all() and loss.gt(0).all()
    states = torch.zeros(2, dtype=torch.int64)
    single = focal_loss_of_anchor_states(torch.zeros(2, 3), torch.zeros(2, 3), states)
    assert single.item() == pytest.approx(loss.sum().item())


def test_anchor_states_skip_the_ignored_and_divide_by_objects() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 30, 4, generator=generator, requires_grad=True)
    targets = (torch.rand(2, 30, 4, generator=generator) < 0.1).float()
    states = torch.randint(-1, 2, (2, 30), generator=generator)
    loss = focal_loss_of_anchor_states(logits, targets, states, alpha=0.3, gamma=1.5)
    loss.backward()
    element = sigmoid_focal_loss(logits.detach(), targets, alpha=0.3, gamma=1.5)
    expected = element[states != -1].sum() / (states == 1).sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert logits.grad is not None and logits.grad[states == -1].eq(0).all()


def test_states_may_be_floats_as_keras_writes_them() -> None:
    logits, targets = torch.randn(3, 2), torch.zeros(3, 2)
    states = torch.tensor([1, 0, -1])
    whole = focal_loss_of_anchor_states(logits, targets, states)
    assert whole.equal(focal_loss_of_anchor_states(logits, targets, states.float()))


def test_other_labels_and_states_are_refused() -> None:
    with pytest.raises(ValueError, match="^labels: must be in 0..3, found 4"):
        focal_loss_of_shifted_labels(torch.zeros(1, 3), torch.tensor([4]), 1)
    with pytest.raises(ValueError, match="^states: "):
        focal_loss_of_anchor_states(torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([2]))
