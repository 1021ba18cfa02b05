"""Sigmoid focal loss in closed form: its value and its gradient, as plain functions of one tensor.

Shapes: any rows of K classes, written `_nK`. Of one element, with x its logit and t its target:
  y = 1 where t >= 1/2, else 0                r = min(t, 1 - t), 0 for a hard target
  v = x (1 - 2 y), > 0 where it is wrong      a = sigmoid(v), b = sigmoid(-v) = 1 - a
  c = softplus(v) - r v, the cross-entropy    q = 1 - p_t = a + r (1 - 2 a)
  loss          w c q**gamma
  d loss / d x  w (1 - 2 y) q**gamma [(a - r) + gamma c (1 - 2 r) b a / q]
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
    c_nK, _, _, q_nK, log_q_nK = _terms(v_nK, r_nK)
    if not equals(weighing.gamma, 0.0):
        c_nK = c_nK * _power(q_nK, log_q_nK, weighing.gamma)
    return c_nK if weighing.is_plain else c_nK * _line(t_nK, weighing.negative, weighing.positive)


def focal_slope(x_nK: Tensor, t_nK: Tensor, weighing: Weighing, soft: bool) -> Tensor:
    """d loss / d logits of the same arguments.

    >>> focal_slope(torch.zeros(1, 1), torch.ones(1, 1), Weighing(1.0, 1.0, 0.0), soft=False)
    tensor([[-0.5000]])
    """
    v_nK, y_nK, r_nK = _orient(x_nK, t_nK, soft)
    c_nK, a_nK, b_nK, q_nK, log_q_nK = _terms(v_nK, r_nK)
    slope_nK = a_nK if r_nK is None else a_nK - r_nK
    if not equals(weighing.gamma, 0.0):
        focus_nK = c_nK * b_nK * weighing.gamma
        if r_nK is not None:
            tiny = torch.finfo(q_nK.dtype).tiny
            focus_nK = focus_nK * (1 - 2 * r_nK) * (a_nK / q_nK.clamp(min=tiny))
        slope_nK = (slope_nK + focus_nK) * _power(q_nK, log_q_nK, weighing.gamma)
    sign_nK = 1 - 2 * y_nK
    return slope_nK * sign_nK * _line(t_nK, weighing.negative, weighing.positive)


def log_one_plus(e_nK: Tensor) -> Tensor:
    """log(1 + e) for e in [0, 1]: twice the series of artanh(e / (2 + e)), its argument <= 1/3.

    Compiled it takes half the time of log1p, which is used else; what is cut off is below the
    dtype's resolution. Terms are summed in pairs, pairs of pairs and so on: a processor waits less
    for one another's results.

    >>> log_one_plus(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.6931])
    """
    if not torch.compiler.is_compiling():
        return e_nK.log1p()
    z_nK = e_nK / (2 + e_nK)
    square_nK = z_nK * z_nK
    terms = 17 if e_nK.dtype == torch.float64 else 8  # (1/9)**8 / 17 is 1e-9
    sums: list[float | Tensor] = [1 / (2 * term + 1) for term in range(terms)]
    while len(sums) > 1:
        pairs = [high * square_nK + low for low, high in zip(sums[::2], sums[1::2], strict=False)]
        sums = [*pairs, sums[-1]] if len(sums) % 2 else list(pairs)
        square_nK = square_nK * square_nK
    return 2 * z_nK * sums[0]


def exp_nonpositive(m_nK: Tensor) -> Tensor:
    """exp(m) for m <= 0, to two units in the last place.

    Compiled for a CPU, float32 takes powers of 2 from the bits of the exponent and a polynomial
    for the rest (Cephes' expf): torch's own is a call for every eight numbers, a third of the loss.

    >>> exp_nonpositive(torch.tensor([0.0, -1.0]))
    tensor([1.0000, 0.3679])
    """
    plain = m_nK.dtype != torch.float32 or m_nK.device.type != "cpu"
    if plain or not torch.compiler.is_compiling():
        return m_nK.exp()
    m_nK = m_nK.clamp(min=-87.0)  # exp(-87) is 1.6e-38, the least normal number
    twos_nK = torch.round(m_nK * 1.4426950408889634)
    rest_nK = m_nK - twos_nK * 0.693359375 + twos_nK * 2.12194440e-4  # ln 2 in two parts
    square_nK = rest_nK * rest_nK
    high_nK = 1.9875691500e-4 * rest_nK + 1.3981999507e-3
    middle_nK = 8.3334519073e-3 * rest_nK + 4.1665795894e-2
    low_nK = 1.6666665459e-1 * rest_nK + 5.0000001201e-1
    power_nK = ((high_nK * square_nK + middle_nK) * square_nK + low_nK) * square_nK + rest_nK + 1
    return power_nK * ((twos_nK.to(torch.int32) + 127) << 23).view(torch.float32)


def _orient(x_nK: Tensor, t_nK: Tensor, soft: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """v, y and r of the legend; r None for hard targets."""
    if not soft:
        return x_nK * (1 - 2 * t_nK), t_nK, None
    y_nK = (t_nK >= 0.5).to(x_nK.dtype)
    return x_nK * (1 - 2 * y_nK), y_nK, torch.minimum(t_nK, 1 - t_nK)


def _terms(v_nK: Tensor, r_nK: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """c, a, b, q and log q of the legend; r None means hard targets."""
    low_nK = v_nK.clamp(max=0)
    small_nK = exp_nonpositive(-v_nK.abs())  # in (0, 1]: never overflows
    log_nK = log_one_plus(small_nK)
    share_nK = 1 / (1 + small_nK)
    a_nK = torch.where(v_nK > 0, 1.0, small_nK) * share_nK
    b_nK = torch.where(v_nK > 0, small_nK, 1.0) * share_nK  # 1 - a would cancel where a is near 1
    c_nK = (v_nK - low_nK) + log_nK
    if r_nK is None:
        return c_nK, a_nK, b_nK, a_nK, low_nK - log_nK
    q_nK = a_nK + r_nK * (1 - 2 * a_nK)
    tiny = torch.finfo(q_nK.dtype).tiny
    return c_nK - r_nK * v_nK, a_nK, b_nK, q_nK, q_nK.clamp(min=tiny).log()


def _power(q_nK: Tensor, log_q_nK: Tensor, gamma: float | Tensor) -> Tensor:
    """q ** gamma from q and its logarithm; the exponents people use most cost a product."""
    if equals(gamma, 1.0) or equals(gamma, 2.0):
        return q_nK if gamma == 1.0 else q_nK * q_nK
    return (log_q_nK * gamma).exp()


def _line(t_nK: Tensor, at_zero: float | Tensor, at_one: float | Tensor) -> Tensor:
    """The straight line through `at_zero` at t = 0 and `at_one` at t = 1."""
    return t_nK * (at_one - at_zero) + at_zero
