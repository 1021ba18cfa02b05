"""The plan before a sweep: costs from records, and the power of its seeds."""

import json
import math
import random
import statistics
from pathlib import Path

import pytest
from scipy import stats

from experiments.evaluation.significance import least_difference
from experiments.sweep.cost import Cost
from experiments.sweep.early_stop import Hyperband
from experiments.sweep.plan import (
    Result,
    make_plan,
    results_below,
    saved_share,
    seed_spread,
    told,
)
from experiments.sweep.space import Sweep, grid_points
from experiments.sweep.sweep_file import read_sweep

NOTHING = Cost((), None, None, None)
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


def write_run(folder: Path, detector: str, metric: float) -> None:
    folder.mkdir(parents=True)
    record = {"status": "finished", "config_hash": detector, "metrics": {"voc07_map": metric}}
    (folder / "record.json").write_text(json.dumps(record))


def test_arms_seeds_and_what_they_show(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "yolov2", 50.0)
    write_run(tmp_path / "b", "retinanet", 60.0)
    write_run(tmp_path / "c", "retinanet", 62.0)
    sweep = sweep_in(tmp_path)
    results = list(results_below([tmp_path, tmp_path / "nowhere"], "voc07_map"))
    plan = make_plan(sweep, list(grid_points(sweep)), NOTHING, results)
    assert (plan.trials, plan.arms, plan.seeds) == (12, 4, 3)
    assert plan.spread == pytest.approx(math.sqrt(2.0))
    assert any("80 times in 100" in line for line in told(plan, sweep, 2))


def test_without_records_the_plan_says_so(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path)
    plan = make_plan(sweep, list(grid_points(sweep)), NOTHING, [])
    assert (plan.cost.seconds, plan.detectable) == (None, None)
    assert any("--limit 1" in line for line in told(plan, sweep, 1))


def test_early_stopping_saves_what_the_stopped_would_have_trained() -> None:
    # 9 validations, bands at 1, 3 (9 is the end): all do 1, a third 2 more, a ninth the last 6
    rule = Hyperband(min_iter=1, eta=3)
    assert saved_share(rule, 9) == pytest.approx(1 - (1 + 2 / 3 + 6 / 9) / 9)
    assert saved_share(Hyperband(min_iter=20), 9) == 0.0


def test_spread_is_pooled_over_configurations() -> None:
    values = {"a": [1.0, 3.0], "b": [10.0, 10.0, 13.0], "c": [7.0]}
    results = [Result(h, metric) for h, group in values.items() for metric in group]
    pooled = (statistics.variance([1.0, 3.0]) + 2 * statistics.variance([10.0, 10.0, 13.0])) / 3
    assert seed_spread(results) == pytest.approx(math.sqrt(pooled))
    assert seed_spread(results[-1:]) is None


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
