"""Small glyphs that several tests share, written once a session."""

import os
from pathlib import Path

import pytest

from datasets.glyphs.write import write_glyphs


def pytest_configure(config: pytest.Config) -> None:
    """Tests are of what a CPU computes, to the bit where they say so; `-m gpu` is for a GPU."""
    if config.getoption("markexpr") != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session")
def small_glyphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "glyphs"
    return write_glyphs(root, train=24, val=6, test=8)
