"""Softmax focal loss in closed form: its value and its gradient.

Shapes: R rows, K classes, D further positions of a dense map (1 for plain rows); `_nKd` a piece. Of
one row and position, with x the logits, m their maximum and t the label:
  e_j = exp(x_j - m)          s = sum of e_j over j != t
  p = e_t / (s + e_t)         q = 1 - p = s / (s + e_t)
  c = m - x_t + log(s + e_t), the cross-entropy
  loss            w_t c q**gamma
  d loss / d x_t  -g,  and  d loss / d x_j  g e_j / s,  with g = w_t q**gamma (q + gamma p c)
docs/losses.md derives them. s leaves the label's own term out: 1 - p rounds to 0 near p = 1.
"""

import torch
from torch import Tensor


def focal_rows(s_n1d: Tensor, lag_n1d: Tensor, gamma: float | Tensor) -> tuple[Tensor, Tensor]:
    """Loss and g, both before weights, from s and lag = m - x_t of each row.

    >>> loss, g = focal_rows(torch.ones(1), torch.zeros(1), gamma=1.0)  # two equal logits
    >>> round(loss.item(), 4), round(g.item(), 4)
    (0.3466, 0.4233)
    """
    own_n1d = (-lag_n1d).exp()
    total_n1d = s_n1d + own_n1d
    # where the label leads, own is 1 and log1p keeps a tiny s
    log_n1d = torch.where(lag_n1d == 0, s_n1d.log1p(), total_n1d.log())
    c_n1d = lag_n1d + log_n1d
    p_n1d, q_n1d = own_n1d / total_n1d, s_n1d / total_n1d
    power_n1d = q_n1d**gamma
    return c_n1d * power_n1d, power_n1d * (q_n1d + gamma * p_n1d * c_n1d)


def share(g_n1d: Tensor, s_n1d: Tensor) -> Tensor:
    """g / s, 0 where every other class is out of sight.

    >>> share(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0]))
    tensor([0.5000, 0.0000])
    """
    return g_n1d / s_n1d.clamp(min=torch.finfo(s_n1d.dtype).tiny)
