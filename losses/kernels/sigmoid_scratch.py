"""The hard-target case of `sigmoid_formula.py`, written into buffers that are used again and again.

Shapes and letters as there; E = exp(v). A fresh tensor for each step of each piece costs more in
page faults than the arithmetic, and every step is a pass over the piece, so both are few.
"""

import torch
from torch import Tensor

from losses.kernels.sigmoid_formula import Weighing, equals

Buffers = tuple[Tensor, Tensor, Tensor, Tensor]


def buffers_like(x_nK: Tensor) -> Buffers:
    """Scratch for pieces up to the size of this one.

    >>> [len(buffer) for buffer in buffers_like(torch.zeros(3, 2))]
    [3, 3, 3, 3]
    """
    first_nK, *others = (torch.empty_like(x_nK) for _ in range(4))
    return first_nK, others[0], others[1], others[2]


def focal_value_into(
    out_nK: Tensor, x_nK: Tensor, t_nK: Tensor, weighing: Weighing, buffers: Buffers
) -> None:
    """Write the loss of logits and hard targets; `out` may be of another dtype.

    >>> x, out = torch.zeros(1, 2), torch.empty(1, 2)
    >>> focal_value_into(out, x, torch.ones(1, 2), Weighing(1.0, 1.0, 2.0), buffers_like(x))
    >>> out
    tensor([[0.1733, 0.1733]])
    """
    c_nK, a_nK, _, spare_nK = _terms(x_nK, t_nK, buffers)
    if not equals(weighing.gamma, 0.0):
        c_nK.mul_(_power(a_nK, weighing.gamma, spare_nK))
    if weighing.is_plain:
        out_nK.copy_(c_nK)
    else:
        line_nK = _line(t_nK, weighing.negative, weighing.positive, a_nK)
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
    c_nK, a_nK, b_nK, spare_nK = _terms(x_nK, t_nK, buffers)
    slope_nK, free_nK = a_nK, c_nK
    if not equals(weighing.gamma, 0.0):
        power_nK = _power(a_nK, weighing.gamma, spare_nK)
        slope_nK, free_nK = c_nK.mul_(b_nK), b_nK
        if isinstance(weighing.gamma, Tensor):
            slope_nK.mul_(weighing.gamma).add_(a_nK)
        else:
            torch.add(a_nK, slope_nK, alpha=weighing.gamma, out=slope_nK)
        slope_nK.mul_(power_nK)
    # weight and sign 1 - 2 y at once
    slope_nK.mul_(_line(t_nK, weighing.negative, -weighing.positive, free_nK))
    torch.mul(slope_nK, upstream_nK, out=out_nK)


def _terms(x_nK: Tensor, t_nK: Tensor, buffers: Buffers) -> Buffers:
    """c, a, b and a buffer to spare."""
    v_nK, c_nK, a_nK, b_nK = (buffer[: len(x_nK)] for buffer in buffers)
    # from here on log(1 + E) is v to the last digit, and E is finite
    most = 700.0 if x_nK.dtype == torch.float64 else 80.0
    torch.addcmul(x_nK, x_nK, t_nK, value=-2, out=v_nK)
    torch.clamp(v_nK, max=most, out=c_nK).exp_()
    torch.add(c_nK, 1, out=b_nK).reciprocal_()  # 1 - a would cancel where a is near 1
    torch.mul(c_nK, b_nK, out=a_nK)
    torch.maximum(c_nK.log1p_(), v_nK, out=c_nK)
    return c_nK, a_nK, b_nK, v_nK


def _power(a_nK: Tensor, gamma: float | Tensor, out_nK: Tensor) -> Tensor:
    """a ** gamma for gamma over 0, or for a tensor."""
    if equals(gamma, 1.0):
        return a_nK
    if equals(gamma, 2.0):
        return torch.mul(a_nK, a_nK, out=out_nK)
    tiny = torch.finfo(a_nK.dtype).tiny  # log(0) is slow, and -inf * 0 is NaN
    return torch.clamp(a_nK, min=tiny, out=out_nK).log_().mul_(gamma).exp_()


def _line(t_nK: Tensor, at_zero: float | Tensor, at_one: float | Tensor, out_nK: Tensor) -> Tensor:
    """The straight line through `at_zero` at t = 0 and `at_one` at t = 1."""
    if isinstance(at_zero, Tensor) or isinstance(at_one, Tensor) or t_nK.device.type != "cpu":
        # On a GPU a new tensor of one number would be a copy to it.
        return torch.mul(t_nK, at_one - at_zero, out=out_nK).add_(at_zero)
    return torch.add(t_nK.new_tensor(at_zero), t_nK, alpha=at_one - at_zero, out=out_nK)
