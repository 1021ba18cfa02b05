"""Compiled kernels: the closed forms as one loop over memory, by torch.compile.

A kernel is compiled at its first call for a kind of input and kept on disk by torch, so that later
processes only load it. gamma and the weights are passed as tensors: a schedule that moves them at
every step compiles nothing anew. Where compiling fails, as without a C++ compiler, one notice is
given and the eager kernels are used from then on.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from warnings import warn

import torch
from torch import Tensor

# Kinds of input (dtype, rank, mask, hard or soft) share a function; torch gives up after 8 of them.
KINDS = 256


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
        import torch._dynamo  # a second of imports that only this path needs

        with torch._dynamo.config.patch(recompile_limit=KINDS):
            return _compiled(function)(*arguments)
    except Exception as error:  # whatever stops a compiler; a true error comes again from eager
        _availability.reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warn(
            f"fused: the loss cannot be compiled here and runs eagerly ({_availability.reason})",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


@functools.cache
def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return torch.compile(function, dynamic=True, fullgraph=True)
