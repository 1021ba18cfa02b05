"""What a run loads before its first iteration, and that what is left out comes when needed."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.importing import without

CHECKOUT = Path(__file__).parents[2]

TRAIN = """
import sys
from experiments.__main__ import main

def first_iteration(loop):
    heavy = ("pandas", "matplotlib", "wandb", "scipy", "ray", "optuna", "IPython")
    print("LOADED", [name for name in heavy if name in sys.modules])
    raise SystemExit(0)

from contextlib import contextmanager
from experiments import importing as garbage
imports = garbage.uncollected

@contextmanager
def imports_then_watch():
    with imports():
        yield
    from experiments.engine import runner as loop
    loop.UpdateLoop._update = first_iteration

garbage.uncollected = imports_then_watch
main(sys.argv[1:])
"""


def run(code: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("detector", ["yolov2", pytest.param("retinanet", marks=pytest.mark.slow)])
def test_the_first_iteration_waits_for_nothing_it_does_not_use(
    detector: str, small_glyphs: Path, tmp_path: Path
) -> None:
    told = run(
        TRAIN,
        "train",
        "--config",
        f"configs/glyphs/{detector}_focal.yaml",
        "--out",
        str(tmp_path / "run"),
        f"data.root={small_glyphs}",
    )
    assert told.strip() == "LOADED []"


def test_what_is_left_out_can_be_imported_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "an_optional_part.py").write_text("there = True")
    monkeypatch.syspath_prepend(tmp_path)
    with without("an_optional_part"), pytest.raises(ModuleNotFoundError, match="optional_part"):
        importlib.import_module("an_optional_part")
    assert importlib.import_module("an_optional_part").there
    with without("an_optional_part"):
        assert importlib.import_module("an_optional_part").there
    del sys.modules["an_optional_part"]
