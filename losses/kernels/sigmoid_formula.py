"""Sigmoid focal loss in closed form: its value and its gradient, as plain functions of one tensor.

Shapes: any rows of K classes, written `_nK`. Of one element, with x its logit and t its target:
  y = 1 where t >= 1/2, else 0                r = min(t, 1 - t), 0 for a hard target
  v = x (1 - 2 y), > 0 where it is wrong      a = sigmoid(v)
  c = softplus(v) - r v, the cross-entropy    q = 1 - p_t = a + r (1 - 2 a)
  loss          w c q**gamma
  d loss / d x  w (1 - 2 y) q**gamma [(a - r) + gamma c (1 - 2 r) (1 - a) a / q]
docs/losses.md derives them. No power gamma - 1 is left, so nothing is infinite for 0 < gamma < 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Weighing:
    """What weighs the loss; each a number or a tensor [K]."""

    positive: float | Tensor
    negative: float | Tensor
    gamma: float | Tensor

    @property
    def is_plain(self) -> bool:
        """Whether positives and negatives weigh 1."""
        return equals(self.positive, 1.0) and equals(self.negative, 1.0)


def equals(number: float | Tensor, value: float) -> bool:
    """Whether a parameter is known to be `value` without a look at a tensor.

    >>> equals(2.0, 2.0), equals(torch.tensor(2.0), 2.0)
    (True, False)
    """
    return isinstance(number, float) and number == value


def focal_value(x_nK: Tensor, t_nK: Tensor, weighing: Weighing, soft: bool) -> Tensor:
    """Loss of logits and targets of one floating dtype; `soft` False promises targets of 0 and 1.

    >>> focal_value(torch.zeros(1, 1), torch.ones(1, 1), Weighing(1.0, 1.0, 2.0), soft=False)
    tensor([[0.1733]])
    """
    v_nK, _, r_nK = _orient(x_nK, t_nK, soft)
    c_nK, _, q_nK, log_q_nK = _terms(v_nK, r_nK)
    if not equals(weighing.gamma, 0.0):
        c_nK = c_nK * _power(q_nK, log_q_nK, weighing.gamma)
    return c_nK if weighing.is_plain else c_nK * _line(t_nK, weighing.negative, weighing.positive)


def focal_slope(x_nK: Tensor, t_nK: Tensor, weighing: Weighing, soft: bool) -> Tensor:
    """d loss / d logits of the same arguments.

    >>> focal_slope(torch.zeros(1, 1), torch.ones(1, 1), Weighing(1.0, 1.0, 0.0), soft=False)
    tensor([[-0.5000]])
    """
    v_nK, y_nK, r_nK = _orient(x_nK, t_nK, soft)
    c_nK, a_nK, q_nK, log_q_nK = _terms(v_nK, r_nK)
    slope_nK = a_nK if r_nK is None else a_nK - r_nK
    if not equals(weighing.gamma, 0.0):
        focus_nK = c_nK * (1 - a_nK) * weighing.gamma
        if r_nK is not None:
            tiny = torch.finfo(q_nK.dtype).tiny
            focus_nK = focus_nK * (1 - 2 * r_nK) * (a_nK / q_nK.clamp(min=tiny))
        slope_nK = (slope_nK + focus_nK) * _power(q_nK, log_q_nK, weighing.gamma)
    sign_nK = 1 - 2 * y_nK
    return slope_nK * sign_nK * _line(t_nK, weighing.negative, weighing.positive)


def log_one_plus(e_nK: Tensor) -> Tensor:
    """log(1 + e) for e in [0, 1]: twice the series of artanh(e / (2 + e)), its argument <= 1/3.

    Compiled it takes half the time of log1p; what is cut off is below the dtype's resolution.

    >>> log_one_plus(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.6931])
    """
    z_nK = e_nK / (2 + e_nK)
    square_nK = z_nK * z_nK
    terms = 17 if e_nK.dtype == torch.float64 else 8  # (1/9)**8 / 17 is 1e-9
    series_nK = square_nK * (1 / (2 * terms - 1)) + 1 / (2 * terms - 3)
    for term in range(terms - 3, -1, -1):
        series_nK = series_nK * square_nK + 1 / (2 * term + 1)
    return 2 * z_nK * series_nK


def _orient(x_nK: Tensor, t_nK: Tensor, soft: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """v, y and r of the legend; r None for hard targets."""
    if not soft:
        return x_nK * (1 - 2 * t_nK), t_nK, None
    y_nK = (t_nK >= 0.5).to(x_nK.dtype)
    return x_nK * (1 - 2 * y_nK), y_nK, torch.minimum(t_nK, 1 - t_nK)


def _terms(v_nK: Tensor, r_nK: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c, a, q and log q of the legend; r None means hard targets."""
    low_nK = v_nK.clamp(max=0)
    small_nK = (-v_nK.abs()).exp()  # in (0, 1]: never overflows
    log_nK = log_one_plus(small_nK)
    a_nK = torch.where(v_nK > 0, 1.0, small_nK) / (1 + small_nK)
    c_nK = (v_nK - low_nK) + log_nK
    if r_nK is None:
        return c_nK, a_nK, a_nK, low_nK - log_nK
    q_nK = a_nK + r_nK * (1 - 2 * a_nK)
    tiny = torch.finfo(q_nK.dtype).tiny
    return c_nK - r_nK * v_nK, a_nK, q_nK, q_nK.clamp(min=tiny).log()


def _power(q_nK: Tensor, log_q_nK: Tensor, gamma: float | Tensor) -> Tensor:
    """q ** gamma from q and its logarithm; the exponents people use most cost a product."""
    if equals(gamma, 1.0) or equals(gamma, 2.0):
        return q_nK if gamma == 1.0 else q_nK * q_nK
    return (log_q_nK * gamma).exp()


def _line(t_nK: Tensor, at_zero: float | Tensor, at_one: float | Tensor) -> Tensor:
    """The straight line through `at_zero` at t = 0 and `at_one` at t = 1."""
    return t_nK * (at_one - at_zero) + at_zero
