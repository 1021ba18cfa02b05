"""What can go wrong in the middle of a training, told with what to change and what is kept.

A loss that is no number: the run stops before it is written down, or the update is left out.
"""

import errno
import math
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from experiments.config.train import Train
from experiments.engine import distributed
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


FileNames = Callable[[Sequence[str]], list[str]]


class FiniteHook(Hook):
    """Stops a run whose loss is not a number, or counts the updates that were left out for it.

    `check_every`: losses are read so many iterations at once, which spares a GPU the waiting. They
    are read before every checkpoint in any case.
    """

    priority = "HIGH"

    def __init__(
        self,
        train: Train,
        detector: nn.Module,
        file_names: FileNames,
        *,
        check_every: int = 1,
    ) -> None:
        self._train = train
        self._detector = detector
        self._file_names = file_names
        self._check_every = 1 if train.nonfinite == "skip" else check_every
        self._waiting: list[tuple[int, list[str], Tensor]] = []
        self._buffers: dict[str, Tensor] = {}
        self.skipped = 0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Remember batch norm's statistics, which the forward pass of a bad batch would spoil."""
        if self._train.nonfinite == "skip":
            self._buffers = {
                name: buffer.clone() for name, buffer in self._detector.named_buffers()
            }

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Look at the loss of this update, now or together with later ones."""
        images = [str(name) for name in data_batch] if isinstance(data_batch, list) else []
        loss = (outputs or {})["loss"]
        if self._train.nonfinite == "skip":
            if runner.optim_wrapper.skipped:
                self._skip(batch_idx + 1, images, float(loss))
            return
        self._waiting.append((batch_idx + 1, images, loss))
        if len(self._waiting) >= self._check_every:
            self.check()

    def check(self) -> None:
        """Raise NonFiniteError for the first waiting loss that is NaN or infinite on any rank."""
        if not self._waiting:
            return
        losses = torch.stack([loss for _, _, loss in self._waiting]).tolist()
        waiting, self._waiting = self._waiting, []
        bad = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
        first = len(losses) - distributed.anywhere(len(losses) - bad)
        if first == len(losses):
            return
        iteration, images, _ = waiting[first]
        loss, files = self._at_fault(images, losses[first])
        raise non_finite_loss(loss, iteration, files, "The last checkpoint is from before it. ")

    def _skip(self, iteration: int, images: list[str], loss: float) -> None:
        self.skipped += 1
        with torch.no_grad():
            for name, buffer in self._detector.named_buffers():
                buffer.copy_(self._buffers[name])
        loss, files = self._at_fault(images, loss)
        limit = self._train.nonfinite_limit
        if self.skipped > limit:
            told = f"It would be update {self.skipped} left out, train.nonfinite_limit is {limit}. "
            raise non_finite_loss(loss, iteration, files, told)
        if distributed.is_first():
            print(
                f"iteration {iteration}: loss {loss}; this update is left out "
                f"({self.skipped} of at most {limit}); images: {', '.join(files)}",
                file=sys.stderr,
                flush=True,
            )

    def _at_fault(self, images: list[str], loss: float) -> tuple[float, list[str]]:
        """The first bad loss of any rank, and the files of the ranks that had one.

        A finite loss everywhere means a gradient that was not: then all files are named.
        """
        found: list[tuple[float, list[str]]] = distributed.gathered((loss, images))
        bad = [pair for pair in found if not math.isfinite(pair[0])] or found
        return bad[0][0], self._file_names([name for _, names in bad for name in names])


def sees_non_finite(losses: Sequence[Tensor], norm: Tensor | None) -> bool:
    """Whether a loss or the gradient's norm is no number on any rank, told to each alike."""
    values: list[Any] = [*losses] if norm is None else [*losses, norm]
    bad = not bool(torch.isfinite(torch.stack(values)).all())
    return bool(distributed.anywhere(int(bad)))
