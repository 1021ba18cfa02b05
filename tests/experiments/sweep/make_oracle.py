"""Writes oracle_sweeps_0.3.0.json: what W&B's own engine answers, for tests to compare with.

Run in an environment of its own, since sweeps 0.3.0 asks for an older numpy than ours:
    python -m venv oracle && oracle/bin/pip install --no-deps sweeps==0.3.0
    oracle/bin/pip install numpy scipy scikit-learn pyyaml jsonschema jsonref pydantic
    oracle/bin/python -W ignore tests/experiments/sweep/make_oracle.py
"""

import json
import random
from pathlib import Path
from typing import Any

GRIDS: list[dict[str, Any]] = [
    {"b": {"values": [3, 1, 2]}, "a": {"values": ["x", "y"]}},
    {"seed": {"min": -1, "max": 2}, "loss.gamma": {"values": [0, 0.5, 2.0]}},
    {
        "g": {"distribution": "q_uniform", "min": 0.1, "max": 1.3, "q": 0.3},
        "h": {"distribution": "q_uniform", "min": 0, "max": 3, "q": 1},
        "c": {"value": 7},
    },
    {
        "loss": {"values": [{"name": "cross_entropy"}, {"name": "focal", "gamma": 2.0}]},
        "n": {"values": [None, True, [1, 2]]},
    },
    {"z": {"parameters": {"q": {"values": [1, 2]}, "a": {"values": [5, 6]}}}, "y": {"value": 0}},
]
RULES: list[dict[str, Any]] = [
    {"min_iter": 3, "eta": 2},
    {"min_iter": 1},
    {"max_iter": 27, "s": 2},
    {"max_iter": 20, "s": 3, "eta": 1.7, "strict": False},
    {"min_iter": 2, "eta": 2.5, "strict": False},
]
QUANTILES = [0.001, 0.01, 0.1, 0.25, 0.37, 0.5, 0.77, 0.9, 0.99]
LAWS: list[dict[str, Any]] = [
    {"distribution": "uniform", "min": -1, "max": 4},
    {"distribution": "q_uniform", "min": 0, "max": 7.3, "q": 0.25},
    {"distribution": "log_uniform", "min": -3, "max": 2},
    {"distribution": "log_uniform_values", "min": 0.001, "max": 10},
    {"distribution": "inv_log_uniform", "min": -3, "max": 2},
    {"distribution": "inv_log_uniform_values", "min": 0.001, "max": 10},
    {"distribution": "q_log_uniform", "min": 0, "max": 4, "q": 2},
    {"distribution": "q_log_uniform_values", "min": 1, "max": 100, "q": 3},
    {"distribution": "normal", "mu": 2, "sigma": 3},
    {"distribution": "q_normal", "mu": 2, "sigma": 3, "q": 0.5},
    {"distribution": "log_normal", "mu": 0.5, "sigma": 0.7},
    {"distribution": "q_log_normal", "mu": 3, "sigma": 0.7, "q": 2},
    {"distribution": "beta", "a": 2, "b": 5},
    {"distribution": "q_beta", "a": 2, "b": 5, "q": 0.125},
    {"values": ["a", "b", "c"], "probabilities": [0.2, 0.5, 0.3]},
]


def grid_answers() -> list[dict[str, Any]]:
    """Each grid's points in the order in which W&B hands them out."""
    from sweeps import next_run

    answers = []
    for parameters in GRIDS:
        config = {"method": "grid", "parameters": parameters}
        runs: list[Any] = []
        while (run := next_run(config, runs)) is not None:
            runs.append(run)
        points = [{name: cell["value"] for name, cell in run.config.items()} for run in runs]
        answers.append({"parameters": parameters, "points": points})
    return answers


def stop_answers() -> list[dict[str, Any]]:
    """Random histories, and which running ones W&B's hyperband stops."""
    from sweeps import RunState, SweepRun, stop_runs

    draw = random.Random(0)
    answers = []
    for case in range(150):
        rule = RULES[case % len(RULES)]
        goal = draw.choice(["minimize", "maximize"])
        histories = [
            [round(draw.gauss(0, 1), 3) for _ in range(draw.randint(0, 30))]
            for _ in range(draw.randint(1, 12))
        ]
        running = [n for n in range(len(histories)) if draw.random() < 0.7]
        runs = [
            SweepRun(
                name=str(n),
                state=RunState.running if n in running else RunState.finished,
                history=[{"map": value} for value in history],
            )
            for n, history in enumerate(histories)
        ]
        config = {
            "method": "grid",
            "metric": {"name": "map", "goal": goal},
            "early_terminate": {"type": "hyperband", **rule},
            "parameters": {"a": {"values": [1]}},
        }
        stopped = sorted(int(run.name) for run in stop_runs(config, runs))
        answers.append(
            {"rule": rule, "goal": goal, "histories": histories, "running": running,
             "stopped": stopped}
        )  # fmt: skip
    return answers


def quantile_answers() -> list[dict[str, Any]]:
    """W&B's quantile functions."""
    from sweeps.params import HyperParameter

    return [
        {"law": law, "values": [_plain(HyperParameter("g", law).ppf(u)) for u in QUANTILES]}
        for law in LAWS
    ]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


if __name__ == "__main__":
    found = {
        "grids": grid_answers(),
        "stops": stop_answers(),
        "quantiles": {"at": QUANTILES, "laws": quantile_answers()},
    }
    path = Path(__file__).with_name("oracle_sweeps_0.3.0.json")
    path.write_text(json.dumps(found, separators=(",", ":")) + "\n")
