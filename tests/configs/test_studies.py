"""Every study is a sweep that reads strictly, whose points are runs, and whose header has the
published figures.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.config.run import RunConfig, arm_of, plain_config
from experiments.record.record import Hardware, Metrics, Seconds
from experiments.report.arms import make_groups
from experiments.report.literature import known_tables, published_table
from experiments.report.load import Run
from experiments.report.published import beside
from experiments.report.tables import METRICS
from experiments.run.assembly import without_weights
from experiments.sweep.judging import Judge
from experiments.sweep.space import grid_points
from experiments.sweep.study import report_options
from experiments.sweep.sweep_file import read_sweep
from losses.focal import Focal

CHECKOUT = Path(__file__).parents[2]
STUDIES = sorted((CHECKOUT / "configs/studies").glob("*.yaml"))
MEANS = [metric.key for metric in METRICS]
# Points of one seed, and some published figures that the header must hold.
EXPECTED = {
    "animals_retinanet": (40, ("31.1", "34.0")),
    "animals_retinanet_memory": (3, ()),
    "animals_yolov2_class": (27, ("73.05", "74.08", "73.53")),
    "animals_yolov2_objectness": (25, ()),
    "bccd_retinanet": (16, ()),
    "bccd_yolov2": (12, ()),
    "focal_table_1a": (7, ("31.1", "30.2", "25.1")),
    "focal_table_1b": (8, ("34.0", "52.5", "36.5", "32.2")),
    "focal_table_1c": (7, ("34.2", "34.0", "30.3")),
    "focal_table_1d": (7, ("32.8", "31.1", "36.0", "54.9", "38.7")),
    "focal_table_1e": (10, ("34.3", "36.0", "37.8")),
    "retinanet_class_weights": (3, ("1901.05555",)),
    "retinanet_staged": (5, ("2202.08978",)),
    "yolov2_class_weights": (3, ("1901.05555",)),
    "yolov2_staged": (5, ("2202.08978",)),
    "prior": (2, ("30.2", ".01")),
    "yolov2_gamma": (6, ("73.05", "74.08", "75.49")),
    "yolov2_size": (5, ("69.0", "76.8", "78.6")),
}


def points(path: Path) -> list[dict[str, Any]]:
    sweep = read_sweep(path)
    return [point for point in grid_points(sweep) if point["seed"] == 0]


@cache
def config_of(path: Path, number: int) -> RunConfig:
    return Judge(read_sweep(path)).config(points(path)[number])


def run_of(path: Path, number: int) -> Run:
    """A finished run of one point, measured at its number in percent."""
    config = config_of(path, number)
    means = dict.fromkeys(MEANS, float(number))
    return Run(
        folder=path.parent / str(number),
        id=f"{number:04d}",
        arm=arm_of(config),
        recorded_arm=arm_of(config),
        status="finished",
        seed=0,
        config=plain_config(config),
        config_hash="",
        started="",
        commit=None,
        dirty=False,
        data=None,
        metrics=Metrics(split="test", per_class={}, **means),
        seconds=Seconds(),
        hardware=Hardware("a CPU", 2, None),
        versions={},
        error=None,
    )


@cache
def parameters(detector: Any) -> int:
    module: torch.nn.Module = detector.build(3)
    return sum(parameter.numel() for parameter in module.parameters())


def test_all_studies_are_expected_here() -> None:
    assert [path.stem for path in STUDIES] == sorted(EXPECTED)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_holds_the_table_it_names(path: Path) -> None:
    count, figures = EXPECTED[path.stem]
    text = path.read_text()
    card = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert all(figure in card for figure in figures)
    assert f"sweep configs/studies/{path.name}" in card
    assert max(map(len, text.splitlines())) <= 120
    sweep = read_sweep(path)
    roles = {parameter.name: parameter.role for parameter in sweep.parameters}
    assert roles["seed"] == "seed" and roles["config"] in ("fixed", "scientific")
    assert "scientific" in roles.values() and None not in roles.values()
    runs = [config_of(path, number) for number in range(len(points(path)))]
    assert len(runs) == len({repr(run) for run in runs}) == count
    seeds = {point["seed"] for point in grid_points(sweep)}
    assert len(seeds) >= (1 if path.stem == "prior" else 3)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_published_value_stands_beside_an_arm_of_its_study(path: Path) -> None:
    """The report's own matching, on runs made up of the study's points: a key misspelt here or
    there leaves a value without an arm.
    """
    options = report_options(path)
    metric = read_sweep(path).metric
    runs = [run_of(path, number) for number in range(len(points(path)))]
    (group,) = make_groups(runs, baseline=options.get("baseline"))
    if "baseline" in options:
        assert group.baseline is not None and group.baseline.is_called(options["baseline"])
    for name in (name for pair in options.get("contrasts", []) for name in pair):
        assert any(arm.is_called(name) for arm in group.arms), name
    for given in options.get("published", []):
        study = published_table(given)
        assert metric is not None and study.metric == metric.name.removeprefix("val_")
        (table,) = beside(study, [group])
        arms = [row.arm and row.arm.title for row in table.rows]
        assert None not in arms and len(set(arms)) == len(arms), table.rows
        # Of nuisance settings one is chosen, once there are runs.
        assert options.get("nuisance") or not any(row.more for row in table.rows)
        card = "\n".join(line for line in path.read_text().splitlines() if line.startswith("#"))
        printed = [f"{row.value.percent:.{table.study.digits}f}" for row in table.rows]
        assert [figure for figure in printed if figure not in card] == []


def test_tables_are_told_by_their_names_in_the_docs() -> None:
    given = [table for path in STUDIES for table in report_options(path).get("published", [])]
    tables = [table["name"] for table in given if not isinstance(table, str)]
    assert sorted(tables) == sorted(known_tables())
    told = (CHECKOUT / "docs/reports.md").read_text(encoding="utf-8")
    assert [name for name in known_tables() if f"`{name}`" not in told] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_point_builds_its_detector(path: Path) -> None:
    for number in range(len(points(path))):
        config = without_weights(config_of(path, number))
        assert parameters(config.detector) > 1_000_000
        loss = config.loss
        counted = loss.with_class_counts((9, 1)) if isinstance(loss, Focal) else loss
        assert callable(counted.at(0.5).sigmoid)


def test_table_1c_builds_the_anchors_it_says() -> None:
    path = CHECKOUT / "configs/studies/focal_table_1c.yaml"
    counts = [
        config_of(path, number).detector.anchors.per_cell  # type: ignore[attr-defined]
        for number in range(len(points(path)))
    ]
    assert counts == [1, 2, 3, 3, 6, 9, 12]


def test_table_1b_is_the_papers() -> None:
    path = CHECKOUT / "configs/studies/focal_table_1b.yaml"
    losses: list[Any] = [config_of(path, number).loss for number in range(7)]
    pairs = [(loss.gamma, loss.alpha) for loss in losses]
    gammas, alphas = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0), (0.75, 0.75, 0.75, 0.5, 0.25, 0.25, 0.25)
    assert pairs == list(zip(gammas, alphas, strict=True))
