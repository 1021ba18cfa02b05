"""Softmax focal loss as an autograd function that keeps its inputs and three numbers a row.

Shapes: R rows, K classes, D further positions of a dense map (1 for plain rows); `_nKd` a piece.
Value and gradient are in closed form. Of one row and position, with x the logits, m their maximum
and t the label:
  e_j = exp(x_j - m)          s = sum of e_j over j != t
  p = e_t / (s + e_t)         q = 1 - p = s / (s + e_t)
  c = m - x_t + log(s + e_t), the cross-entropy
  loss            c q**gamma
  d loss / d x_t  -g,  and  d loss / d x_j  g e_j / s,  with g = q**gamma (q + gamma p c)
docs/losses.md derives them. s leaves the label's own term out: 1 - p rounds to 0 near p = 1.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from losses.kernels.compiled import run_fused
from losses.kernels.pieces import block_pieces, compute_dtype


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


class SoftmaxFocal(torch.autograd.Function):
    """Logits [R, K, D]; labels 0..K-1 and ignore [R, 1, D]; weights [K]; to a loss [R, 1, D].

    gamma is a number, or a tensor of 1 or K elements, read by label.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits_RKD: Tensor,
        labels_R1D: Tensor,
        ignore_R1D: Tensor | None,
        weight_K: Tensor | None,
        gamma: float | Tensor,
        fused: bool,
    ) -> Tensor:
        """The loss, float32 for half-precision logits."""
        terms_3R1D = run_fused(_fused_terms, logits_RKD, labels_R1D) if fused else None
        if terms_3R1D is None:
            terms_3R1D = _eager_terms(logits_RKD, labels_R1D)
        most_R1D, s_R1D, lag_R1D = terms_3R1D
        if isinstance(gamma, Tensor) and gamma.numel() > 1:
            gamma = gamma[labels_R1D]
        rows = list(focal_rows(s_R1D, lag_R1D, gamma))
        if weight_K is not None:
            rows = [row_R1D * weight_K[labels_R1D] for row_R1D in rows]
        if ignore_R1D is not None:
            rows = [row_R1D.masked_fill(ignore_R1D, 0) for row_R1D in rows]
        loss_R1D, g_R1D, share_R1D = rows
        ctx.save_for_backward(logits_RKD, labels_R1D, ignore_R1D, most_R1D, g_R1D, share_R1D)
        ctx.fused = fused
        return loss_R1D

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream_R1D: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the logits, in their dtype."""
        logits_RKD, labels_R1D, ignore_R1D, most_R1D, g_R1D, share_R1D = ctx.saved_tensors
        rows = (most_R1D, g_R1D * upstream_R1D, share_R1D * upstream_R1D)
        gradient_RKD = None
        if ctx.fused:
            gradient_RKD = run_fused(_fused_spread, logits_RKD, labels_R1D, ignore_R1D, *rows)
        if gradient_RKD is None:
            gradient_RKD = _eager_spread(logits_RKD, labels_R1D, ignore_R1D, *rows)
        return gradient_RKD, None, None, None, None, None


def _eager_terms(logits_RKD: Tensor, labels_R1D: Tensor) -> Tensor:
    """m, s and lag of the formula's legend, [3, R, 1, D]."""
    dtype = compute_dtype(logits_RKD.dtype)
    terms_3R1D = torch.empty((3, *labels_R1D.shape), dtype=dtype, device=logits_RKD.device)
    buffer: Tensor | None = None
    for rows, positions in block_pieces(logits_RKD):
        labels_n1d = labels_R1D[rows, :, positions]
        x_nKd = logits_RKD[rows, :, positions].to(dtype)
        most_n1d, s_n1d, lag_n1d = terms_3R1D[:, rows, :, positions]
        torch.amax(x_nKd, 1, keepdim=True, out=most_n1d)
        buffer = _buffer_like(x_nKd, buffer)
        shifted_nKd = torch.sub(x_nKd, most_n1d, out=buffer)
        torch.neg(shifted_nKd.gather(1, labels_n1d), out=lag_n1d)
        shifted_nKd.exp_().scatter_(1, labels_n1d, 0)
        torch.sum(shifted_nKd, 1, keepdim=True, out=s_n1d)
    return terms_3R1D


def _eager_spread(
    logits_RKD: Tensor,
    labels_R1D: Tensor,
    ignore_R1D: Tensor | None,
    most_R1D: Tensor,
    g_R1D: Tensor,
    share_R1D: Tensor,
) -> Tensor:
    gradient_RKD = torch.empty_like(logits_RKD)
    minus_g_R1D = -g_R1D.to(logits_RKD.dtype)
    buffer: Tensor | None = None
    for piece in block_pieces(logits_RKD):
        place = (piece[0], slice(None), piece[1])
        x_nKd, out_nKd = logits_RKD[place].to(most_R1D.dtype), gradient_RKD[place]
        buffer = _buffer_like(x_nKd, buffer)
        torch.sub(x_nKd, most_R1D[place], out=buffer).exp_()
        torch.mul(buffer, share_R1D[place], out=out_nKd)
        out_nKd.scatter_(1, labels_R1D[place], minus_g_R1D[place])
        if ignore_R1D is not None:  # a NaN of an ignored row survives a factor of 0
            out_nKd.masked_fill_(ignore_R1D[place], 0)
    return gradient_RKD


def _buffer_like(x_nKd: Tensor, buffer: Tensor | None) -> Tensor:
    """The same memory again for each piece: fresh memory costs page faults."""
    same = buffer is not None and buffer.shape == x_nKd.shape
    return buffer if same and buffer is not None else torch.empty_like(x_nKd)


def _fused_terms(logits_RKD: Tensor, labels_R1D: Tensor) -> Tensor:
    return row_terms(logits_RKD.to(compute_dtype(logits_RKD.dtype)), labels_R1D)


def _fused_spread(
    logits_RKD: Tensor,
    labels_R1D: Tensor,
    ignore_R1D: Tensor | None,
    most_R1D: Tensor,
    g_R1D: Tensor,
    share_R1D: Tensor,
) -> Tensor:
    x_RKD = logits_RKD.to(most_R1D.dtype)
    slope_RKD = spread(x_RKD, labels_R1D, most_R1D, g_R1D, share_R1D)
    if ignore_R1D is not None:
        slope_RKD = slope_RKD.masked_fill(ignore_R1D, 0)
    return slope_RKD.to(logits_RKD.dtype)
