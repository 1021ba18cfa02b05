"""Every example in a docstring of this room runs, and every public function has one."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[2] / "losses"
MODULES = sorted(f"losses.{path.stem}" for path in ROOM.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if "fused" in name else ())  # these compile
        for name in MODULES
    ],
)
def test_examples_of(name: str) -> None:
    import torch

    module = importlib.import_module(name)
    results = doctest.testmod(module, extraglobs={"torch": torch})
    assert results.failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_has_an_example(name: str) -> None:
    module = importlib.import_module(name)
    functions = [
        function
        for label, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == name and not label.startswith("_")
    ]
    assert [f.__name__ for f in functions if ">>>" not in (f.__doc__ or "")] == []
