"""Figures: their numbers without a picture, and pictures that are the same bytes each time."""

from pathlib import Path

import numpy as np
import pytest

from experiments.report.arms import Group, make_groups
from experiments.report.figures import (
    classes,
    curves,
    differences,
    gamma,
    heatmap,
    schedules,
    style,
)
from experiments.report.load import load_runs
from experiments.report.tables import METRICS, comparison


@pytest.fixture(scope="module")
def group(small_study: Path) -> Group:
    return make_groups(load_runs([small_study]))[1]


def test_gamma_figure_has_a_dot_a_seed_and_schedules_at_the_right(group: Group) -> None:
    info = gamma.gamma_info(group, METRICS[0])
    assert info.places == ("0", "1", "2", "5", "0→2, linear to 50 %") and info.fixed == 4
    points = [point for _, series in info.series for point in series]
    assert all(len(point.values) == 3 for point in points)
    assert points[0].summary.mean == pytest.approx(np.mean(points[0].values))


def test_schedule_rises_to_its_end_halfway(group: Group) -> None:
    info = schedules.schedule_info(group, "gamma")
    soft = next(line for line in info.lines if "linear" in line.arm.name)
    assert info.varies
    assert soft.values[np.searchsorted(soft.progress, 50.0)] == pytest.approx(2.0, abs=0.1)
    assert soft.values[-1] == 2.0 and soft.progress[-1] == 100.0


def test_differences_are_the_tables(group: Group) -> None:
    rows = comparison(group, METRICS[0])
    info = differences.differences_info(rows, METRICS[0])
    assert info is not None
    points = [difference.points for _, difference in info.arms]
    assert points == sorted(points, key=lambda value: -(value or 0.0)) and len(points) == 5


def test_class_differences_average_to_the_maps(group: Group) -> None:
    best = group.best("voc07_map")
    assert best is not None and group.baseline is not None
    info = classes.classes_info(group, best, METRICS[0])
    assert info is not None
    whole = (best.summary("voc07_map").mean or 0) - (group.baseline.summary("voc07_map").mean or 0)
    assert np.mean([row.points for row in info.classes]) == pytest.approx(whole)


def test_heatmap_holds_fixed_settings_only(group: Group) -> None:
    info = heatmap.heatmap_info(group, METRICS[0])
    assert (
        info.gammas == ("0", "1", "2", "5")
        and info.alphas == ("–", "0.25")
        and len(info.cells) == 5
    )


def test_mean_curve_of_two_grids() -> None:
    one = (np.array([0.0, 10.0, 20.0]), np.array([0.0, 10.0, 20.0]))
    two = (np.array([5.0, 25.0]), np.array([7.0, 27.0]))
    x, y = curves.mean_curve([one, two])
    assert x.tolist() == [10.0, 20.0] and y.tolist() == [11.0, 21.0]


def test_a_figure_is_the_same_bytes_twice_and_has_no_date(group: Group) -> None:
    info = gamma.gamma_info(group, METRICS[0])
    first, second = (style.svg_of(gamma.draw, info) for _ in range(2))
    assert first == second
    assert "<dc:date>" not in first and "Matplotlib" not in first


def test_inside_the_page_colours_are_variables_and_ids_unique(group: Group) -> None:
    svg = style.inline(
        style.svg_of(gamma.draw, gamma.gamma_info(group, METRICS[0])), "key", "words"
    )
    assert "var(--ink)" in svg and style.LIGHT["ink"] not in svg
    assert 'id="key-figure_1"' in svg and "url(#key-" in svg and "url(#p" not in svg
