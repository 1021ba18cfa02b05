"""Importing a package without the optional parts of it that nobody here uses."""

import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def uncollected() -> Iterator[None]:
    """Without garbage collection, which would go through all that is being loaded again and again
    and finds nothing in it: a fifth of the time of a thousand records, or of a run's imports.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def without(*names: str, placeholders: Mapping[str, ModuleType] | None = None) -> Iterator[None]:
    """Let packages imported inside find the modules `names` not installed, and `placeholders`
    instead of others; modules already there stay, and all can be imported afterwards.

    None in `sys.modules` stops an import: Python's reference, "The module cache" (5.3.1). It is for
    imports that stand at the top of other packages' modules and that none of their settings stops:
    timm's log opens wandb, a wandb run its launcher.

    >>> with without("zlib_ng"):
    ...     import zlib_ng
    Traceback (most recent call last):
    ModuleNotFoundError: import of zlib_ng halted; None in sys.modules
    """
    given = dict.fromkeys(names) | dict(placeholders or {})
    new = {name: module for name, module in given.items() if name not in sys.modules}
    sys.modules.update(new)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in new:
            sys.modules.pop(name, None)
