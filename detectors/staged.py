"""A backbone in stages, of which those at the front may be frozen and be run by themselves."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn

from detectors.base import RGB, Backbone


class Step(NamedTuple):
    """A module of a chain, and whether its output is one of the backbone's maps."""

    module: nn.Module
    wanted: bool


def is_fixed(module: nn.Module) -> bool:
    """Whether a module in training mode gives the same for the same images all the time: nothing in
    it trains, keeps statistics or draws numbers.
    """
    if any(parameter.requires_grad for parameter in module.parameters()):
        return False
    changing = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd, DropPath)
    return not any(part.training and isinstance(part, changing) for part in module.modules())


class StagedBackbone(Backbone):
    """A backbone that keeps its frozen modules out of training mode, whatever `train()` is told.

    Where its modules run one after the other (`settle`), those at the front that are frozen can be
    run by themselves.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], mean: RGB, std: RGB):
        super().__init__()
        self.channels, self.strides = tuple(channels), tuple(strides)
        self.pixel_mean, self.pixel_std = mean, std
        self._still: list[nn.Module] = []  # modules held in eval mode
        self._steps: list[Step] = []
        self._front, self._whole = 0, False  # how many steps at the front are fixed; or all is

    def hold(self, module: nn.Module, *, parameters: bool = True) -> None:
        """Keep `module` in eval mode for good and, with `parameters`, without gradients."""
        self._still.append(module)
        module.eval()
        if parameters:
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> "StagedBackbone":
        """As nn.Module.train, but for what is held."""
        super().train(mode)
        for module in self._still:
            module.eval()
        return self

    def settle(self, steps: Sequence[Step]) -> None:
        """Note the order of modules, and what is fixed now; call it once all is held that will be.

        No steps are known of a network that is more than a chain.
        """
        self._steps = list(steps)
        self._whole = is_fixed(self)
        changing = (number for number, step in enumerate(steps) if not is_fixed(step.module))
        self._front = next(changing, len(steps))
        front = [step.module for step in steps[: self._front]]
        if not any(list(module.parameters()) for module in front):
            self._front = 0  # nothing is computed there that would be worth keeping

    def fixed(self) -> tuple[nn.Module, ...]:
        """The modules at its front that training never changes."""
        return (self,) if self._whole else tuple(step.module for step in self._steps[: self._front])

    def begin(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """The maps of fixed steps that are wanted, and last what the first other step takes."""
        if self._whole:
            maps: tuple[Tensor, ...] = self(images_BCHW)
            return maps
        x = images_BCHW.contiguous(memory_format=torch.channels_last)
        return tuple(chained(self._steps[: self._front], x, keep_last=True)) or (x,)

    def finish(self, begun: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Run the steps that are not fixed."""
        if self._whole or not self._front:
            return begun if self._whole else super().finish(begun)
        wanted = sum(step.wanted for step in self._steps[: self._front])
        return (*begun[:wanted], *chained(self._steps[self._front :], begun[-1]))


def chained(steps: Sequence[Step], x: Tensor, *, keep_last: bool = False) -> list[Tensor]:
    """Run `steps` one after the other; gives the wanted maps, and the last one if it is kept."""
    maps = []
    for number, step in enumerate(steps, 1):
        x = step.module(x)
        if step.wanted or (keep_last and number == len(steps)):
            maps.append(x)
    return maps
