"""Grid order, distributions and hyperband equal W&B's engine (sweeps 0.3.0; see make_oracle.py)."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.sweep.early_stop import Hyperband
from experiments.sweep.space import grid_points
from experiments.sweep.sweep_file import read_sweep

ORACLE = json.loads(Path(__file__).with_name("oracle_sweeps_0.3.0.json").read_text())


def read(tmp_path: Path, method: str, parameters: Any) -> Any:
    path = tmp_path / "sweep.yaml"
    values = {"method": method, "run_cap": 999, "command": ["t", "${args}"]}
    path.write_text(json.dumps(values | {"parameters": parameters}))  # JSON is YAML
    return read_sweep(path)


def flat(point: dict[str, Any], nested: set[str]) -> dict[str, Any]:
    """W&B nests a parameter's `parameters` as a mapping; ours are dotted."""
    found: dict[str, Any] = {}
    for name, value in point.items():
        if name in nested:
            found |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            found[name] = value
    return found


@pytest.mark.parametrize("case", ORACLE["grids"], ids=lambda case: "-".join(case["parameters"]))
def test_a_grid_has_the_same_points_in_the_same_order(tmp_path: Path, case: Any) -> None:
    nested = {name for name, spec in case["parameters"].items() if "parameters" in spec}
    expected = [flat(point, nested) for point in case["points"]]
    ours = list(grid_points(read(tmp_path, "grid", case["parameters"])))
    assert len(ours) == len(expected) > 3
    for mine, theirs in zip(ours, expected, strict=True):
        assert mine == pytest.approx(theirs) if _numeric(theirs) else mine == theirs


def _numeric(point: dict[str, Any]) -> bool:
    return all(isinstance(value, (int, float)) for value in point.values())


def test_hyperband_stops_the_same_trials_on_150_random_histories() -> None:
    stopped = 0
    for case in ORACLE["stops"]:
        histories = dict(enumerate(case["histories"]))
        rule = Hyperband(**case["rule"])
        found = rule.stops(histories, case["running"], maximize=case["goal"] == "maximize")
        assert list(found) == case["stopped"]
        stopped += len(found)
    assert stopped > 100


@pytest.mark.parametrize(
    "case", ORACLE["quantiles"]["laws"], ids=lambda case: case["law"].get("distribution", "values")
)
def test_a_distribution_has_the_same_quantiles(tmp_path: Path, case: Any) -> None:
    (parameter,) = read(tmp_path, "random", {"g": case["law"]}).parameters
    found = [parameter.distribution.at(u) for u in ORACLE["quantiles"]["at"]]
    if isinstance(case["values"][0], str):
        assert found == case["values"]
    else:
        assert found == pytest.approx(case["values"], rel=1e-9, abs=1e-12)
