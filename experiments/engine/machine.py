"""How a machine's cores are shared out, and arithmetic that gives the same bits each time.

How much memory this process and its loader workers have held at most.
"""

import ctypes
import os
import re
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from detectors.base import AnyDetector
from experiments.errors import UsageError
from experiments.record.origin import core_count, trials_at_once
from experiments.record.record import Memory

_COMPILERS = ("c++", "g++", "clang++")


def compile_parts(detector: AnyDetector, *, frozen: bool = False) -> None:
    """Compile the parts of the network in place; what joins them, and the loss, run as they are.

    `frozen` is for networks whose weights do not change any more: weights become constants, in the
    layout that the convolutions want (on a CPU only).
    """
    options = {"freezing": True} if frozen else None
    for name, part in detector.named_children():
        if name != "normaliser":
            part.compile(options=options)


def check_compiler() -> None:
    """Raises UsageError where torch.compile has no C++ compiler to work with."""
    if not any(shutil.which(name) for name in _COMPILERS):
        raise UsageError(f"--compile: needs a C++ compiler, found none of {', '.join(_COMPILERS)}")


_PRODUCT = 512  # rows and columns of the matrices, 4096 on a GPU


def product_gflops() -> float:
    """Billions of operations a second of a float32 matrix product with this process's threads or
    GPU, at its best: what tells one machine's pace from another's. Takes about .1 s.
    """
    gpu = torch.cuda.is_available()
    side = 4096 if gpu else _PRODUCT
    matrix = torch.ones(side, side, device="cuda" if gpu else "cpu")
    best = float("inf")
    for _ in range(24):  # its best, since others may use the machine; the first one warms up
        began = time.perf_counter()
        matrix @ matrix
        if gpu:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return round(2 * side**3 / best / 1e9, 1)


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


MOST_PROCESSES = 8  # of one rank; more of them decode faster than one network takes images
MOST_THREADS = 32  # of one rank; convolutions of a few images gain nothing from more
# glibc's mallopt (malloc.h): how much free memory it keeps, from which size on blocks are mapped.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def shares(cores: int, ranks: int, gpu: bool) -> tuple[int, int]:
    """(loader processes, threads) for one of `ranks` training processes on a machine.

    On a CPU the network needs every core that loading leaves: one in eight loads, and on few cores
    none, since the network and a loader process would only take turns. Beside a GPU nearly all
    cores load.

    >>> shares(2, 1, gpu=False), shares(64, 1, gpu=False), shares(64, 8, gpu=True)
    ((0, 2), (8, 32), (7, 1))
    """
    own = max(1, cores // ranks)
    processes = min(MOST_PROCESSES, own - 1 if gpu else own // 8)
    return processes, max(1, min(MOST_THREADS, own - processes))


def loader_processes() -> int:
    """Processes that load images for this rank, unless the recipe says otherwise."""
    return shares(core_count(), _sharers(), torch.cuda.is_available())[0]


@contextmanager
def prepared(threads: int | None, deterministic: bool) -> Iterator[None]:
    """Use so many threads, and deterministic algorithms only, for the time of a run; on a CPU, keep
    freed memory from here to the end of the process.

    Null threads: what OMP_NUM_THREADS says, else what suits the machine. Operations without a
    deterministic form raise RuntimeError, which names them.
    """
    if not torch.cuda.is_available():
        keep_freed_memory()
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        threads = shares(core_count(), _sharers(), torch.cuda.is_available())[1]
    if threads is not None:
        torch.set_num_threads(threads)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        if deterministic:  # the call imports the compiler's settings, 2 s
            torch.use_deterministic_algorithms(before[1])


def keep_freed_memory() -> bool:
    """Have the C library keep the memory of freed tensors for the next; whether it could be asked.

    Left alone, glibc gives back the maps of a step and gets them again, page by page and zeroed, in
    the next one (benchmarks/engine.py, part `memory`, has what that costs).
    """
    if not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"):
        return False
    library = ctypes.CDLL(None)
    return bool(
        library.mallopt(_MMAP_THRESHOLD, 2**30) and library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    )


def _sharers() -> int:
    """Ranks that share this machine, those of the other trials of a sweep among them."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) * trials_at_once()
