"""Every study is a sweep that reads strictly, whose points are runs, and whose header has the
published figures.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.config import RunConfig, load_config
from experiments.costs import without_weights
from experiments.sweep.command import written
from experiments.sweep.space import grid_points, read_sweep

CHECKOUT = Path(__file__).parents[1]
STUDIES = sorted((CHECKOUT / "configs/studies").glob("*.yaml"))
# Points of one seed, and some published figures that the header must hold.
EXPECTED = {
    "focal_table_1a": (7, ("31.1", "30.2", "25.1")),
    "focal_table_1b": (8, ("34.0", "52.5", "36.5", "32.2")),
    "focal_table_1c": (7, ("34.2", "34.0", "30.3")),
    "focal_table_1d": (7, ("32.8", "31.1", "36.0", "54.9", "38.7")),
    "focal_table_1e": (10, ("34.3", "36.0", "37.8")),
    "prior": (2, ("30.2", ".01")),
    "yolov2_gamma": (6, ("73.05", "74.08", "75.49")),
}


def points(path: Path) -> list[dict[str, Any]]:
    sweep = read_sweep(path)
    return [point for point in grid_points(sweep) if point["seed"] == 0]


@cache
def config_of(path: Path, number: int) -> RunConfig:
    values = dict(points(path)[number])
    recipe = CHECKOUT / str(values.pop("config"))
    return load_config(recipe, [f"{name}={written(value)}" for name, value in values.items()])


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
    assert roles["seed"] == "seed" and roles["config"] == "fixed"
    assert "scientific" in roles.values() and None not in roles.values()
    runs = [config_of(path, number) for number in range(len(points(path)))]
    assert len(runs) == len({repr(run) for run in runs}) == count
    seeds = {point["seed"] for point in grid_points(sweep)}
    assert len(seeds) >= (1 if path.stem == "prior" else 3)


@pytest.mark.slow
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_point_builds_its_detector(path: Path) -> None:
    for number in range(len(points(path))):
        config = without_weights(config_of(path, number))
        assert parameters(config.detector) > 1_000_000
        assert callable(config.loss.at(0.5).sigmoid)


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
