"""The update of the weights: arithmetic, accumulation, clipping, and the choice to leave it out."""

import contextlib
from collections.abc import Iterator

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from experiments.engine.arithmetic import autocast
from experiments.engine.guards import sees_non_finite
from experiments.record.parts import Arithmetic


class Update(OptimWrapper):
    """mmengine's wrapper with either half precision on any device; mmengine's refuses a CPU.

    float16 gradients would vanish below 6e-8, so the loss is scaled up and gradients down again;
    the scale halves where they overflow, and such an update is left out, as is usual.
    `skip`: an update whose loss or gradient is no number is left out, and `skipped` says so.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        arithmetic: Arithmetic,
        accumulate: int,
        clip_norm: float | None,
        skip: bool,
        device: torch.device,
    ) -> None:
        super().__init__(optimizer, accumulative_counts=accumulate)
        self._arithmetic = arithmetic
        self._clip_norm = clip_norm
        self._skip = skip
        self._losses: list[Tensor] = []
        self._device = device
        scales = arithmetic.precision == "float16"
        self.scaler = torch.amp.GradScaler(device.type) if scales else None
        self.skipped = False

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast around the forward pass and the loss."""
        with super().optim_context(model), autocast(self._arithmetic, self._device):
            yield

    def backward(self, loss: Tensor, **arguments: object) -> None:
        """Gradients of one batch, scaled for float16."""
        if self._skip:
            self._losses.append(loss.detach())
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        super().backward(scaled, **arguments)

    def step(self, **arguments: object) -> None:
        """Clip, then move the weights, unless the update is to be left out."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        norm = self._gradient_norm() if self._skip or self._clip_norm is not None else None
        self.skipped = self._skip and sees_non_finite(
            self._losses, norm if self.scaler is None else None
        )
        self._losses.clear()
        if not self.skipped:
            self._move(norm)
        if self.scaler is not None:
            self.scaler.update()

    def _move(self, norm: Tensor | None) -> None:
        if self._clip_norm is not None and norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self._trained(), self._clip_norm, norm)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)

    def _trained(self) -> list[Tensor]:
        groups = self.optimizer.param_groups
        return [p for group in groups for p in group["params"] if p.grad is not None]

    def _gradient_norm(self) -> Tensor:
        gradients = [p.grad for p in self._trained() if p.grad is not None]
        return torch.nn.utils.get_total_norm(gradients)
