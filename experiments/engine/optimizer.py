"""The optimiser and its parameter groups."""

import torch
from torch import nn

from experiments.config.train import Optimizer


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
