"""The arithmetic is chosen once, by what the machine computes, and said."""

from pathlib import Path

import pytest
import torch
from torch import nn

from experiments.config.run import load_config
from experiments.config.train import Train
from experiments.engine import arithmetic
from experiments.engine.arithmetic import choose, described, here
from experiments.record.parts import Arithmetic

CPU = torch.device("cpu")
BFLOAT16 = [{"amx_bf16": True}, {"avx512_bf16": True}, {"bf16": True}]
NARROW, WIDE = nn.Conv2d(64, 64, 3), nn.Conv2d(1024, 1024, 3)


def machine(monkeypatch: pytest.MonkeyPatch, able: dict[str, bool], kernels: str) -> None:
    # Set where numeric tests run under narrower vectors (`make test-all`).
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)  # the made-up machine has neither
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: kernels)


@pytest.mark.parametrize("able", BFLOAT16)
def test_auto_is_bfloat16_where_the_processor_computes_it(
    monkeypatch: pytest.MonkeyPatch, able: dict[str, bool]
) -> None:
    machine(monkeypatch, able, "AVX512")
    chosen = choose(Train(), WIDE, CPU)
    assert (chosen.precision, chosen.channels_last) == ("bfloat16", True)


def test_depth_wise_convolutions_stay_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, {"amx_bf16": True}, "AVX512")
    chosen = choose(Train(), nn.Conv2d(32, 32, 3, groups=32), CPU)
    assert chosen.precision == "float32"
    assert described(chosen).endswith("(AMX, but not for depth-wise convolutions)")


@pytest.mark.parametrize(
    ("network", "kernels", "last"),
    [(NARROW, "AVX2", True), (WIDE, "AVX2", False), (WIDE, "AVX512", True)],
)
def test_auto_is_float32_elsewhere_in_the_layout_that_was_measured_to_be_faster(
    monkeypatch: pytest.MonkeyPatch, network: nn.Module, kernels: str, last: bool
) -> None:
    machine(monkeypatch, {"avx2": True, "amx_bf16": False}, kernels)
    chosen = choose(Train(), network, CPU)
    assert (chosen.precision, chosen.channels_last) == ("float32", last)
    assert f"({kernels} without bfloat16)" in described(chosen)


def test_what_the_environment_keeps_onednn_from_is_not_counted_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine(monkeypatch, {"amx_bf16": True}, "AVX512")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # oneDNN's own switch is what is tested
    assert choose(Train(), WIDE, CPU).precision == "float32"
    assert choose(Train(), WIDE, CPU).channels_last is False


def test_what_is_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, {}, "AVX2")
    asked = Train(precision="bfloat16", channels_last=False, compile=True)
    chosen = choose(asked, NARROW, CPU)
    assert (chosen.precision, chosen.channels_last, chosen.compile) == ("bfloat16", False, True)


@pytest.mark.parametrize(
    ("trained", "able", "run", "told"),
    [
        ("float32", {}, "float32", ""),
        ("bfloat16", {"amx_bf16": True}, "bfloat16", ""),
        ("bfloat16", {}, "float32", "trained in bfloat16, which this machine only emulates"),
        ("float16", {}, "float32", "trained in float16, which this machine does not compute"),
    ],
)
def test_trained_weights_run_as_they_trained_or_it_is_said_why_not(
    monkeypatch: pytest.MonkeyPatch, trained: str, able: dict[str, bool], run: str, told: str
) -> None:
    machine(monkeypatch, able, "AVX2")
    found, words = here(Arithmetic(trained, True), NARROW, CPU)
    assert found.precision == run and words.startswith(told) and bool(words) == bool(told)


def test_every_recipe_leaves_the_arithmetic_to_the_machine() -> None:
    for path in (Path(__file__).parents[3] / "configs").glob("[!s]*/*.yaml"):
        assert load_config(path).train.precision == "auto", path


def test_a_run_says_what_it_chose_and_an_emulated_one_warns_once_and_keeps_it(
    runs, tmp_path: Path
) -> None:
    small, out = runs(), tmp_path / "run"
    words = ("train.iterations=2", "train.precision=bfloat16")
    run = small.train(out, *words)
    assert run.process.exitcode == 0, run.told
    assert small.record(out)["arithmetic"]["precision"] == "bfloat16"
    emulated = not arithmetic.computes_bfloat16(CPU)[0] and not torch.cuda.is_available()
    assert run.told.count("only emulates bfloat16") == emulated
    assert "seed 0: bfloat16, " in run.told
    auto = small.train(tmp_path / "auto", "train.iterations=2")
    chosen = small.record(tmp_path / "auto")["arithmetic"]["precision"]
    assert auto.told.splitlines()[0].startswith("yolov2 focal soft ")
    assert f"seed 0: {chosen}, " in auto.told.splitlines()[0]
    state = small.last_state(out)
    assert state["context"]["arithmetic"]["precision"] == "bfloat16"
