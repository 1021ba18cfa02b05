"""Softmax focal loss as an autograd function that keeps nothing but its inputs.

Shapes: R rows, K classes, D further positions (1 for plain rows); `_nKd` a piece.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from losses.checks import compute_dtype
from losses.fused import run_fused
from losses.pieces import block_pieces
from losses.softmax_formula import focal_rows, share

Piece = tuple[slice, slice]


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
        ctx.save_for_backward(logits_RKD, labels_R1D, ignore_R1D, weight_K)
        ctx.gamma, ctx.fused = gamma, fused
        loss_R1D = None
        if fused:
            loss_R1D = run_fused(_fused_value, logits_RKD, labels_R1D, _tensor(gamma, logits_RKD))
        if loss_R1D is None:
            loss_R1D = _eager_value(logits_RKD, labels_R1D, gamma)
        return _mask(_weigh(loss_R1D, weight_K, labels_R1D), ignore_R1D)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream_R1D: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the logits, in their dtype."""
        logits_RKD, labels_R1D, ignore_R1D, weight_K = ctx.saved_tensors
        upstream_R1D = _mask(_weigh(upstream_R1D, weight_K, labels_R1D), ignore_R1D)
        gradient_RKD = None
        if ctx.fused:
            gamma = _tensor(ctx.gamma, logits_RKD)
            upstream_R1D = upstream_R1D.contiguous()
            gradient_RKD = run_fused(_fused_slope, logits_RKD, labels_R1D, gamma, upstream_R1D)
        if gradient_RKD is None:
            gradient_RKD = _eager_slope(logits_RKD, labels_R1D, ctx.gamma, upstream_R1D)
        if ignore_R1D is not None:  # NaN logits of an ignored row survive a factor of 0
            gradient_RKD.masked_fill_(ignore_R1D, 0)
        return gradient_RKD, None, None, None, None, None


def _tensor(gamma: float | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(gamma, dtype=compute_dtype(like.dtype), device=like.device)


def _weigh(values_R1D: Tensor, weight_K: Tensor | None, labels_R1D: Tensor) -> Tensor:
    return values_R1D if weight_K is None else values_R1D * weight_K[labels_R1D]


def _mask(values_R1D: Tensor, ignore_R1D: Tensor | None) -> Tensor:
    return values_R1D if ignore_R1D is None else values_R1D.masked_fill(ignore_R1D, 0)


def _by_label(gamma: float | Tensor, labels_n1d: Tensor) -> float | Tensor:
    """gamma of each label where there is one per class."""
    return gamma[labels_n1d] if isinstance(gamma, Tensor) and gamma.numel() > 1 else gamma


def _pieces(
    logits_RKD: Tensor, labels_R1D: Tensor
) -> Iterator[tuple[Piece, Tensor, Tensor, Tensor, Tensor]]:
    """Each piece's place, labels, e with the label's own term zeroed, s and lag of the legend.

    e is a buffer that the next piece overwrites: fresh memory costs page faults.
    """
    dtype = compute_dtype(logits_RKD.dtype)
    buffer: Tensor | None = None
    for rows, positions in block_pieces(logits_RKD):
        labels_n1d = labels_R1D[rows, :, positions]
        x_nKd = logits_RKD[rows, :, positions].to(dtype)
        if buffer is None or buffer.shape != x_nKd.shape:
            buffer = torch.empty(x_nKd.shape, dtype=dtype, device=x_nKd.device)
        most_n1d = x_nKd.amax(1, keepdim=True)
        others_nKd = torch.sub(x_nKd, most_n1d, out=buffer)
        lag_n1d = others_nKd.gather(1, labels_n1d).neg_()
        others_nKd.exp_().scatter_(1, labels_n1d, 0)
        s_n1d = others_nKd.sum(1, keepdim=True)
        yield (rows, positions), labels_n1d, others_nKd, s_n1d, lag_n1d


def _eager_value(logits_RKD: Tensor, labels_R1D: Tensor, gamma: float | Tensor) -> Tensor:
    dtype = compute_dtype(logits_RKD.dtype)
    loss_R1D = torch.empty(labels_R1D.shape, dtype=dtype, device=logits_RKD.device)
    for (rows, positions), labels_n1d, _, s_n1d, lag_n1d in _pieces(logits_RKD, labels_R1D):
        loss_n1d, _ = focal_rows(s_n1d, lag_n1d, _by_label(gamma, labels_n1d))
        loss_R1D[rows, :, positions] = loss_n1d
    return loss_R1D


def _eager_slope(
    logits_RKD: Tensor, labels_R1D: Tensor, gamma: float | Tensor, upstream_R1D: Tensor
) -> Tensor:
    gradient_RKD = torch.empty_like(logits_RKD)
    pieces = _pieces(logits_RKD, labels_R1D)
    for (rows, positions), labels_n1d, others_nKd, s_n1d, lag_n1d in pieces:
        _, g_n1d = focal_rows(s_n1d, lag_n1d, _by_label(gamma, labels_n1d))
        g_n1d = g_n1d * upstream_R1D[rows, :, positions]
        out_nKd = gradient_RKD[rows, :, positions]
        torch.mul(others_nKd, share(g_n1d, s_n1d), out=out_nKd)
        out_nKd.scatter_(1, labels_n1d, -g_n1d.to(out_nKd.dtype))
    return gradient_RKD


def _fused_terms(logits_RKD: Tensor, labels_R1D: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where the label is, and e without it [R, K, D]; s and lag [R, 1, D]."""
    x_RKD = logits_RKD.to(compute_dtype(logits_RKD.dtype))
    classes = torch.arange(x_RKD.shape[1], device=x_RKD.device)[:, None]
    own_RKD = classes == labels_R1D
    shifted_RKD = x_RKD - x_RKD.amax(1, keepdim=True)
    lag_R1D = -torch.where(own_RKD, shifted_RKD, 0).sum(1, keepdim=True)
    others_RKD = torch.where(own_RKD, 0, shifted_RKD.exp())
    return own_RKD, others_RKD, others_RKD.sum(1, keepdim=True), lag_R1D


def _fused_value(logits_RKD: Tensor, labels_R1D: Tensor, gamma: Tensor) -> Tensor:
    _, _, s_R1D, lag_R1D = _fused_terms(logits_RKD, labels_R1D)
    return focal_rows(s_R1D, lag_R1D, _by_label(gamma, labels_R1D))[0]


def _fused_slope(
    logits_RKD: Tensor, labels_R1D: Tensor, gamma: Tensor, upstream_R1D: Tensor
) -> Tensor:
    own_RKD, others_RKD, s_R1D, lag_R1D = _fused_terms(logits_RKD, labels_R1D)
    g_R1D = focal_rows(s_R1D, lag_R1D, _by_label(gamma, labels_R1D))[1] * upstream_R1D
    slope_RKD = torch.where(own_RKD, -g_R1D, others_RKD * share(g_R1D, s_R1D))
    return slope_RKD.to(logits_RKD.dtype)
