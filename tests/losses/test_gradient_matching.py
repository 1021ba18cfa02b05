"""Gradient-matched arms start with equal steps."""

import pytest
import torch
from torch import nn

from losses.cross_entropy import CrossEntropy
from losses.focal import Focal
from losses.gradient_matching import Scaled, gradient_norm, matching_scale


def network() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 5))
    return model, torch.randn(200, 8), (torch.rand(200, 5) < 0.05).float()


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_the_matched_arm_has_the_references_norm(gamma: float) -> None:
    model, inputs, targets = network()
    focal, reference = Focal(0.25, gamma), CrossEntropy()

    def total(loss) -> torch.Tensor:
        return loss.at(0.0).sigmoid(model(inputs), targets).sum()

    scale = matching_scale(total(focal), total(reference), model.parameters())
    matched = gradient_norm(total(Scaled(focal, scale)), model.parameters())
    goal = gradient_norm(total(reference), model.parameters())
    assert matched.item() == pytest.approx(goal.item(), rel=1e-5)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_scaling_reaches_both_forms_and_the_record() -> None:
    plain, scaled = CrossEntropy().at(0.0), Scaled(CrossEntropy(), 3.0)
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    targets = torch.eye(3)[labels]
    assert scaled.at(0.0).sigmoid(logits, targets).equal(plain.sigmoid(logits, targets) * 3)
    assert scaled.at(0.0).softmax(logits, labels).equal(plain.softmax(logits, labels) * 3)
    assert Scaled(Focal(0.25, 2.0), 3.0).values(0.0) == {"gamma": 2.0, "alpha": 0.25, "scale": 3.0}


def test_what_the_loss_does_not_reach_counts_nothing() -> None:
    used, unused = (torch.ones(2, requires_grad=True) for _ in range(2))
    assert gradient_norm(used.sum(), [used, unused]).item() == pytest.approx(2**0.5)
    assert gradient_norm(used.sum(), [unused]).item() == 0


@pytest.mark.parametrize("factor", [0.0, float("nan")])
def test_a_dead_gradient_is_refused(factor: float) -> None:
    weight = torch.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match="^loss: its gradient norm must be finite and > 0"):
        matching_scale(weight.sum() * factor, weight.sum(), [weight])
    with pytest.raises(ValueError, match="^reference: "):
        matching_scale(weight.sum(), weight.sum() * factor, [weight])


def test_a_useless_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="^scale: must be finite and > 0, found 0"):
        Scaled(CrossEntropy(), 0.0)
