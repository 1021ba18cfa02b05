"""The average is mmengine's, bit for bit, though it leaves out what does not train."""

import pytest
import torch
from mmengine.model import MomentumAnnealingEMA
from torch import nn

from experiments.engine.averaging import Average


def network() -> nn.Sequential:
    """A frozen convolution, then one that trains with a batch norm."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    layers[0].requires_grad_(False)
    return layers


def train(layers: nn.Sequential, averages: list[MomentumAnnealingEMA], updates: int) -> None:
    """SGD on noise; every average follows."""
    optimizer = torch.optim.SGD([p for p in layers.parameters() if p.requires_grad], 0.1)
    for _ in range(updates):
        optimizer.zero_grad()
        layers(torch.randn(2, 3, 6, 6)).square().mean().backward()
        optimizer.step()
        for average in averages:
            average.update_parameters(layers)


@pytest.mark.parametrize("momentum", [0.01, 0.5])
def test_same_bits_as_mmengines(momentum: float) -> None:
    layers = network()
    ours = Average(layers, momentum=momentum, gamma=10)
    theirs = MomentumAnnealingEMA(layers, momentum=momentum, gamma=10, update_buffers=True)
    layers.to(memory_format=torch.channels_last)  # as the engine does, after averages are made
    train(layers, [ours, theirs], 7)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
    moved = ours.state_dict()["module.1.weight"] - layers[1].weight
    assert moved.abs().max() > 0


def test_a_resumed_average_goes_on_with_the_same_bits() -> None:
    layers = network()
    whole = Average(layers, momentum=0.1, gamma=10)
    train(layers, [whole], 3)
    resumed = Average(layers, momentum=0.1, gamma=10)
    resumed.load_state_dict(whole.state_dict())
    train(layers, [whole, resumed], 3)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
