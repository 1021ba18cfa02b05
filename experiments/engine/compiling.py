"""torch.compile of a detector's network, for training and for detecting."""

import shutil

from detectors.base import AnyDetector
from experiments.errors import UsageError

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
