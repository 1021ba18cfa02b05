"""How much memory this process and its loader workers have held at most."""

import re
import resource
import sys
from pathlib import Path

import torch

from experiments.record.record import Memory

MIB = 2**20
# ru_maxrss is in KiB on Linux and in bytes on macOS.
_UNIT = 1 if sys.platform == "darwin" else 1024
_STATUS = Path("/proc/self/status")


def peak_memory(workers: int) -> Memory:
    """The peaks so far, since the process began; `workers` is how many loader processes it has had.

    Without workers the children's peak is left out: those are small commands, and of a command
    Linux tells at least the size that this process had when it started it.
    """
    gpu = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return Memory(
        process_mib=_own(),
        worker_mib=_used(resource.RUSAGE_CHILDREN) if workers else None,
        gpu_mib=round(torch.cuda.max_memory_allocated() / MIB, 1) if gpu else None,
    )


def _own() -> float:
    """getrusage would count what the process that started this one held at that moment."""
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text()) if _STATUS.is_file() else None
    return round(int(found[1]) / 1024, 1) if found else _used(resource.RUSAGE_SELF)


def _used(who: int) -> float:
    return round(resource.getrusage(who).ru_maxrss * _UNIT / MIB, 1)
