"""Bayesian search: rebuilt from the ledger, better than chance, and an extra to install."""

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import UsageError
from experiments.sweep.proposals import propose, require_optuna
from experiments.sweep.space import Sweep
from experiments.sweep.state import State, fold
from experiments.sweep.sweep_file import read_sweep

HAS_OPTUNA = importlib.util.find_spec("optuna") is not None
needs_optuna = pytest.mark.skipif(not HAS_OPTUNA, reason="optuna, an optional extra, is not here")
HEAD = "command: [t, '${args}']\nmetric: {name: map, goal: maximize}\n"


def read(tmp_path: Path, parameters: str, method: str = "bayes") -> Sweep:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"method: {method}\n{HEAD}parameters: {parameters}")
    return read_sweep(path)


def search(sweep: Sweep, count: int, value: Any) -> tuple[State, list[dict[str, Any]]]:
    """Propose and end `count` trials, one after the other; the events are returned too."""
    state, events = State(), []
    for n in range(count):
        point = propose(sweep, state)
        assert point is not None
        end = {"event": "end", "n": n, "status": "finished", "metric": value(point["parameters"])}
        for event in (point, end):
            state.apply(event)
            events.append(event)
    return state, events


@pytest.mark.skipif(HAS_OPTUNA, reason="optuna is installed here")
def test_without_optuna_the_message_says_how_to_get_it() -> None:
    with pytest.raises(UsageError, match="pip install 'optuna"):
        require_optuna()


@needs_optuna
def test_tpe_finds_the_peak_better_than_chance(tmp_path: Path) -> None:
    space = "{g: {min: 0.0, max: 5.0}, lr: {distribution: log_uniform_values, min: 1.0e-5, max: 1}}"

    def value(point: dict[str, float]) -> float:
        return -((point["g"] - 2.0) ** 2) - (math.log10(point["lr"]) + 3) ** 2

    state, _ = search(read(tmp_path, space), 60, value)
    chance, _ = search(read(tmp_path, space, "random"), 60, value)
    mean = [
        sum(trial.metric or 0.0 for trial in found.trials.values() if trial.n >= 40) / 20
        for found in (state, chance)
    ]
    assert mean[0] > mean[1] / 3  # both negative: three times nearer to the peak


@needs_optuna
def test_a_restart_proposes_what_would_have_come(tmp_path: Path) -> None:
    sweep = read(tmp_path, "{g: {min: 0.0, max: 5.0}, loss: {values: [{name: a}, {name: b}]}}")
    state, events = search(sweep, 15, lambda point: -abs(point["g"] - 1))
    assert propose(sweep, fold(events)) == propose(sweep, state)


@needs_optuna
def test_trials_that_run_or_failed_do_not_stop_the_search(tmp_path: Path) -> None:
    sweep = read(tmp_path, "{g: {min: 0, max: 100}, b: {distribution: beta, a: 2, b: 3}}")
    state, _ = search(sweep, 12, lambda point: float(point["g"]))
    for status in ("running", "failed"):
        point = propose(sweep, state)
        assert point is not None
        state.apply(point)
        if status == "failed":
            state.apply({"event": "end", "n": point["n"], "status": "failed", "metric": None})
    assert propose(sweep, state) is not None


@needs_optuna
def test_every_seed_of_an_arm_has_the_same_values(tmp_path: Path) -> None:
    text = "\n  g: {min: 0.0, max: 1.0}\n  seed: {values: [0, 1]} # seed\n"
    state, _ = search(read(tmp_path, text), 24, lambda point: point["g"])
    values = [trial.parameters["g"] for trial in state.trials.values()]
    assert values[0::2] == values[1::2]
