"""The hard-target case of `sigmoid_formula.py`, written into buffers that are used again and again.

Shapes and letters as there. A fresh 512 KiB tensor for each step of each piece costs more in page
faults than the arithmetic: 617 ms against 110 ms for 120,000 x 80 logits on one thread.
"""

import torch
from torch import Tensor

from losses.sigmoid_formula import Weighing, equals

Buffers = tuple[Tensor, ...]
COUNT = 5


def buffers_like(x_nK: Tensor) -> Buffers:
    """Scratch for pieces up to the size of this one.

    >>> len(buffers_like(torch.zeros(3, 2))) == COUNT
    True
    """
    return tuple(torch.empty_like(x_nK) for _ in range(COUNT))


def focal_value_into(
    out_nK: Tensor, x_nK: Tensor, t_nK: Tensor, weighing: Weighing, buffers: Buffers
) -> None:
    """Write the loss of logits and hard targets; `out` may be of another dtype.

    >>> x, out = torch.zeros(1, 2), torch.empty(1, 2)
    >>> focal_value_into(out, x, torch.ones(1, 2), Weighing(1.0, 1.0, 2.0), buffers_like(x))
    >>> out
    tensor([[0.1733, 0.1733]])
    """
    c_nK, _, power_nK, line_nK, _ = _terms(x_nK, t_nK, weighing.gamma, buffers)
    if power_nK is not None:
        c_nK.mul_(power_nK)
    if weighing.is_plain:
        out_nK.copy_(c_nK)
        return
    torch.mul(t_nK, weighing.positive - weighing.negative, out=line_nK).add_(weighing.negative)
    torch.mul(c_nK, line_nK, out=out_nK)


def focal_slope_into(
    out_nK: Tensor,
    x_nK: Tensor,
    t_nK: Tensor,
    weighing: Weighing,
    upstream_nK: Tensor,
    buffers: Buffers,
) -> None:
    """Write d loss / d logits times `upstream`; `out` may be of another dtype.

    >>> x, t, out = torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]), torch.empty(1, 2)
    >>> focal_slope_into(out, x, t, Weighing(1.0, 1.0, 0.0), torch.ones(1, 2), buffers_like(x))
    >>> out
    tensor([[ 0.5000, -0.5000]])
    """
    c_nK, a_nK, power_nK, line_nK, rest_nK = _terms(x_nK, t_nK, weighing.gamma, buffers)
    slope_nK = a_nK
    if power_nK is not None:
        torch.neg(a_nK, out=rest_nK).add_(1)
        slope_nK = c_nK.mul_(rest_nK).mul_(weighing.gamma).add_(a_nK).mul_(power_nK)
    # weight and sign 1 - 2 y at once: `negative` at t = 0, minus `positive` at t = 1
    slope = -(weighing.positive + weighing.negative)
    torch.mul(t_nK, slope, out=line_nK).add_(weighing.negative)
    slope_nK.mul_(line_nK)
    torch.mul(slope_nK, upstream_nK, out=out_nK)


def _terms(
    x_nK: Tensor, t_nK: Tensor, gamma: float | Tensor, buffers: Buffers
) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]:
    """c, a, q ** gamma (None at gamma 0) and two buffers that are free again."""
    v_nK, low_nK, small_nK, a_nK, power_nK = (buffer[: len(x_nK)] for buffer in buffers)
    torch.addcmul(x_nK, x_nK, t_nK, value=-2, out=v_nK)
    torch.clamp(v_nK, max=0, out=low_nK)
    torch.abs(v_nK, out=small_nK).neg_().exp_()
    torch.exp(low_nK, out=a_nK).div_(torch.add(small_nK, 1, out=power_nK))
    small_nK.log1p_()
    c_nK = v_nK.sub_(low_nK).add_(small_nK)
    if equals(gamma, 0.0):
        return c_nK, a_nK, None, low_nK, small_nK
    if equals(gamma, 1.0) or equals(gamma, 2.0):
        power_nK = a_nK if gamma == 1.0 else torch.mul(a_nK, a_nK, out=power_nK)
        return c_nK, a_nK, power_nK, low_nK, small_nK
    torch.sub(low_nK, small_nK, out=power_nK).mul_(gamma).exp_()
    return c_nK, a_nK, power_nK, low_nK, small_nK
