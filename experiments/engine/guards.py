"""What can go wrong in the middle of a training, told with what to change and what is kept."""

import errno
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from experiments.errors import GuardError

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What torch, oneDNN and the standard library say; all of it comes as a plain RuntimeError.
_CPU_ALLOCATOR = (
    *("can't allocate memory", "not enough memory", "Cannot allocate memory"),
    *("could not create a memory", "bad_alloc"),
)
_WORKER_KILLED = "is killed by signal"


class NonFiniteError(GuardError):
    """A loss or weights that are no numbers."""


class OutOfMemoryError(GuardError):
    """Memory of the machine or the GPU that did not suffice."""


class DiskError(GuardError):
    """A disk, or a quota, that is full."""


class LostRankError(GuardError):
    """A process of several that died or fell silent."""


def non_finite_loss(
    loss: float, iteration: int, images: list[str], remedy: str = ""
) -> NonFiniteError:
    """The error for a loss that is NaN or infinite, naming the images of its batch."""
    return NonFiniteError(
        f"the loss is not finite ({loss}) at iteration {iteration}; images of the batch: "
        f"{', '.join(images) or 'unknown'}. {remedy}Lower optimizer.lr, set optimizer.clip_norm, "
        "or leave such batches out with train.nonfinite=skip"
    )


def non_finite(weights: Mapping[str, Tensor]) -> NonFiniteError | None:
    """The error for weights that are no numbers, which are never written to a checkpoint."""
    broken = [
        name
        for name, value in weights.items()
        if value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
    if not broken:
        return None
    more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
    return NonFiniteError(
        f"weights are not finite ({broken[0]}{more}): a gradient overflowed while the loss did "
        "not. This state is not written; lower optimizer.lr or set optimizer.clip_norm"
    )


def disk_error(error: BaseException, path: Path) -> DiskError | None:
    """The error for a full disk, where `error` is or was caused by one.

    torch reports a failed write as a RuntimeError of its own; the system's error is its context.
    """
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in _DISK:
            return DiskError(
                f"{path}: cannot be written: {cause.strerror} ({_free(path)}). What was written "
                "before is whole. Make room, then give the same command again"
            )
    return None


def explained(error: Exception, sizes: str, folder: Path) -> Exception:
    """`error` in the words of a guard where its cause is known, else itself.

    `sizes` tells the settings that decide how much memory a step takes.
    """
    if isinstance(error, GuardError):
        return error
    told = str(error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        words in told for words in _CPU_ALLOCATOR
    ):
        return OutOfMemoryError(f"out of memory: {_first_line(told)}. {sizes}")
    if _WORKER_KILLED in told and "DataLoader worker" in told:
        return OutOfMemoryError(
            f"a process that loads images was killed, most likely for memory: {_first_line(told)}. "
            "Lower train.workers, or cache smaller images (train.cache_images)"
        )
    return disk_error(error, folder) or error


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no more is told"])[0].rstrip(".")[:300]


def _free(path: Path) -> str:
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return "free space unknown"
    return f"{free / 2**20:.1f} MiB free"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
