"""Sigmoid focal loss: its value and gradient in closed form, evaluated piece by piece.

Shapes: R rows, K classes; `_nK` a piece of rows. With t the target of an element, x its logit:
  y = 1 where t >= 1/2, else 0     v = x (1 - 2 y), > 0 where the prediction is wrong     a =
  sigmoid(v) r = min(t, 1 - t), 0 for a hard target
  cross-entropy  c = softplus(v) - r v          q = 1 - p_t = a + r (1 - 2 a)
  loss           w c q**gamma
  d loss / d x   w (1 - 2 y) q**gamma [(a - r) + gamma c (1 - 2 r) (1 - a) a / q]
docs/losses.md derives them. No power gamma - 1 is left, so nothing is infinite for 0 < gamma < 1.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from losses.checks import compute_dtype
from losses.pieces import row_pieces


@dataclass(frozen=True, slots=True)
class Weighing:
    """Parameters of the loss, each a number or a tensor [K]: weights of positives and of negatives,
    and gamma.
    """

    positive: float | Tensor
    negative: float | Tensor
    gamma: float | Tensor


def _power(q: Tensor, log_q: Tensor, gamma: float | Tensor) -> Tensor:
    """q ** gamma from q and its logarithm; the exponents people use most cost a product."""
    if isinstance(gamma, float) and gamma in (1.0, 2.0):
        return q if gamma == 1.0 else q * q
    return (log_q * gamma).exp()


def _terms(v_nK: Tensor, r_nK: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c, a, q and log q of the legend; r None means hard targets."""
    low_nK = v_nK.clamp(max=0)
    small_nK = v_nK.abs().neg_().exp_()  # exp(-|v|) in (0, 1]: never overflows
    log_nK = small_nK.log1p()
    a_nK = low_nK.exp().div_(small_nK.add_(1))
    c_nK = (v_nK - low_nK).add_(log_nK)
    log_a_nK = low_nK.sub_(log_nK)
    if r_nK is None:
        return c_nK, a_nK, a_nK, log_a_nK
    q_nK = a_nK + r_nK * (1 - 2 * a_nK)
    tiny = torch.finfo(q_nK.dtype).tiny
    return c_nK - r_nK * v_nK, a_nK, q_nK, q_nK.clamp(min=tiny).log()


def _orient(x_nK: Tensor, t_nK: Tensor, soft: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """v, y and r of the legend; r None for hard targets."""
    if not soft:
        return torch.addcmul(x_nK, x_nK, t_nK, value=-2), t_nK, None
    y_nK = (t_nK >= 0.5).to(x_nK.dtype)
    return torch.addcmul(x_nK, x_nK, y_nK, value=-2), y_nK, torch.minimum(t_nK, 1 - t_nK)


def _line(t_nK: Tensor, at_zero: float | Tensor, at_one: float | Tensor) -> Tensor:
    """The straight line through `at_zero` at t = 0 and `at_one` at t = 1."""
    return (t_nK * (at_one - at_zero)).add_(at_zero)


def loss_piece(x_nK: Tensor, t_nK: Tensor, weighing: Weighing, soft: bool) -> Tensor:
    """Loss [n, K] of logits and targets [n, K] of one floating dtype."""
    v_nK, _, r_nK = _orient(x_nK, t_nK, soft)
    c_nK, _, q_nK, log_q_nK = _terms(v_nK, r_nK)
    if not _is(weighing.gamma, 0.0):
        c_nK = c_nK * _power(q_nK, log_q_nK, weighing.gamma)
    if _is(weighing.positive, 1.0) and _is(weighing.negative, 1.0):
        return c_nK
    return c_nK * _line(t_nK, weighing.negative, weighing.positive)


def gradient_piece(x_nK: Tensor, t_nK: Tensor, weighing: Weighing, soft: bool) -> Tensor:
    """d loss / d logits [n, K] of logits and targets [n, K] of one floating dtype."""
    v_nK, y_nK, r_nK = _orient(x_nK, t_nK, soft)
    c_nK, a_nK, q_nK, log_q_nK = _terms(v_nK, r_nK)
    slope_nK = a_nK if r_nK is None else a_nK - r_nK
    if not _is(weighing.gamma, 0.0):
        focus_nK = c_nK * (1 - a_nK) * weighing.gamma
        if r_nK is not None:
            tiny = torch.finfo(q_nK.dtype).tiny
            focus_nK = focus_nK * (1 - 2 * r_nK) * (a_nK / q_nK.clamp(min=tiny))
        slope_nK = (slope_nK + focus_nK) * _power(q_nK, log_q_nK, weighing.gamma)
    if r_nK is None:  # the weight and the sign 1 - 2 y in one line
        return slope_nK * _line(t_nK, weighing.negative, -weighing.positive)
    return slope_nK * (1 - 2 * y_nK) * _line(t_nK, weighing.negative, weighing.positive)


def _is(number: float | Tensor, value: float) -> bool:
    return isinstance(number, float) and number == value


def one_hot(labels_n: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Labels 0..K [n] to [n, K]; K, the background, gives a row of zeros."""
    hot = torch.zeros(len(labels_n), classes + 1, dtype=dtype, device=labels_n.device)
    return hot.scatter_(1, labels_n[:, None], 1)[:, :classes].contiguous()


def is_soft(targets_nK: Tensor) -> bool:
    """Whether any target is strictly between 0 and 1; not looked up on an accelerator, where it
    counts as yes.
    """
    if not targets_nK.is_floating_point():
        return False
    return targets_nK.device.type != "cpu" or not torch.equal(targets_nK * targets_nK, targets_nK)


def _piece_of(logits_RK: Tensor, targets: Tensor, rows: slice) -> tuple[Tensor, Tensor, bool]:
    dtype = compute_dtype(logits_RK.dtype)
    piece = targets[rows]
    if piece.ndim == 1:
        return logits_RK[rows].to(dtype), one_hot(piece, logits_RK.shape[1], dtype), False
    return logits_RK[rows].to(dtype), piece.to(dtype), is_soft(piece)


class SigmoidFocal(torch.autograd.Function):
    """The loss with its closed-form gradient. Nothing but the inputs is kept for the backward
    pass.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits_RK: Tensor,
        targets: Tensor,
        ignore_RX: Tensor | None,
        weighing: Weighing,
    ) -> Tensor:
        """Logits [R, K]; targets [R, K] or labels [R]; ignore [R, 1] or [R, K]; loss [R, K]."""
        ctx.save_for_backward(logits_RK, targets, ignore_RX)
        ctx.weighing = weighing
        loss_RK = torch.empty_like(logits_RK, dtype=compute_dtype(logits_RK.dtype))
        for rows in row_pieces(logits_RK):
            x_nK, t_nK, soft = _piece_of(logits_RK, targets, rows)
            loss_nK = loss_piece(x_nK, t_nK, weighing, soft)
            if ignore_RX is not None:
                loss_nK = loss_nK.masked_fill(ignore_RX[rows], 0)
            loss_RK[rows] = loss_nK
        return loss_RK

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream_RK: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the logits [R, K], in their dtype."""
        logits_RK, targets, ignore_RX = ctx.saved_tensors
        gradient_RK = torch.empty_like(logits_RK)
        for rows in row_pieces(logits_RK):
            x_nK, t_nK, soft = _piece_of(logits_RK, targets, rows)
            slope_nK = gradient_piece(x_nK, t_nK, ctx.weighing, soft) * upstream_RK[rows]
            if ignore_RX is not None:
                slope_nK = slope_nK.masked_fill(ignore_RX[rows], 0)
            gradient_RK[rows] = slope_nK
        return gradient_RK, None, None, None
