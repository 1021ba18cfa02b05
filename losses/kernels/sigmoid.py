"""Sigmoid focal loss as an autograd function that keeps nothing but its inputs.

Shapes: R rows, K classes; `_nK` a piece of rows; X is 1 or K. The backward pass computes the terms
again: an exponential and a logarithm an element, to save a tensor of the logits' size.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from losses.kernels.compiled import fused_slope, fused_value
from losses.kernels.pieces import compute_dtype, row_pieces
from losses.kernels.sigmoid_formula import Weighing, focal_slope, focal_value
from losses.kernels.sigmoid_scratch import Buffers, buffers_like, focal_slope_into, focal_value_into


class SigmoidFocal(torch.autograd.Function):
    """Logits [R, K]; targets [R, K] or labels [R]; ignore [R, X] or None; to a loss [R, K].

    `summed` gives the sum of the loss instead, a scalar, and never holds the loss itself.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits_RK: Tensor,
        targets: Tensor,
        ignore_RX: Tensor | None,
        weighing: Weighing,
        summed: bool,
        fused: bool,
    ) -> Tensor:
        """The loss, float32 for half-precision logits."""
        ctx.save_for_backward(logits_RK, targets, ignore_RX)
        ctx.weighing, ctx.fused = weighing, fused
        ctx.soft = has_soft_targets(targets)
        if fused:
            loss = fused_value(logits_RK, targets, ignore_RX, weighing, ctx.soft, summed)
            if loss is not None:
                return loss
        return _eager_value(logits_RK, targets, ignore_RX, weighing, ctx.soft, summed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the logits, in their dtype."""
        logits_RK, targets, ignore_RX = ctx.saved_tensors
        upstream_RK = upstream.expand(logits_RK.shape)
        arguments = (logits_RK, targets, ignore_RX, ctx.weighing, ctx.soft, upstream_RK)
        gradient_RK = fused_slope(*arguments) if ctx.fused else None
        if gradient_RK is None:
            gradient_RK = _eager_slope(*arguments)
        return gradient_RK, None, None, None, None, None


def _eager_value(
    logits_RK: Tensor,
    targets: Tensor,
    ignore_RX: Tensor | None,
    weighing: Weighing,
    soft: bool,
    summed: bool,
) -> Tensor:
    dtype = compute_dtype(logits_RK.dtype)
    total = torch.zeros((), dtype=torch.float64, device=logits_RK.device)
    loss_RK = torch.empty_like(logits_RK[:0] if summed else logits_RK, dtype=dtype)
    for rows, x_nK, t_nK, buffers in _pieces(logits_RK, targets, soft):
        out_nK = torch.empty_like(x_nK) if summed else loss_RK[rows]
        if buffers is None:
            out_nK.copy_(focal_value(x_nK, t_nK, weighing, soft))
        else:
            focal_value_into(out_nK, x_nK, t_nK, weighing, buffers)
        if ignore_RX is not None:
            out_nK.masked_fill_(ignore_RX[rows], 0)
        if summed:
            total += out_nK.sum()
    return total.to(dtype) if summed else loss_RK


def _eager_slope(
    logits_RK: Tensor,
    targets: Tensor,
    ignore_RX: Tensor | None,
    weighing: Weighing,
    soft: bool,
    upstream_RK: Tensor,
) -> Tensor:
    gradient_RK = torch.empty_like(logits_RK)
    for rows, x_nK, t_nK, buffers in _pieces(logits_RK, targets, soft):
        out_nK, upstream_nK = gradient_RK[rows], upstream_RK[rows]
        if buffers is None:
            out_nK.copy_(focal_slope(x_nK, t_nK, weighing, soft) * upstream_nK)
        else:
            focal_slope_into(out_nK, x_nK, t_nK, weighing, upstream_nK, buffers)
        if ignore_RX is not None:
            out_nK.masked_fill_(ignore_RX[rows], 0)
    return gradient_RK


def _pieces(
    logits_RK: Tensor, targets: Tensor, soft: bool
) -> Iterator[tuple[slice, Tensor, Tensor, Buffers | None]]:
    """Rows, logits and targets of each piece; buffers for hard targets, else None."""
    dtype = compute_dtype(logits_RK.dtype)
    buffers: Buffers | None = None
    for rows in row_pieces(logits_RK):
        x_nK = logits_RK[rows].to(dtype)
        t_nK = targets[rows]
        t_nK = one_hot(t_nK, x_nK.shape[1], dtype) if t_nK.ndim == 1 else t_nK.to(dtype)
        if buffers is None and not soft:
            buffers = buffers_like(x_nK)
        yield rows, x_nK, t_nK, buffers


def has_soft_targets(targets: Tensor) -> bool:
    """Whether any target is strictly between 0 and 1.

    On an accelerator the answer would stop the queue: there every floating target counts as soft,
    and bool ones, which are hard, take a third of the passes over memory.

    >>> has_soft_targets(torch.eye(2)), has_soft_targets(torch.full((2, 2), 0.5))
    (False, True)
    """
    if not targets.is_floating_point():
        return False
    if targets.device.type != "cpu":
        return True
    scratch: Tensor | None = None
    for rows in row_pieces(targets):
        t_nK = targets[rows]
        scratch = torch.empty_like(t_nK) if scratch is None else scratch[: len(t_nK)]
        if torch.addcmul(t_nK, t_nK, t_nK, value=-1, out=scratch).sum() != 0:  # t (1 - t) >= 0
            return True
    return False


def one_hot(labels_n: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Labels 0..K [n] to [n, K]; K, the background, gives a row of zeros.

    >>> one_hot(torch.tensor([1, 2]), 2, torch.float32)
    tensor([[0., 1.],
            [0., 0.]])
    """
    hot = torch.zeros(len(labels_n), classes + 1, dtype=dtype, device=labels_n.device)
    return hot.scatter_(1, labels_n[:, None], 1)[:, :classes].contiguous()
