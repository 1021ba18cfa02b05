"""Cutting a tensor into pieces whose scratch fits in cache. Shapes: R rows, K classes, D further
positions.
"""

from collections.abc import Iterator

from torch import Tensor

# A 128 Ki-element float32 piece is 512 KiB, so the handful of scratch tensors of a loss stay in a 2
# MiB L2 cache.
CPU_ELEMENTS = 2**17
# An accelerator wants few launches; 16 Mi elements only bound the scratch memory.
OTHER_ELEMENTS = 2**24


def piece_elements(values: Tensor) -> int:
    """How many elements of this tensor's device make a piece."""
    return CPU_ELEMENTS if values.device.type == "cpu" else OTHER_ELEMENTS


def row_pieces(values_RK: Tensor) -> Iterator[slice]:
    """Slices of rows that cover [R, K] in order, each at least one row.

    >>> import torch
    >>> [piece.stop - piece.start for piece in row_pieces(torch.zeros(5000, 80))]
    [1638, 1638, 1638, 86]
    """
    rows, classes = values_RK.shape
    yield from _steps(rows, piece_elements(values_RK) // max(1, classes))


def block_pieces(values_RKD: Tensor) -> Iterator[tuple[slice, slice]]:
    """Slices of rows and of positions that cover [R, K, D], all K classes in each.

    >>> import torch
    >>> len(list(block_pieces(torch.zeros(2, 10, 20_000))))
    4
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
