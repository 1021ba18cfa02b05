"""alpha, gamma and weights of classes as a loss is given them, to what its kernels compute with.

A parameter is one number, or one for each of K classes.
"""

import torch
from torch import Tensor

from losses.checks import require_range
from losses.kernels.pieces import compute_dtype
from losses.kernels.sigmoid_formula import Weighing

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
