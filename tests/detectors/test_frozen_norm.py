"""Frozen norms inside their convolutions: the same numbers, gradients and state dict."""

import copy
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from detectors.frozen_norm import FoldedConv2d, fold_frozen_norms, materialise


def unsettle(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif name.endswith("running_mean"):
            tensor.normal_(0, 0.2, generator=generator)
    return network.eval()


def resnet() -> nn.Module:
    network = torchvision.models.resnet18(norm_layer=FrozenBatchNorm2d)
    return unsettle(nn.Sequential(*list(network.children())[:-2]))


def lite() -> nn.Module:
    network: nn.Module = timm.create_model(
        "tf_efficientnet_lite0", features_only=True, out_indices=(2,)
    )
    network = unsettle(network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.requires_grad_(False)
    return network


def last(found: Tensor | list[Tensor]) -> Tensor:
    return found if isinstance(found, Tensor) else found[-1]


@pytest.mark.parametrize(("build", "norms"), [(resnet, 20), (lite, 48)])
def test_folding_changes_no_number_and_no_name(build: Any, norms: int) -> None:
    # In float64: in float32 a rounding can put an activation on the other side of a kink.
    torch.manual_seed(0)
    network = build()
    folded = copy.deepcopy(network)
    assert fold_frozen_norms(folded) == norms
    network.double()
    folded.double()
    assert list(folded.state_dict()) == list(network.state_dict())
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)).double()
    results = []
    for each in (network, folded):
        out = last(each(images))
        (out * torch.linspace(0, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        results.append((out.detach(), {n: p.grad for n, p in each.named_parameters()}))
    (plain, plain_gradients), (quick, quick_gradients) = results
    assert torch.allclose(plain, quick, rtol=1e-9, atol=1e-9 * plain.abs().max().item())
    for name, gradient in plain_gradients.items():
        other = quick_gradients[name]
        if gradient is None:
            assert other is None
        else:
            assert other is not None
            assert (gradient - other).abs().max() <= 1e-8 * gradient.abs().max()


def test_a_copy_reads_its_own_norm() -> None:
    """Averaged weights live in a deep copy: it must not look at the norms of the original."""
    network = resnet()
    fold_frozen_norms(network)
    twin = copy.deepcopy(network)
    first = next(m for m in twin.modules() if isinstance(m, FoldedConv2d))
    assert any(first.norm is module for module in twin.modules())
    assert not any(first.norm is module for module in network.modules())


def test_a_norm_that_reads_no_convolution_is_left_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)).eval()
    assert fold_frozen_norms(network) == 0
    assert type(network[2]) is nn.BatchNorm2d


def test_a_step_keeps_no_copy_of_the_weights() -> None:
    """Between forward and backward the folded weights would be as large as all weights again."""
    network = nn.Sequential(
        nn.Conv2d(3, 512, 3, padding=1, bias=False),
        FrozenBatchNorm2d(512),
        nn.Conv2d(512, 512, 3, padding=1, bias=False),
        FrozenBatchNorm2d(512),
    )
    assert fold_frozen_norms(network) == 2
    network(torch.randn(1, 3, 4, 4)).sum().backward()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        out = network(torch.randn(1, 3, 4, 4))
    events = profile.profiler.kineto_results.events()  # type: ignore[union-attr]
    alive = sum(event.nbytes() for event in events if event.name() == "[memory]")
    assert out.requires_grad and 0 < alive < 2**20 < 512 * 512 * 9 * 4


@pytest.mark.parametrize("build", [resnet, lite])
def test_materialised_norms_give_the_very_same_numbers(build: Any) -> None:
    network = build()
    fold_frozen_norms(network)
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = last(network(images))
        assert materialise(network) > 0
        assert not any(isinstance(module, FoldedConv2d) for module in network.modules())
        assert torch.equal(last(network(images)), expected)


@pytest.mark.parametrize("build", [resnet, lite])
def test_folded_layers_compile_as_one_graph(build: Any) -> None:
    folded = copy.deepcopy(build())
    fold_frozen_norms(folded)
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    compiled = torch.compile(folded, backend="eager", fullgraph=True)
    torch.testing.assert_close(last(compiled(images)), last(folded(images)))
