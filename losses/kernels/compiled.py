"""Sigmoid focal loss compiled into one loop for the value and one for the gradient.

Shapes: R rows, K classes; X is 1 or K. `None` comes back where nothing can be compiled.

Compiled kernels: the closed forms as one loop over memory, by torch.compile.

A kernel is compiled at its first call for a kind of input and kept on disk by torch, so that later
processes only load it. gamma and the weights are passed as tensors: a schedule that moves them at
every step compiles nothing anew. Where compiling fails, as without a C++ compiler, one notice is
given and the eager kernels are used from then on.
"""

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from losses.kernels.pieces import compute_dtype
from losses.kernels.sigmoid_formula import Weighing, equals, focal_slope, focal_value

# Kinds of input (dtype, rank, mask, hard or soft) share a function; torch gives up after 8 of them.
KINDS = 256
# A product and a sum in one instruction: a fifth of the loop's time, and one rounding less.
OPTIONS: dict[str, str | bool] = {"cpp.enable_floating_point_contract_flag": "fast"}


@dataclass(slots=True)
class _Availability:
    reason: str | None = None  # why there is none


_availability = _Availability()


def run_fused(function: Callable[..., Tensor], *arguments: Any) -> Tensor | None:
    """Call the compiled form of a pure function; None where it cannot be compiled.

    >>> type(run_fused(torch.neg, torch.zeros(1))) in (Tensor, type(None))
    True
    """
    if _availability.reason is not None:
        return None
    # torch looks at the .grad of what it is given, and a tensor inside a graph warns of that
    arguments = tuple(a.detach() if isinstance(a, Tensor) else a for a in arguments)
    try:
        dynamo = _compiler()
        with dynamo.config.patch(recompile_limit=KINDS):
            return _compiled(function)(*arguments)
    except Exception as error:  # whatever stops a compiler; a true error comes again from eager
        lines = (str(error).strip() or type(error).__name__).splitlines()
        told = 2 if lines[0].endswith(":") else 1
        _availability.reason = " ".join(lines[:told])
        warnings.warn(
            f"fused: the loss cannot be compiled here and runs eagerly ({_availability.reason})",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


@functools.cache
def _compiler() -> Any:
    """torch's compiler, seconds of imports that only this path needs. Where warnings are errors,
    those of torch's own modules about one another would leave it half imported.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch._dynamo
        import torch._inductor.compile_fx  # noqa: F401
    return torch._dynamo


@functools.cache
def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return torch.compile(function, dynamic=True, fullgraph=True, options=dict(OPTIONS))


Power = Literal["zero", "one", "two", "any"]
# These need no exponential, a sixth of the time; a ramp from 0 to 2 meets three kinds in all.
POWERS: dict[Power, float] = {"zero": 0.0, "one": 1.0, "two": 2.0}


def fused_value(
    logits_RK: Tensor,
    targets: Tensor,
    ignore_RX: Tensor | None,
    weighing: Weighing,
    soft: bool,
    summed: bool,
) -> Tensor | None:
    """Loss [R, K], or its sum.

    >>> weighing = Weighing(1.0, 1.0, 2.0)
    >>> value = fused_value(torch.zeros(1, 2), torch.ones(1, 2), None, weighing, False, False)
    >>> value is None or value.shape == (1, 2)
    True
    """
    weights, mode = _as_tensors(weighing, logits_RK), (soft, _named_power(weighing.gamma))
    if summed:
        loss_R = run_fused(_row_sums, logits_RK, targets, ignore_RX, *weights, *mode)
        return None if loss_R is None else loss_R.sum(dtype=torch.float64).to(loss_R.dtype)
    if _is_elementwise(targets, ignore_RX, weights):
        flat = (logits_RK.view(-1), targets.view(-1), None)
        loss = run_fused(_value, *flat, *weights, *mode)
        return None if loss is None else loss.view(logits_RK.shape)
    return run_fused(_value, logits_RK, targets, ignore_RX, *weights, *mode)


def fused_slope(
    logits_RK: Tensor,
    targets: Tensor,
    ignore_RX: Tensor | None,
    weighing: Weighing,
    soft: bool,
    upstream_RK: Tensor,
) -> Tensor | None:
    """Gradient [R, K] times `upstream`, which is often one number seen through strides of 0.

    >>> x, t, upstream = torch.zeros(1, 2), torch.ones(1, 2), torch.ones(()).expand(1, 2)
    >>> slope = fused_slope(x, t, None, Weighing(1.0, 1.0, 2.0), False, upstream)
    >>> slope is None or slope.shape == (1, 2)
    True
    """
    weights, mode = _as_tensors(weighing, logits_RK), (soft, _named_power(weighing.gamma))
    if upstream_RK.numel() == 0:
        return torch.empty_like(logits_RK)
    if upstream_RK.stride() == (0, 0):
        upstream = upstream_RK[0, 0]
        if _is_elementwise(targets, ignore_RX, weights):
            flat = (logits_RK.view(-1), targets.view(-1), None)
            slope = run_fused(_slope, *flat, *weights, *mode, upstream)
            return None if slope is None else slope.view(logits_RK.shape)
    elif upstream_RK.stride(1) == 0:
        upstream = upstream_RK[:, :1].contiguous()
    else:
        upstream = upstream_RK.contiguous()
    return run_fused(_slope, logits_RK, targets, ignore_RX, *weights, *mode, upstream)


def _is_elementwise(
    targets: Tensor, ignore_RX: Tensor | None, weights: tuple[Tensor, Tensor, Tensor]
) -> bool:
    """Whether rows and classes make no difference, so that one long loop will do."""
    single = all(weight.ndim == 0 for weight in weights)
    return single and targets.ndim == 2 and ignore_RX is None


def _as_tensors(weighing: Weighing, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    dtype, device = compute_dtype(like.dtype), like.device
    parameters = (weighing.positive, weighing.negative, weighing.gamma)
    positive, negative, gamma = (
        torch.as_tensor(value, dtype=dtype, device=device) for value in parameters
    )
    return positive, negative, gamma


def _named_power(gamma: float | Tensor) -> Power:
    """The power that is compiled in; any other gamma is read from its tensor."""
    names = [name for name, value in POWERS.items() if equals(gamma, value)]
    return names[0] if names else "any"


def _inputs(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    x = logits.to(compute_dtype(logits.dtype))
    if targets.ndim < logits.ndim:
        targets = targets[:, None] == torch.arange(logits.shape[1], device=logits.device)
    return x, targets.to(x.dtype)


def _value(
    logits: Tensor,
    targets: Tensor,
    ignore: Tensor | None,
    positive: Tensor,
    negative: Tensor,
    gamma: Tensor,
    soft: bool,
    power: Power,
) -> Tensor:
    x, t = _inputs(logits, targets)
    weighing = Weighing(positive, negative, POWERS.get(power, gamma))
    loss = focal_value(x, t, weighing, soft)
    return loss if ignore is None else loss.masked_fill(ignore, 0)


def _row_sums(
    logits: Tensor,
    targets: Tensor,
    ignore: Tensor | None,
    positive: Tensor,
    negative: Tensor,
    gamma: Tensor,
    soft: bool,
    power: Power,
) -> Tensor:
    return _value(logits, targets, ignore, positive, negative, gamma, soft, power).sum(1)


def _slope(
    logits: Tensor,
    targets: Tensor,
    ignore: Tensor | None,
    positive: Tensor,
    negative: Tensor,
    gamma: Tensor,
    soft: bool,
    power: Power,
    upstream: Tensor,
) -> Tensor:
    x, t = _inputs(logits, targets)
    weighing = Weighing(positive, negative, POWERS.get(power, gamma))
    slope = focal_slope(x, t, weighing, soft) * upstream
    if ignore is not None:
        slope = slope.masked_fill(ignore, 0)
    return slope.to(logits.dtype)
