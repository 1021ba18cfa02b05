"""The average of a detector's weights over updates, at the cost of those that change."""

from collections.abc import Iterator

import torch
from mmengine.model import MomentumAnnealingEMA
from torch import Tensor, nn


class Average(MomentumAnnealingEMA):
    """mmengine's average, to the bit, without the parameters that do not train.

    mmengine goes through the whole state dict anew at each update: 12 ms of 115 ms an update of the
    glyphs' YOLOv2, where 14 of 314 tensors train.
    """

    def __init__(self, model: nn.Module, *, momentum: float, gamma: int) -> None:
        super().__init__(model, momentum=momentum, gamma=gamma, update_buffers=True)
        self._pairs: tuple[list[Tensor], list[Tensor]] | None = None

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards `model`, which must stay where it is from the second call on."""
        if self.steps == 0:
            super().update_parameters(model)
            return
        if self._pairs is None:
            pairs = list(self._changing(model))
            self._pairs = [average for average, _ in pairs], [source for _, source in pairs]
        steps = int(self.steps.item())
        momentum = max(self.momentum, self.gamma / (self.gamma + steps))
        torch._foreach_lerp_(*self._pairs, momentum)  # as torch.optim.swa_utils does
        self.steps += 1

    def _changing(self, model: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        """Average and source of parameters that train and of buffers, as far as they are floats."""
        frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
        for name, source in model.state_dict().items():
            average: Tensor = self.avg_parameters[name]
            if name not in frozen and average.dtype.is_floating_point:
                yield average.data, source.data
