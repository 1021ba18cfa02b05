"""`x-tryout-seeds`: all settings with the first seeds, the best of each arm with the others."""

from pathlib import Path
from typing import Any

import pytest

from experiments.errors import ConfigError
from experiments.sweep.space import grid_points
from experiments.sweep.state import Trial
from experiments.sweep.sweep_file import read_sweep
from experiments.sweep.tryout import Tryout

HEAD = """
method: grid
metric: {name: val_voc07_map, goal: maximize}
command: [train, '${args_no_hyphens}']
x-tryout-seeds: 2
parameters:
"""
KNOBS = """
  loss.gamma: {values: [0.0, 2.0]}  # scientific
  optimizer.lr: {values: [0.001, 0.002, 0.004]}  # nuisance
  seed: {values: [7, 8, 9, 10]}  # seed
"""


def sweep_of(tmp_path: Path, text: str = HEAD + KNOBS) -> Any:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return read_sweep(path)


def test_the_best_setting_of_each_arm_gets_the_other_seeds(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    tryout, points = Tryout(sweep), list(grid_points(sweep))
    best = {0.0: 0.001, 2.0: 0.004}
    trials = [
        Trial(
            n,
            str(n),
            dict(p),
            n,
            "finished",
            metric=float(p["optimizer.lr"] == best[p["loss.gamma"]]),
        )
        for n, p in enumerate(points)
    ]
    ran = [t.parameters for t in trials if tryout.advice(t, trials) == "run"]
    assert len(ran) == tryout.runs(points) == 2 * (3 * 2 + 2)
    for gamma, rate in best.items():
        seeds = [p["seed"] for p in ran if p["loss.gamma"] == gamma and p["optimizer.lr"] == rate]
        assert seeds == [7, 8, 9, 10]


def test_who_waits_and_what_failed_is_not_best(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    tryout = Tryout(sweep)
    last = Trial(0, "a", {"loss.gamma": 0.0, "optimizer.lr": 0.001, "seed": 9}, 0)
    other = Trial(1, "b", {"loss.gamma": 0.0, "optimizer.lr": 0.002, "seed": 9}, 1)
    points = [
        {"loss.gamma": 0.0, "optimizer.lr": lr, "seed": s} for lr in (0.001, 0.002) for s in (7, 8)
    ]

    def with_metrics(*metrics: float | None) -> list[Trial]:
        told = enumerate(zip(points, metrics, strict=True), start=2)
        return [
            Trial(n, str(n), p, n, "failed" if m is None else "finished", metric=m)
            for n, (p, m) in told
        ]

    pending = [Trial(n, str(n), p, n) for n, p in enumerate(points, start=2)]
    assert tryout.advice(last, [last, *pending]) == "wait"
    assert tryout.advice(last, with_metrics(1.0, 2.0, 9.0, None)) == "run"
    assert tryout.advice(other, with_metrics(1.0, 2.0, 9.0, None)) == "passed"
    assert tryout.advice(last, with_metrics(None, None, None, None)) == "passed"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("method: grid", "method: random\nrun_cap: 4", "needs method: grid"),
        ("  # nuisance", "", "needs a parameter of the role nuisance"),
        ("  # seed", "", "needs one parameter of the role seed"),
        (", goal: maximize", "", "needs 'metric' with a goal"),
        ("x-tryout-seeds: 2", "x-tryout-seeds: 4", "must be below the 4 seeds"),
        ("x-tryout-seeds: 2", "x-tryout-seeds: 0", "must be >= 1"),
        ("x-tryout-seeds: 2", "x-tryout-seeds: two", "expected a whole number"),
    ],
)
def test_a_tryout_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    text = HEAD + KNOBS
    assert old in text
    with pytest.raises(ConfigError, match="x-tryout-seeds: ") as caught:
        sweep_of(tmp_path, text.replace(old, new))
    assert told in str(caught.value)


def test_a_sweep_tries_first_and_goes_on_with_the_best(bench: Any) -> None:
    bench.write(
        "loss.gamma: {values: [0.0, 2.0, 1.0]}\nseed: {values: [0, 1, 2, 3]}\n",
        extra="method: grid\nx-tryout-seeds: 1\nx-roles: {loss.gamma: nuisance, seed: seed}\n",
    )
    status, output = bench.run()
    assert status == 0, output
    starts = [event["n"] for event in bench.events("start")]
    assert sorted(starts[:3]) == [0, 4, 8]
    assert sorted(starts[3:]) == [5, 6, 7]
    assert "passed over: another setting of its arm was better" in output
    assert "6 finished, 6 passed of 12" in bench.run("status", str(bench.out))[1]
    before = (bench.out / "ledger.jsonl").read_bytes()
    assert bench.run()[0] == 0
    assert (bench.out / "ledger.jsonl").read_bytes() == before


@pytest.mark.parametrize(("tried", "last"), [("x-tryout-seeds: 2\n", 2), ("", 4)])
def test_trials_of_a_grid_run_seed_by_seed(bench: Any, tried: str, last: int) -> None:
    bench.write(
        "loss.alpha: {values: [0.25, 0.5]}\nloss.gamma: {values: [0.0, 2.0]}\n"
        "seed: {values: [5, 3, 8, 1]}\n",
        extra=f"method: grid\n{tried}"
        "x-roles: {loss.alpha: scientific, loss.gamma: nuisance, seed: seed}\n",
    )
    status, output = bench.run(str(bench.file), "--out", str(bench.out), "--jobs", "1")
    assert status == 0, output
    points = {event["n"]: event["parameters"] for event in bench.events("point")}
    seeds = [points[event["n"]]["seed"] for event in bench.events("start")]
    assert seeds == [5] * 4 + [3] * 4 + [8] * last + [1] * last
