"""Darknet's building blocks. Shapes: B images, C channels, H x W cells.

Source: Redmon & Farhadi 2016 (arXiv:1612.08242) and Darknet's convolutional, batch-norm and reorg
layers.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.1


class DarknetBatchNorm(nn.BatchNorm2d):
    """Batch norm that divides by the unbiased standard deviation while training, as Darknet does.

    The difference to torch is a factor sqrt((n - 1) / n) over n = B * H * W values: .7 % at 75
    values.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        if not self.training:
            return super().forward(input)
        values = input.numel() // input.shape[1]
        return F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight * math.sqrt((values - 1) / values),
            self.bias,
            True,
            float(self.momentum or 0.0),
            self.eps,
        )


class ConvBlock(nn.Module):
    """Convolution, batch norm and leaky ReLU of slope .1; the same height and width come out."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm: nn.Module = DarknetBatchNorm(outputs)
        initialise(self.convolution)

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H, W]."""
        return F.leaky_relu_(self.norm(self.convolution(maps_BCHW)), LEAK)

    def fuse(self) -> None:
        """Fold the running statistics into the convolution, for inference only."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.convolution = nn.utils.fusion.fuse_conv_bn_eval(
                self.convolution.eval(), self.norm.eval()
            )
            self.norm = nn.Identity()


def initialise(convolution: nn.Conv2d) -> None:
    """Weights N(0, sqrt(2 / (k * k * c))) over c input channels and biases 0, as Darknet starts."""
    fan_in = convolution.weight[0].numel()
    nn.init.normal_(convolution.weight, std=math.sqrt(2 / fan_in))
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def reorg(maps_BCHW: Tensor) -> Tensor:
    """Darknet's stride-2 reorg: [B, C, H, W] to [B, 4C, H/2, W/2]; C a multiple of 4, H and W even.

    This is not a pixel unshuffle. Darknet reads the map as [C/4, 2H, 2W], takes every second row
    and column of that, and reads the result as 4C channels, which mixes places and channels; files
    of trained weights rely on it (`reorg_cpu` with forward = 0).
    """
    images, channels, height, width = maps_BCHW.shape
    if channels % 4 or height % 2 or width % 2:
        raise ValueError(
            f"reorg: needs channels in 4s, an even height and width, found {list(maps_BCHW.shape)}"
        )
    wide = maps_BCHW.reshape(images, channels // 4, height, 2, width, 2)
    return wide.permute(0, 3, 5, 1, 2, 4).reshape(images, 4 * channels, height // 2, width // 2)


def scaled(channels: int, width: float) -> int:
    """`channels` times the width multiplier, rounded to a multiple of 8 and at least 8."""
    return max(8, round(channels * width / 8) * 8)


def darknet_layers(module: nn.Module) -> list[ConvBlock | nn.Conv2d]:
    """The blocks and bare convolutions of `module`, in the order in which they were registered."""
    found: list[ConvBlock | nn.Conv2d] = []
    inside: set[int] = set()
    for part in module.modules():
        if isinstance(part, ConvBlock):
            found.append(part)
            inside.add(id(part.convolution))
        elif isinstance(part, nn.Conv2d) and id(part) not in inside:
            found.append(part)
    return found


@torch.no_grad()
def set_batch_norm(module: nn.Module, momentum: float, eps: float) -> None:
    """Set the momentum and eps of every Darknet batch norm inside `module`."""
    for part in module.modules():
        if isinstance(part, DarknetBatchNorm):
            part.momentum = momentum
            part.eps = eps
