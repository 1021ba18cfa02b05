"""torch's compiler is loaded by what compiles, not by each start.

torchvision imports `torch._dynamo` for one question, and every optimiser of torch to call two
functions that do nothing unless something is being compiled. Loading it takes longer than torch
itself (2.2 s of a start of 10 s on 2 cores). `install` puts stand-ins in its place that answer
those three and become the real modules at the first other question, `torch.compile` among them.
"""

import functools
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import FunctionType, ModuleType
from typing import Any

PACKAGE = "torch._dynamo"
UTILITIES = f"{PACKAGE}.utils"


class _StandIn(ModuleType):
    """A module of the compiler that is not loaded yet."""

    def __getattr__(self, name: str) -> Any:
        # `inspect` and `warnings` ask every module for its __file__ and the like.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


class _StandInLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == UTILITIES:
            module.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
        else:
            module.disable = _disable  # type: ignore[attr-defined]
            module.graph_break = _graph_break  # type: ignore[attr-defined]


class _Loaded(Loader):
    """For a module that came with the real package while it was looked for."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A stand-in for the package and its utilities; any other part brings the real ones."""
        if name in (PACKAGE, UTILITIES):
            return ModuleSpec(name, _StandInLoader(), is_package=name == PACKAGE)
        if not name.startswith(f"{PACKAGE}."):
            return None
        package = _real(PACKAGE)
        if name in sys.modules:
            return ModuleSpec(name, _Loaded(sys.modules[name]))
        return PathFinder.find_spec(name, package.__path__)


_FINDER = _Finder()


def install() -> None:
    """From here on, load the compiler when it is needed; nothing if it is there already."""
    if PACKAGE not in sys.modules and _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def _real(name: str) -> ModuleType:
    """The module itself; the stand-ins go."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
        for stand_in in (PACKAGE, UTILITIES):
            sys.modules.pop(stand_in, None)
        vars(sys.modules["torch"]).pop("_dynamo", None)
    return importlib.import_module(name)


def _loaded() -> bool:
    return _FINDER not in sys.meta_path


def _graph_break(*arguments: Any, **options: Any) -> None:
    """Without meaning outside of compiled code, which there is none of without the compiler."""
    if _loaded():
        _real(PACKAGE).graph_break(*arguments, **options)


def _disable(fn: Any = None, recursive: bool = True, **options: Any) -> Any:
    """`fn`, which the compiler leaves alone once it is there; anything but a function to disable (a
    class, a decorator with options) is for the real one.
    """
    if not isinstance(fn, FunctionType):
        return _real(PACKAGE).disable(fn, recursive, **options)
    disabled: Callable[..., Any] | None = None

    @functools.wraps(fn)
    def called(*arguments: Any, **named: Any) -> Any:
        nonlocal disabled
        if not _loaded():
            return fn(*arguments, **named)
        if disabled is None:
            disabled = _real(PACKAGE).disable(fn, recursive, **options)
        assert disabled is not None
        return disabled(*arguments, **named)

    return called


def _is_compile_supported(device_type: str) -> bool:
    answer: bool = _real(UTILITIES).is_compile_supported(device_type)
    return answer
