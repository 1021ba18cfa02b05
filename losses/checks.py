"""Checks of values, labels and dtypes shared by the losses. Every message names what was found and
what is allowed.
"""

import torch
from torch import Tensor

from losses.schedules import Schedule, extremes_of

Number = float | Schedule


def require_range(name: str, number: Number, low: float, high: float = float("inf")) -> None:
    """ValueError unless a number, or every value of a schedule, is in [low, high].

    >>> require_range("gamma", -1.0, 0.0)
    Traceback (most recent call last):
    ...
    ValueError: gamma: must be >= 0, found -1
    """
    least, greatest = extremes_of(number)
    if low <= least and greatest <= high and greatest < float("inf"):
        return
    found = f"{least:g}" if least == greatest else f"a schedule from {least:g} to {greatest:g}"
    allowed = f">= {low:g}" if high == float("inf") else f"in [{low:g}, {high:g}]"
    raise ValueError(f"{name}: must be {allowed}, found {found}")


def require_floating(name: str, values: Tensor) -> None:
    """ValueError unless a tensor is of floating point.

    >>> require_floating("logits", torch.zeros(2))
    """
    if not values.is_floating_point():
        raise ValueError(f"{name}: must be floating point, found {values.dtype}")


def require_labels(name: str, labels: Tensor, high: int, ignore: Tensor | None = None) -> None:
    """ValueError unless labels are integers in 0..high where not ignored.

    The range is read on the CPU only: on an accelerator it would stop the queue.

    >>> require_labels("labels", torch.tensor([0, 3]), high=2)
    Traceback (most recent call last):
    ...
    ValueError: labels: must be in 0..2, found 3
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"{name}: must be integers, found {labels.dtype}")
    if labels.device.type != "cpu" or torch.compiler.is_compiling():
        return
    kept = labels if ignore is None else labels[~ignore]
    if kept.numel() == 0:
        return
    least, greatest = int(kept.min()), int(kept.max())
    if least < 0 or greatest > high:
        raise ValueError(f"{name}: must be in 0..{high}, found {least if least < 0 else greatest}")
