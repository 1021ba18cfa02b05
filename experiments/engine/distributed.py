"""Several processes as one training: who writes, what they tell each other, and how they end.

Started by `torchrun`, each process is a rank. What lies on a CPU is exchanged by gloo, which no GPU
waits for, what lies on a GPU by NCCL. Every function here does nothing with one process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, distributed

from experiments.errors import GuardError, UsageError
from experiments.record.files import write_text

ValueT = TypeVar("ValueT")
# What gloo and NCCL say of a rank that is gone or silent; all of it is a plain RuntimeError.
_LOST = (
    *("closed by peer", "reset by peer", "timed out", "timeout", "nccl", "broken pipe"),
    *("connection refused", "gloo", "remote process exited"),
)


class LostRankError(GuardError):
    """A process of several that died or fell silent."""


def launched() -> bool:
    """Whether this process was started as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def rank() -> int:
    """This process's number, from 0; before the ranks have joined, as the launcher gave it."""
    if _running():
        return distributed.get_rank()
    return int(os.environ["RANK"]) if launched() else 0


def world() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _running() else 1


def share_of(images: int) -> int:
    """The images of a batch that this rank takes; raises UsageError where ranks cannot share them.

    A batch is the recipe's whatever the number of processes, so that an update stays the same.
    """
    if images % world():
        fitting = ", ".join(str(n) for n in range(1, images + 1) if images % n == 0)
        raise UsageError(
            f"train.batch_size: {images} images cannot be shared out evenly to {world()} "
            f"processes; start {fitting}, or set a batch_size that is a multiple of {world()}"
        )
    return images // world()


def is_first() -> bool:
    """Whether this process writes and tells for all."""
    return rank() == 0


@contextmanager
def joined(timeout: float, folder: Path) -> Iterator[None]:
    """Join the other ranks for the time of a run; one that is silent for `timeout` seconds ends it
    for all.
    """
    if not launched():
        yield
        return
    _trace(folder, int(os.environ["RANK"])).unlink(missing_ok=True)
    _start(timeout)
    try:
        yield
    finally:
        _end()


@contextmanager
def in_turn() -> Iterator[None]:
    """The first rank does it alone, then the others: what it writes is there when they look."""
    if not is_first():
        shared(None)
    yield
    if is_first():
        shared(None)


def leave_trace(folder: Path, error: BaseException) -> None:
    """Write down why this rank ends, for the first one to find when it misses it."""
    if world() > 1 and not isinstance(error, LostRankError):
        write_text(_trace(folder, rank()), f"{error}\n")


def is_lost_rank(error: BaseException) -> bool:
    """Whether `error` is what a collective raises when another rank is gone or silent."""
    if world() == 1 or not isinstance(error, RuntimeError) or isinstance(error, GuardError):
        return False
    told = str(error).lower()
    return isinstance(error, distributed.DistError) or any(words in told for words in _LOST)


def lost_rank(error: BaseException, folder: Path) -> LostRankError:
    """The error to tell: what the other rank left behind, or that it was killed or hangs."""
    for other in range(world()):
        trace = _trace(folder, other)
        if trace.is_file():
            return LostRankError(
                f"rank {other} failed: {trace.read_text(encoding='utf-8').strip()}"
            )
    reason = (str(error).strip().splitlines() or [""])[0][:200]
    return LostRankError(
        f"another rank is gone or did not answer within train.timeout ({reason}). The last "
        "checkpoint stands; the same command goes on from it"
    )


def anywhere(level: int) -> int:
    """The highest `level` of all ranks, told to each."""
    if world() == 1:
        return level
    told = torch.tensor(level)
    distributed.all_reduce(told, distributed.ReduceOp.MAX)
    return int(told)


def shared(value: ValueT) -> ValueT:
    """The first rank's `value`, given to each."""
    if world() == 1:
        return value
    box: list[ValueT] = [value]
    distributed.broadcast_object_list(box, 0)
    return box[0]


def gathered(value: ValueT) -> list[ValueT]:
    """The values of all ranks in their order, given to each."""
    if world() == 1:
        return [value]
    values: list[ValueT] = [value] * world()
    distributed.all_gather_object(values, value)
    return values


def summed(values: Tensor) -> Tensor:
    """The sum of a float64 CPU tensor over ranks."""
    if world() > 1:
        distributed.all_reduce(values)
    return values


@torch.no_grad()
def equalise(module: torch.nn.Module) -> None:
    """Give each rank the first one's buffers: batch norm's statistics differ between ranks."""
    if world() == 1:
        return
    for buffer in module.buffers():
        distributed.broadcast(buffer, 0)


def wrapper_settings() -> dict[str, object]:
    """How mmengine wraps the model for several processes; its own default needs a GPU."""
    device = [torch.cuda.current_device()] if torch.cuda.is_available() else None
    return {
        "type": "MMDistributedDataParallel",
        "device_ids": device,
        "broadcast_buffers": False,  # `equalise` does it where it matters, not at every step
    }


def _running() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _start(timeout: float) -> None:
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=timedelta(seconds=timeout)
    )


def _end() -> None:
    if _running():
        with suppress(RuntimeError):  # of a rank that is gone: the run's own error tells of it
            distributed.destroy_process_group()


def _trace(folder: Path, number: int) -> Path:
    return folder / f".rank{number}.error"
