"""The update itself: float16's scaling, clipping, compiled parts, and what a machine is given."""

import copy
import doctest
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from experiments.config.run import load_config
from experiments.engine import machine
from experiments.engine.machine import prepared, shares
from experiments.engine.update import Update
from experiments.record.origin import JOBS
from experiments.record.parts import Arithmetic


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))


def updates(
    model: nn.Module,
    inputs: list[torch.Tensor],
    precision: Literal["float32", "float16"] = "float32",
    clip_norm: float | None = None,
    skip: bool = False,
) -> Update:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    update = Update(
        optimizer,
        arithmetic=Arithmetic(precision, channels_last=False),
        accumulate=1,
        clip_norm=clip_norm,
        skip=skip,
        device=torch.device("cpu"),
    )
    for values in inputs:
        with update.optim_context(model):
            loss = model(values).float().square().mean()
        update.update_params(loss)
    return update


def test_clipping_is_torchs() -> None:
    ours, theirs = network(), network()
    values = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    updates(ours, [values], clip_norm=0.01)
    theirs(values).square().mean().backward()
    nn.utils.clip_grad_norm_(theirs.parameters(), 0.01)
    torch.optim.SGD(theirs.parameters(), lr=0.1).step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_float16_keeps_gradients_that_would_vanish() -> None:
    """float16's least number is 6e-8; most of these gradients are smaller."""
    model = network()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1e-2)
    exact, values = copy.deepcopy(model), torch.full((4, 8), 1e-2)
    exact(values).square().mean().backward()
    update = updates(model, [], "float16")
    with update.optim_context(model):
        loss = model(values).float().square().mean()
    update.backward(loss)
    assert update.scaler is not None
    update.scaler.unscale_(update.optimizer)
    ours, theirs = (
        torch.cat([p.grad.flatten() for p in each.parameters() if p.grad is not None])
        for each in (model, exact)
    )
    small = (theirs.abs() > 1e-9) & (theirs.abs() < 3e-8)
    assert int(small.sum()) > 20
    assert torch.allclose(ours[small], theirs[small], rtol=0.1)


def test_float16_leaves_out_an_overflow_and_halves_its_scale() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    update = updates(model, [torch.full((4, 8), 3e4)], "float16", skip=False)
    assert update.scaler is not None and update.scaler.get_scale() == 32768
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_skip_sees_a_gradient_that_is_no_number() -> None:
    """The square root of 0 is a number, its slope is not."""
    model = network()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    update = Update(
        optimizer,
        arithmetic=Arithmetic("float32", channels_last=False),
        accumulate=1,
        clip_norm=None,
        skip=True,
        device=torch.device("cpu"),
    )
    loss = (model(torch.zeros(2, 8)) * 0).sqrt().sum()
    assert float(loss.detach()) == 0
    update.update_params(loss)
    assert update.skipped
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    update.update_params(model(torch.ones(2, 8)).sum())
    assert not update.skipped
    assert not all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_machines_cores_are_shared_out() -> None:
    assert doctest.testmod(machine).failed == 0
    for cores in (1, 2, 3, 4, 8, 16, 64, 256):
        for ranks in (1, 2, 8):
            processes, threads = shares(cores, ranks, gpu=False)
            assert threads >= 1 and processes >= 0
            assert processes + threads <= max(1, cores // ranks)


def test_trials_at_once_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "core_count", lambda: 64)
    alone = machine.loader_processes()
    monkeypatch.setenv(JOBS, "2")  # as a sweep tells each of its trials
    assert (alone, machine.loader_processes()) == (8, 4)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # as torchrun tells its ranks
    assert machine.loader_processes() == 2


def test_threads_and_determinism_last_as_long_as_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    with prepared(3, True):
        assert torch.get_num_threads() == 3
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == before
    assert not torch.are_deterministic_algorithms_enabled()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # that the user's own number holds is what is tested
    with prepared(None, False):
        assert torch.get_num_threads() == before


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["yolov2", "retinanet"])
def test_a_compiled_run_learns_what_another_does(runs, tmp_path: Path, detector: str) -> None:
    small = runs(detector)
    # Small steps: batch norm over a handful of values makes the last bits large within three.
    words = ("train.iterations=4", "train.validate_every=2", "optimizer={name: sgd, lr: 1.0e-7}")
    for name, more in (("plain", ()), ("compiled", ("train.compile=true",))):
        run = small.train(tmp_path / name, *words, *more)
        assert run.process.exitcode == 0, run.told
    plain, compiled = (small.record(tmp_path / name)["curves"] for name in ("plain", "compiled"))
    for left, right in zip(plain, compiled, strict=True):
        assert right["loss"] == pytest.approx(left["loss"], rel=1e-3)
    names = [list(small.last_state(tmp_path / run)["detector"]) for run in ("plain", "compiled")]
    assert names[0] == names[1]


def test_a_deterministic_run_is_one_that_ran(runs, tmp_path: Path) -> None:
    assert load_config(runs().config, ["train.deterministic=true"]).train.deterministic
    run = runs().train(tmp_path / "run", "train.deterministic=true", "train.iterations=2")
    assert run.process.exitcode == 0, run.told
