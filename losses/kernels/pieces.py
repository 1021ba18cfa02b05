"""Cutting a tensor into pieces whose scratch fits in cache, and that scratch's number format.

Shapes: R rows, K classes, D further positions.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# A thread's share of a piece: at 512 KiB of float32 the three scratch tensors of a loss stay in an
# L2 cache of 2 MiB, and calls and barriers are few.
CPU_ELEMENTS = 2**17
# An accelerator wants few launches; 16 Mi elements only bound the scratch memory.
OTHER_ELEMENTS = 2**24


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for half precision, otherwise the dtype itself.

    >>> compute_dtype(torch.bfloat16), compute_dtype(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def piece_elements(values: Tensor) -> int:
    """How many elements make a piece on this tensor's device.

    >>> piece_elements(torch.zeros(1)) == CPU_ELEMENTS * torch.get_num_threads()
    True
    """
    return CPU_ELEMENTS * torch.get_num_threads() if values.device.type == "cpu" else OTHER_ELEMENTS


def row_pieces(values_RK: Tensor) -> Iterator[slice]:
    """Slices of rows that cover [R, K] in order, each at least one row.

    >>> list(row_pieces(torch.zeros(7, 80)))
    [slice(0, 7, None)]
    """
    rows, classes = values_RK.shape
    yield from _steps(rows, piece_elements(values_RK) // max(1, classes))


def block_pieces(values_RKD: Tensor) -> Iterator[tuple[slice, slice]]:
    """Slices of rows and of positions that cover [R, K, D], all K classes in each.

    >>> list(block_pieces(torch.zeros(2, 10, 6)))
    [(slice(0, 2, None), slice(0, 6, None))]
    """
    rows, classes, positions = values_RKD.shape
    columns = max(1, piece_elements(values_RKD) // max(1, classes))
    for row in _steps(rows, columns // max(1, positions)):
        for position in _steps(positions, columns):
            yield row, position


def _steps(total: int, step: int) -> Iterator[slice]:
    step = max(1, step)
    for start in range(0, total, step):
        yield slice(start, min(total, start + step))
