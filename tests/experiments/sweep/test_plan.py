"""The plan before a sweep: costs from records, and the power of its seeds."""

import json
import math
import random
import statistics
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from experiments.evaluation.significance import least_difference
from experiments.sweep.cost import (
    Run,
    make_plan,
    makespan,
    nearest_runs,
    runs_below,
    saved_share,
    seed_spread,
    told,
)
from experiments.sweep.early_stop import Hyperband
from experiments.sweep.space import Sweep, grid_points
from experiments.sweep.sweep_file import read_sweep

SWEEP = """
method: grid
command: [t, '${args}']
metric: {name: voc07_map, goal: maximize}
parameters:
  detector.name: {values: [yolov2, retinanet]}
  loss.gamma: {values: [0.0, 2.0]}
  seed: {values: [0, 1, 2]}
"""


def sweep_in(folder: Path, text: str = SWEEP) -> Sweep:
    path = folder / "sweep.yaml"
    path.write_text(text)
    return read_sweep(path)


def write_run(folder: Path, detector: str, seconds: float, metric: float, seed: int) -> None:
    folder.mkdir(parents=True)
    record: dict[str, Any] = {
        "status": "finished",
        "seconds": {"total": seconds},
        "config": {"detector": {"name": detector}, "loss": {"gamma": 0.0}, "seed": seed},
        "config_hash": detector,
        "metrics": {"voc07_map": metric},
        "validations": [{}] * 9,
    }
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "weights.pt").write_bytes(b"0" * 1_000_000)


def test_cost_is_taken_from_the_runs_most_like_each_point(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "yolov2", 100.0, 50.0, 0)
    write_run(tmp_path / "b", "retinanet", 300.0, 60.0, 0)
    write_run(tmp_path / "c", "retinanet", 320.0, 62.0, 0)
    sweep = sweep_in(tmp_path)
    points = list(grid_points(sweep))
    plan = make_plan(sweep, points, list(runs_below(tmp_path, "voc07_map")), workers=2)
    assert (plan.trials, plan.arms, plan.seeds) == (12, 4, 3)
    assert plan.seconds == pytest.approx(6 * 100 + 6 * 310)
    assert plan.gigabytes == pytest.approx(12e-3, rel=0.1)
    assert plan.spread == pytest.approx(math.sqrt(2.0))
    assert any("80 times in 100" in line for line in told(plan, sweep, 2))


def test_without_records_the_plan_says_so(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path)
    plan = make_plan(sweep, list(grid_points(sweep)), [], workers=1)
    assert (plan.seconds, plan.detectable) == (None, None)
    assert any("--limit 1" in line for line in told(plan, sweep, 1))


def test_a_recipe_and_its_base_count_as_what_the_point_says(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("detector: {name: yolov2}\n")
    (tmp_path / "focal.yaml").write_text("_base_: base.yaml\nloss: {gamma: 2.0}\n")
    runs = [
        Run({"detector.name": name, "loss.gamma": 2.0}, name, 1.0, 0.0, 0, None)
        for name in ("retinanet", "yolov2")
    ]
    near = nearest_runs({"config": str(tmp_path / "focal.yaml")}, runs)
    assert [run.config_hash for run in near] == ["yolov2"]


def test_workers_take_the_next_trial_when_free() -> None:
    assert makespan([4.0, 1.0, 1.0, 1.0], 2) == 4.0
    assert makespan([1.0, 1.0, 1.0, 4.0], 2) == 5.0
    assert makespan([3.0], 5) == 3.0


def test_early_stopping_saves_what_the_stopped_would_have_trained() -> None:
    # 9 validations, bands at 1, 3 (9 is the end): all do 1, a third 2 more, a ninth the last 6
    rule = Hyperband(min_iter=1, eta=3)
    assert saved_share(rule, 9) == pytest.approx(1 - (1 + 2 / 3 + 6 / 9) / 9)
    assert saved_share(Hyperband(min_iter=20), 9) == 0.0


def test_spread_is_pooled_over_configurations() -> None:
    values = {"a": [1.0, 3.0], "b": [10.0, 10.0, 13.0], "c": [7.0]}
    runs = [Run({}, h, 1.0, 0.0, 0, metric) for h, group in values.items() for metric in group]
    pooled = (statistics.variance([1.0, 3.0]) + 2 * statistics.variance([10.0, 10.0, 13.0])) / 3
    assert seed_spread(runs) == pytest.approx(math.sqrt(pooled))
    assert seed_spread(runs[-1:]) is None


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_detectable_difference_is_found_80_times_in_100(seeds: int) -> None:
    difference = least_difference(1.0, seeds)
    assert difference is not None
    draw = random.Random(0)
    found = 0
    for _ in range(2000):
        one = [draw.gauss(0, 1) for _ in range(seeds)]
        other = [draw.gauss(difference, 1) for _ in range(seeds)]
        found += stats.ttest_ind(one, other).pvalue < 0.05
    assert found / 2000 == pytest.approx(0.8, abs=0.03)


def test_a_run_s_pace_is_scaled_to_the_images_of_a_trial() -> None:
    config = {"train.iterations": 100, "train.batch_size": 4, "train.accumulate": 1}
    run = Run(config, "a", 30.0, 0.1, 0, 50.0, train_seconds=20.0)
    assert run.seconds_for({}) == pytest.approx(30.0)
    assert run.seconds_for({"train.iterations": 1000}) == pytest.approx(200.0 + 10.0)
    assert run.seconds_for({"train.batch_size": 8, "train.accumulate": 2}) == pytest.approx(90.0)
    unknown = Run({}, "a", 30.0, 0.1, 0, 50.0)
    assert unknown.seconds_for({"train.iterations": 1000}) == 30.0
