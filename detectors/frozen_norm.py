"""Frozen batch norm at no cost: its scale goes into the convolution before it.

A frozen norm is y = x * scale + shift with constants, so convolution and norm are one convolution
with weight * scale and bias shift. The product is formed at every call: the convolution's own
weight is what trains and what the state dict holds, under the names and with the values it always
had.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from timm.layers.conv2d_same import Conv2dSame, conv2d_same
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d


class _Folded:
    """What a folded convolution has beside its own class; the norm is no submodule of it."""

    norm: nn.Module

    def affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of the norm, [C] each."""
        norm = cast(Any, self.norm)
        with torch.no_grad():
            scale: Tensor = norm.weight * (norm.running_var + norm.eps).rsqrt()
            shift: Tensor = norm.bias - norm.running_mean * scale
        return scale, shift

    def convolved(self, input: Tensor, convolve: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """`convolve(weight, bias)` with norm and convolution in one.

        What backward needs of the folded weight is formed again then: kept, it would be a second
        copy of all weights (82 MiB of ResNet-50's 5 stages) next to the activations.
        """
        scale_C, shift_C = self.affine()
        plain, scale = cast(Any, self).weight, scale_C.view(-1, 1, 1, 1)
        kind = _dtype(input, plain)
        folded = (plain * scale).to(kind)
        trains = torch.is_grad_enabled() and (input.requires_grad or plain.requires_grad)
        if not trains or torch.compiler.is_compiling():  # which chooses itself what to form again
            return convolve(folded, shift_C)
        address = folded.data_ptr()

        def keep(saved: Tensor) -> Tensor | None:
            return None if saved.data_ptr() == address else saved

        def again(kept: Tensor | None) -> Tensor:
            with torch.no_grad():
                return (plain * scale).to(kind) if kept is None else kept

        with torch.autograd.graph.saved_tensors_hooks(keep, again):
            return convolve(folded, shift_C)


def _dtype(input: Tensor, weight: Tensor) -> torch.dtype:
    """What a convolution computes in: autocast's type where it is on."""
    device = input.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


class FoldedConv2d(_Folded, nn.Conv2d):
    """`nn.Conv2d` that applies a frozen norm too."""

    def forward(self, input: Tensor) -> Tensor:
        """Maps to maps, as convolution and norm would make them one after the other."""
        return self.convolved(input, lambda weight, bias: self._conv_forward(input, weight, bias))


class FoldedConv2dSame(_Folded, Conv2dSame):
    """timm's convolution with TensorFlow's padding that applies a frozen norm too."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps to maps, as convolution and norm would make them one after the other."""
        stride, padding, dilation = (
            cast(tuple[int, int], pair) for pair in (self.stride, self.padding, self.dilation)
        )

        def convolve(weight: Tensor, bias: Tensor) -> Tensor:
            found: Tensor = conv2d_same(x, weight, bias, stride, padding, dilation, self.groups)
            return found

        return self.convolved(x, convolve)


class PassedNorm(FrozenBatchNorm2d):  # type: ignore[misc]
    """torchvision's frozen norm when a convolution has done its work."""

    def forward(self, x: Tensor) -> Tensor:
        """What came in."""
        return x


class PassedBatchNorm(nn.BatchNorm2d):
    """A batch norm held in eval mode when a convolution has done its work."""

    def forward(self, input: Tensor) -> Tensor:
        """What came in."""
        return input


class PassedBatchNormAct(BatchNormAct2d):
    """timm's norm with activation when a convolution has done the norm's work."""

    def forward(self, x: Tensor) -> Tensor:
        """The activation alone."""
        activated: Tensor = self.act(self.drop(x))
        return activated


_CONVOLUTIONS = {nn.Conv2d: FoldedConv2d, Conv2dSame: FoldedConv2dSame}
_NORMS = {
    FrozenBatchNorm2d: PassedNorm,
    nn.BatchNorm2d: PassedBatchNorm,
    BatchNormAct2d: PassedBatchNormAct,
}


def fold_frozen_norms(network: nn.Module) -> int:
    """Fold every norm of `network` into the convolution whose output it reads; returns how many.

    All norms of the network must be frozen, that is constant. Which norm reads which convolution is
    seen by watching one small image pass; a norm that reads something else stays as it is, and so
    does one whose convolution has a bias or is of a class not known here.
    """
    pairs = _watch(network)
    for convolution, norm in pairs:
        convolution.__class__ = _CONVOLUTIONS[type(convolution)]
        object.__setattr__(convolution, "norm", norm)  # past nn.Module, which would adopt it
        norm.__class__ = _NORMS[type(norm)]
    return len(pairs)


@torch.no_grad()
def materialise(network: nn.Module) -> int:
    """Write each folded norm into its convolution's weight and bias for good, for inference alone;
    returns how many.

    It saves forming the product at every call.
    """
    plain = {FoldedConv2d: nn.Conv2d, FoldedConv2dSame: Conv2dSame}
    found = [module for module in network.modules() if type(module) in plain]
    for module in found:
        folded = cast(FoldedConv2d, module)
        scale_C, shift_C = folded.affine()
        folded.weight = nn.Parameter(folded.weight * scale_C.view(-1, 1, 1, 1), requires_grad=False)
        folded.bias = nn.Parameter(shift_C, requires_grad=False)
        folded.__class__ = plain[type(module)]
    return len(found)


def _watch(network: nn.Module) -> list[tuple[nn.Conv2d, nn.Module]]:
    makers: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # tensors are kept, or ids would be reused
    pairs: list[tuple[nn.Conv2d, nn.Module]] = []

    def made(module: nn.Module, _: Any, output: Tensor) -> None:
        makers[id(output)] = (cast(nn.Conv2d, module), output)

    def reads(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found = makers.pop(id(inputs[0]), None)
        if found is not None and found[0].bias is None:
            pairs.append((found[0], module))

    hooks = [m.register_forward_hook(made) for m in network.modules() if type(m) in _CONVOLUTIONS]
    hooks += [m.register_forward_pre_hook(reads) for m in network.modules() if type(m) in _NORMS]
    training = network.training
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, 64, 64))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return pairs
