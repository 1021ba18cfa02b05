"""Softmax focal loss: its value and gradient in closed form, evaluated piece by piece.

Shapes: R rows, K classes, D further positions of a dense map (1 for plain rows); `_nKd` a piece. Of
  one row and
position, with x the logits, m their maximum and t the label:
  e_j = exp(x_j - m)       s = sum of e_j over j != t       p = e_t / (s + e_t)       q = 1 - p = s
  / (s + e_t) cross-entropy  c = m - x_t + log(s + e_t)
  loss           w_t c q**gamma
  d loss / d x_t = -g,     d loss / d x_j = g e_j / s       with g = w_t q**gamma (q + gamma p c)
docs/losses.md derives them. s leaves the label's own term out, because 1 - p rounds to 0 at p near
1.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from losses.checks import compute_dtype
from losses.pieces import block_pieces


def _terms(x_nKd: Tensor, labels_n1d: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """e without the label's own term [n, K, d]; s, e_t and c [n, 1, d]."""
    most_n1d = x_nKd.amax(1, keepdim=True)
    lag_n1d = most_n1d - x_nKd.gather(1, labels_n1d)
    others_nKd = (x_nKd - most_n1d).exp_().scatter_(1, labels_n1d, 0)
    s_n1d = others_nKd.sum(1, keepdim=True)
    own_n1d = (-lag_n1d).exp()
    # where the label leads, own is 1 and log1p keeps a tiny s
    log_n1d = torch.where(lag_n1d == 0, s_n1d.log1p(), (s_n1d + own_n1d).log())
    return others_nKd, s_n1d, own_n1d, lag_n1d + log_n1d


def loss_piece(x_nKd: Tensor, labels_n1d: Tensor, gamma: float | Tensor) -> Tensor:
    """Loss [n, 1, d] before weights of logits [n, K, d] and labels 0..K-1 [n, 1, d]."""
    _, s_n1d, own_n1d, c_n1d = _terms(x_nKd, labels_n1d)
    return c_n1d * (s_n1d / (s_n1d + own_n1d)) ** gamma


def gradient_piece(
    x_nKd: Tensor, labels_n1d: Tensor, gamma: float | Tensor, upstream_n1d: Tensor
) -> Tensor:
    """d loss / d logits [n, K, d] times `upstream_n1d`, which includes the weights."""
    others_nKd, s_n1d, own_n1d, c_n1d = _terms(x_nKd, labels_n1d)
    total_n1d = s_n1d + own_n1d
    p_n1d, q_n1d = own_n1d / total_n1d, s_n1d / total_n1d
    g_n1d = upstream_n1d * q_n1d**gamma * (q_n1d + gamma * p_n1d * c_n1d)
    tiny = torch.finfo(x_nKd.dtype).tiny
    return (others_nKd * (g_n1d / s_n1d.clamp(min=tiny))).scatter_(1, labels_n1d, -g_n1d)


def _gamma_of(gamma: float | Tensor, labels_n1d: Tensor) -> float | Tensor:
    """gamma of each label where there is one per class."""
    return gamma[labels_n1d] if isinstance(gamma, Tensor) and gamma.ndim == 1 else gamma


def _weigh(values_n1d: Tensor, weight_K: Tensor | None, labels_n1d: Tensor) -> Tensor:
    return values_n1d if weight_K is None else values_n1d * weight_K[labels_n1d]


class SoftmaxFocal(torch.autograd.Function):
    """The loss with its closed-form gradient. Nothing but the inputs is kept for the backward
    pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits_RKD: Tensor,
        labels_R1D: Tensor,
        ignore_R1D: Tensor | None,
        weight_K: Tensor | None,
        gamma: float | Tensor,
    ) -> Tensor:
        """Logits [R, K, D]; labels 0..K-1 and ignore [R, 1, D]; loss [R, 1, D]."""
        ctx.save_for_backward(logits_RKD, labels_R1D, ignore_R1D, weight_K)
        ctx.gamma = gamma
        dtype = compute_dtype(logits_RKD.dtype)
        loss_R1D = torch.empty(labels_R1D.shape, dtype=dtype, device=logits_RKD.device)
        for rows, positions in block_pieces(logits_RKD):
            labels_n1d = labels_R1D[rows, :, positions]
            x_nKd = logits_RKD[rows, :, positions].to(dtype)
            loss_n1d = loss_piece(x_nKd, labels_n1d, _gamma_of(gamma, labels_n1d))
            loss_R1D[rows, :, positions] = _weigh(loss_n1d, weight_K, labels_n1d)
        return loss_R1D if ignore_R1D is None else loss_R1D.masked_fill_(ignore_R1D, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream_R1D: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the logits [R, K, D], in their dtype."""
        logits_RKD, labels_R1D, ignore_R1D, weight_K = ctx.saved_tensors
        gradient_RKD = torch.empty_like(logits_RKD)
        for rows, positions in block_pieces(logits_RKD):
            labels_n1d = labels_R1D[rows, :, positions]
            x_nKd = logits_RKD[rows, :, positions].to(compute_dtype(logits_RKD.dtype))
            upstream_n1d = _weigh(upstream_R1D[rows, :, positions], weight_K, labels_n1d)
            slope_nKd = gradient_piece(
                x_nKd, labels_n1d, _gamma_of(ctx.gamma, labels_n1d), upstream_n1d
            )
            if ignore_R1D is not None:
                slope_nKd = slope_nKd.masked_fill(ignore_R1D[rows, :, positions], 0)
            gradient_RKD[rows, :, positions] = slope_nKd
        return gradient_RKD, None, None, None, None
