"""Small glyphs that several tests share, written once a session."""

from pathlib import Path

import pytest

from datasets.glyphs.write import write_glyphs


@pytest.fixture(scope="session")
def small_glyphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "glyphs"
    return write_glyphs(root, train=24, val=6, test=8)
