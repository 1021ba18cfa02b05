"""Checks of shapes and values shared by the losses. Every message names what was found and what is
allowed.
"""

import torch
from torch import Tensor

from losses.kernels.sigmoid_formula import Weighing
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


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for half precision, otherwise the dtype itself.

    >>> compute_dtype(torch.bfloat16), compute_dtype(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


Vector = float | tuple[float, ...] | Tensor


def class_vector(name: str, values: Vector, logits: Tensor, classes: int) -> Tensor:
    """A number or one for each class, as a tensor of 1 or K elements beside the logits.

    Raises ValueError where it has another number of elements.

    >>> class_vector("alpha", (0.25, 0.5), torch.zeros(7, 2), classes=2)
    tensor([0.2500, 0.5000])
    """
    vector = torch.as_tensor(values, dtype=compute_dtype(logits.dtype), device=logits.device)
    if vector.ndim > 1 or vector.numel() not in (1, classes):
        raise ValueError(
            f"{name}: must be one number or one for each of {classes} classes, "
            f"found {list(vector.shape)}"
        )
    return vector


def exponent(gamma: Vector, logits: Tensor, classes: int) -> float | Tensor:
    """gamma as a float, or a tensor of 1 or K elements; its sign is checked where it is a number.

    >>> exponent(2, torch.zeros(7, 2), classes=2)
    2.0
    """
    if isinstance(gamma, int | float):
        require_range("gamma", gamma, 0.0)
        return float(gamma)
    return class_vector("gamma", gamma, logits, classes)


def weighing_of(
    logits: Tensor, alpha: Vector | None, class_weights: Vector | None, gamma: Vector
) -> Weighing:
    """alpha and weights of classes as the weights of positives and of negatives.

    >>> weighing_of(torch.zeros(7, 2), alpha=0.25, class_weights=None, gamma=2.0)
    Weighing(positive=0.25, negative=0.75, gamma=2.0)
    """
    classes = logits.shape[-1]
    positive: float | Tensor = 1.0
    negative: float | Tensor = 1.0
    if isinstance(alpha, int | float):
        require_range("alpha", alpha, 0.0, 1.0)
        positive, negative = float(alpha), 1 - float(alpha)
    elif alpha is not None:
        for value in alpha if isinstance(alpha, tuple) else ():
            require_range("alpha", value, 0.0, 1.0)  # above 1, negatives would be rewarded
        positive = class_vector("alpha", alpha, logits, classes)
        negative = 1 - positive
    if class_weights is not None:
        positive = positive * class_vector("class_weights", class_weights, logits, classes)
    return Weighing(positive, negative, exponent(gamma, logits, classes))


def learns(*parameters: Vector | None) -> bool:
    """Whether any of the parameters asks for a gradient of its own.

    >>> learns(2.0, torch.tensor(0.5, requires_grad=True))
    True
    """
    return any(isinstance(value, Tensor) and value.requires_grad for value in parameters)
