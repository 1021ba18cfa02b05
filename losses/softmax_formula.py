"""Softmax focal loss in closed form: its value and its gradient.

Shapes: R rows, K classes, D further positions of a dense map (1 for plain rows). Of one row and
position, with x the logits, m their maximum and t the label:
  e_j = exp(x_j - m)          s = sum of e_j over j != t
  p = e_t / (s + e_t)         q = 1 - p = s / (s + e_t)
  c = m - x_t + log(s + e_t), the cross-entropy
  loss            c q**gamma
  d loss / d x_t  -g,  and  d loss / d x_j  g e_j / s,  with g = q**gamma (q + gamma p c)
docs/losses.md derives them. s leaves the label's own term out: 1 - p rounds to 0 near p = 1.
"""

import torch
from torch import Tensor


def focal_rows(
    s_R1D: Tensor, lag_R1D: Tensor, gamma: float | Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, g and g / s of each row from s and lag = m - x_t.

    >>> loss, g, share = focal_rows(torch.ones(1), torch.zeros(1), gamma=1.0)  # two equal logits
    >>> round(loss.item(), 4), round(g.item(), 4), round(share.item(), 4)
    (0.3466, 0.4233, 0.4233)
    """
    own_R1D = (-lag_R1D).exp()
    total_R1D = s_R1D + own_R1D
    # where the label leads, own is 1 and log1p keeps a tiny s
    log_R1D = torch.where(lag_R1D == 0, s_R1D.log1p(), total_R1D.log())
    c_R1D = lag_R1D + log_R1D
    p_R1D, q_R1D = own_R1D / total_R1D, s_R1D / total_R1D
    power_R1D = q_R1D**gamma
    g_R1D = power_R1D * (q_R1D + gamma * p_R1D * c_R1D)
    # 0 where all other classes are out of sight
    share_R1D = g_R1D / s_R1D.clamp(min=torch.finfo(s_R1D.dtype).tiny)
    return c_R1D * power_R1D, g_R1D, share_R1D


def row_terms(x_RKD: Tensor, labels_R1D: Tensor) -> Tensor:
    """m, s and lag of the legend, stacked [3, R, 1, D], without a gather or scatter.

    >>> row_terms(torch.tensor([[[1.0], [3.0]]]), torch.tensor([[[0]]])).flatten().tolist()
    [3.0, 1.0, 2.0]
    """
    most_R1D = x_RKD.amax(1, keepdim=True)
    own_RKD = _own(x_RKD, labels_R1D)
    shifted_RKD = x_RKD - most_R1D
    lag_R1D = -torch.where(own_RKD, shifted_RKD, 0).sum(1, keepdim=True)
    s_R1D = torch.where(own_RKD, 0, shifted_RKD.exp()).sum(1, keepdim=True)
    return torch.stack([most_R1D, s_R1D, lag_R1D])


def spread(
    x_RKD: Tensor, labels_R1D: Tensor, most_R1D: Tensor, g_R1D: Tensor, share_R1D: Tensor
) -> Tensor:
    """The gradient [R, K, D] from the numbers of its rows.

    >>> ones = torch.ones(1, 1, 1)
    >>> spread(torch.zeros(1, 2, 1), torch.tensor([[[1]]]), 0 * ones, ones, ones).flatten()
    tensor([ 1., -1.])
    """
    others_RKD = (x_RKD - most_R1D).exp() * share_R1D
    return torch.where(_own(x_RKD, labels_R1D), -g_R1D, others_RKD)


def _own(x_RKD: Tensor, labels_R1D: Tensor) -> Tensor:
    classes = torch.arange(x_RKD.shape[1], device=x_RKD.device)[:, None]
    return classes == labels_R1D
