"""The optimiser and its parameter groups; the learning rate as a pure function of the iteration."""

import bisect
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Optimizer:
    """SGD or AdamW. `decay`: which parameters shrink; Darknet decays convolution weights only."""

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.01  # per iteration of the whole (accumulated) batch
    momentum: float = 0.9  # sgd only
    betas: tuple[float, float] = (0.9, 0.999)  # adamw only
    weight_decay: float = 1e-4
    decay: Literal["all", "weights"] = "weights"  # weights: neither biases nor normalisation
    backbone_lr_factor: float = 1.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr: must be > 0, found {self.lr}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay: must be >= 0, found {self.weight_decay}")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ValueError(f"clip_norm: must be > 0 or null, found {self.clip_norm}")


@dataclass(frozen=True, slots=True)
class LearningRate:
    """Factor on `optimizer.lr` by iteration: a warm-up, then constant, steps or a cosine to
    `final`.
    """

    shape: Literal["constant", "steps", "cosine"] = "cosine"
    warmup_iterations: int = 0
    warmup_power: float = 1.0  # 1: linear; 4: Darknet's burn-in
    warmup_start: float = 0.0  # factor at iteration 0
    steps: tuple[
        float, ...
    ] = ()  # fractions of training where the rate is multiplied by `step_factor`
    step_factor: float = 0.1
    final: float = 0.0  # cosine's last factor

    def __post_init__(self) -> None:
        if self.shape == "steps" and not self.steps:
            raise ValueError("steps: needed for shape 'steps', for example [0.67, 0.89]")
        if any(not 0 < step < 1 for step in self.steps) or list(self.steps) != sorted(self.steps):
            raise ValueError(f"steps: rising fractions between 0 and 1, found {list(self.steps)}")
        if self.warmup_iterations < 0:
            raise ValueError(f"warmup_iterations: must be >= 0, found {self.warmup_iterations}")

    def factor(self, iteration: int, iterations: int) -> float:
        """The factor for the update numbered `iteration` (from 0) of `iterations`."""
        if iteration < self.warmup_iterations:
            ramp = float(((iteration + 1) / self.warmup_iterations) ** self.warmup_power)
            return self.warmup_start + (1 - self.warmup_start) * ramp
        if self.shape == "steps":
            # Rounded so that a fraction such as 2/3 of 90,000 means iteration 60,000 exactly.
            passed = [round(step * iterations) for step in self.steps]
            return float(self.step_factor ** bisect.bisect_right(passed, iteration))
        if self.shape == "cosine":
            rest = max(1, iterations - self.warmup_iterations)
            phase = (iteration - self.warmup_iterations) / rest
            return self.final + (1 - self.final) * (1 + math.cos(math.pi * phase)) / 2
        return 1.0


def build_optimizer(settings: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser over four groups: backbone or not, decayed or not."""
    normalisations = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
    plain = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if isinstance(module, normalisations) or name == "bias"
    }
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decayed = settings.decay == "all" or id(parameter) not in plain
            groups.setdefault((".backbone." in f".{name}", decayed), []).append(parameter)
    built = [
        {
            "params": parameters,
            "lr": settings.lr * (settings.backbone_lr_factor if backbone else 1.0),
            "weight_decay": settings.weight_decay if decayed else 0.0,
        }
        for (backbone, decayed), parameters in groups.items()
    ]
    for group in built:
        group["initial_lr"] = group["lr"]
    if settings.name == "adamw":
        return torch.optim.AdamW(built, lr=settings.lr, betas=settings.betas, fused=True)
    return torch.optim.SGD(built, lr=settings.lr, momentum=settings.momentum)
