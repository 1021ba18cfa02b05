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
    heavy = ("torch._dynamo.eval_frame", "torch._inductor.config", "torch.distributed.fsdp",
             "sympy", "pandas", "matplotlib", "wandb", "scipy", "ray", "optuna", "IPython")
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

STAND_IN = """
import sys
from experiments import compiler_on_demand

compiler_on_demand.install()
import inspect, torch, torchvision, torchvision.ops

weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.SGD([weight], lr=0.1)

def step():
    weight.grad = torch.ones(3)
    optimizer.step()
    optimizer.zero_grad()

step()
inspect.getmodule(step)  # asks every module for its file
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


def test_the_compiler_comes_with_the_first_thing_that_compiles() -> None:
    told = run(
        STAND_IN
        + """
assert "torch._dynamo.eval_frame" not in sys.modules
compiled = torch.compile(lambda x: x.sin() + 1, backend="eager")
x = torch.arange(3.0)
assert torch.equal(compiled(x), x.sin() + 1)
import torch._dynamo
assert torch._dynamo is sys.modules["torch._dynamo"] and torch._dynamo.__file__
torch._dynamo.reset()
step()  # its functions met the stand-in first; they are disabled for the compiler all the same
torch.compile(step, backend="eager")()
print(weight.allclose(torch.full((3,), 0.7)))  # three steps of .1
"""
    )
    assert told.strip() == "True"


def test_any_other_part_of_the_compiler_is_the_real_one_loaded_once() -> None:
    told = run(
        STAND_IN
        + """
import torch._dynamo.config as part
assert part is torch._dynamo.config is sys.modules["torch._dynamo.config"]
assert part.__spec__.origin == part.__file__
assert torch._dynamo.utils.is_compile_supported("cpu")
print(torchvision.ops.roi_align.__globals__["is_compile_supported"]("cpu"))
"""
    )
    assert told.strip() == "True"


def test_a_function_that_others_disable_is_disabled_by_the_real_compiler() -> None:
    told = run(
        STAND_IN
        + """
@torch._dynamo.disable(recursive=False)
def alone(x):
    return x + 1
print(alone.__name__, alone(1), "torch._dynamo.eval_frame" in sys.modules)
"""
    )
    assert told.split() == ["alone", "2", "True"]


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
