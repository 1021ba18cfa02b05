"""What a config may choose: the tables, their annotations, and the loss in force over training."""

import dataclasses
import pickle
import typing

import pytest
import torch

from losses import LOSSES, NORMALISERS, SCHEDULES
from losses.alpha import ClassFrequency, PaperAlpha
from losses.focal import Focal, FocalLoss
from losses.schedules import Constant, Linear, Staged


@pytest.mark.parametrize("table", [LOSSES, NORMALISERS, SCHEDULES])
def test_every_choice_is_a_frozen_dataclass_of_known_types(table: dict) -> None:
    for settings in table.values():
        assert dataclasses.is_dataclass(settings) and settings.__dataclass_params__.frozen
        hints = typing.get_type_hints(settings)
        assert set(hints) >= {field.name for field in dataclasses.fields(settings)}


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_works_at_its_defaults(name: str) -> None:
    scheduled = LOSSES[name]()
    loss = scheduled.at(0.5)
    logits = torch.randn(4, 6, 3, requires_grad=True)
    ignore = torch.zeros(4, 6, dtype=torch.bool)
    ignore[:, 0] = True
    found = loss.sigmoid(logits, torch.eye(3)[torch.arange(24).reshape(4, 6) % 3], ignore)
    found.sum().backward()
    assert found.shape == logits.shape and found[:, 0].eq(0).all() and found.sum() > 0
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert all(isinstance(value, float) for value in scheduled.values(0.5).values())


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"focal", "balanced_cross_entropy"}))
def test_every_loss_has_a_softmax_form(name: str) -> None:
    loss = LOSSES[name]().at(0.5)
    labels = torch.arange(24).reshape(4, 6) % 3
    found = loss.softmax(torch.randn(4, 6, 3), labels, labels == 0)
    assert found.shape == (4, 6) and found[labels == 0].eq(0).all() and found.sum() > 0


def test_a_constant_schedule_is_bit_equal_to_the_number() -> None:
    logits, targets = torch.randn(50, 4), torch.eye(4)[torch.arange(50) % 4]
    fixed, scheduled = Focal(0.25, 2.0), Focal(Constant(0.25), Constant(2.0))
    for progress in (0.0, 0.4, 1.0):
        assert fixed.at(progress) == scheduled.at(progress)
        assert fixed.values(progress) == scheduled.values(progress) == {"gamma": 2.0, "alpha": 0.25}
    assert fixed.at(0.5).sigmoid(logits, targets).equal(scheduled.at(0.5).sigmoid(logits, targets))


def test_soft_gamma_with_the_papers_alpha() -> None:
    soft = Focal(PaperAlpha(), Staged((0.0, 0.5, 2.0), (0.2, 0.4)))
    assert [soft.values(progress)["alpha"] for progress in (0.0, 0.2, 0.4)] == [0.75, 0.5, 0.25]


def test_a_ramp_through_gamma_below_one_trains_without_nan() -> None:
    soft = Focal(None, Linear(0.0, 2.0, (0.0, 1.0)))
    logits = torch.tensor([[-30.0, 30.0]], requires_grad=True)
    for step in range(21):
        soft.at(step / 20).sigmoid(logits, torch.tensor([[0.0, 1.0]])).sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_class_weights_wait_for_their_counts() -> None:
    waiting = Focal(None, 2.0, ClassFrequency())
    with pytest.raises(ValueError, match="^class_weights: not known yet"):
        waiting.at(0.0)
    known = waiting.with_class_counts((100, 300))
    assert known.at(0.0) == FocalLoss(None, 2.0, (1.5, 0.5))
    assert Focal().with_class_counts((1, 2)) == Focal()


def test_class_weights_act_in_both_forms() -> None:
    loss, plain = FocalLoss(None, 2.0, (1.5, 0.5)), FocalLoss(None, 2.0)
    logits, labels = torch.randn(6, 2), torch.arange(6) % 2
    weight = torch.tensor([1.5, 0.5])[labels]
    torch.testing.assert_close(loss.softmax(logits, labels), plain.softmax(logits, labels) * weight)
    targets = torch.eye(2)[labels]
    factor = torch.where(targets == 1, torch.tensor([1.5, 0.5]), 1.0)
    torch.testing.assert_close(
        loss.sigmoid(logits, targets), plain.sigmoid(logits, targets) * factor
    )


def test_settings_and_losses_travel_between_processes() -> None:
    soft = Focal(PaperAlpha(), Linear(0.0, 2.0))
    assert pickle.loads(pickle.dumps(soft)) == soft  # own bytes, as between processes
    assert pickle.loads(pickle.dumps(soft.at(0.3))) == soft.at(0.3)  # the same


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Focal(gamma=-1.0), "gamma: must be >= 0, found -1"),
        (lambda: Focal(gamma=Linear(1.0, -2.0)), "gamma: must be >= 0, found a schedule from -2"),
        (lambda: Focal(alpha=1.5), r"alpha: must be in \[0, 1\], found 1.5"),
        (lambda: Focal(alpha=(-0.1, 0.5)), "alpha: must be >= 0, found -0.1"),
        (lambda: Focal(class_weights=(1.0, -1.0)), "class_weights: must be >= 0, found -1"),
    ],
)
def test_a_wrong_setting_says_which_field(build, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build()
