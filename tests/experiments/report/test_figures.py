"""Figures: their numbers without a picture, and pictures that are the same bytes each time."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.evaluation.main_effects import Effect
from experiments.report.arms import Group, make_groups
from experiments.report.figures import (
    classes,
    curves,
    differences,
    gamma,
    heatmap,
    knobs,
    schedules,
    style,
)
from experiments.report.load import load_runs
from experiments.report.paper.write import COLUMN
from experiments.report.tables import METRICS, comparison
from tests.experiments.report.conftest import Setting


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


def test_named_schedules_lie_above_faint_ones_and_equal_values_take_turns(group: Group) -> None:
    names = dict(zip((arm.title for arm in group.arms), style.HUES, strict=False))
    faint = next(arm for arm in group.arms if "linear" in arm.name)
    info = schedules.schedule_info(group, "gamma")
    fixed = next(line for line in info.lines if line.arm.gamma == 2.0)
    other = next(line for line in info.lines if line.arm.gamma == 1.0)
    twin = other._replace(values=fixed.values)
    lines = [twin if line is other else line for line in info.lines]
    drawn = schedules.draw(info._replace(lines=tuple(lines)), names | {faint.title: "rest"})
    labels = [str(line.get_label()) for line in drawn.axes[0].lines]
    assert labels[0].startswith("_") and not any(one.startswith("_") for one in labels[1:])
    svg = style.svg_of(schedules.draw, info._replace(lines=(fixed, twin)), names)
    offsets = re.findall(r"stroke-dasharray: 7,7; stroke-dashoffset: ([\d.]+)", svg)
    assert len(set(offsets)) == 2


def test_levels_of_main_effects_do_not_overlap() -> None:
    levels = {
        "loss.gamma": ("0", "1", "2", "0→2"),
        "detector.sites": ("objectness", "classes"),
    }
    levels |= {"optimizer.lr": ("0.0006", "0.0012", "0.0024", "0.0048", "0.0096")}
    effects = [Effect(knob, one, 50, 49, 51, 9) for knob, all_ in levels.items() for one in all_]
    figure = knobs.draw_effects(knobs.KnobsInfo(METRICS[0], {}, (), tuple(effects), ()))
    FigureCanvasAgg(figure).draw()
    width, height = figure.bbox.size
    boxes = [label.get_window_extent() for one in figure.axes for label in one.get_xticklabels()]
    assert len(boxes) == 11 and all(box.y0 >= 0 and box.x1 <= width for box in boxes)
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :]), place


def test_letters_fit_into_a_paper_s_column() -> None:
    """The tables' levels in short: a schedule by its values, a knob's name in two lines."""
    gammas = ("0", "1", "2", "3", "4", "0→1→2 at 25, 50 %", "0→2, linear to 50 %")
    levels = {"γ": gammas, "optimizer.lr": ("0.0024", "0.0048"), "train.match_gradient": ("0", "1")}
    effects = [Effect(knob, one, 50, 49, 51, 9) for knob, all_ in levels.items() for one in all_]
    figures = [knobs.draw_effects(knobs.KnobsInfo(METRICS[0], {}, (), tuple(effects), ()))]
    figures.append(gamma.draw(gamma.GammaInfo(METRICS[0], gammas, 5, ())))
    for figure in figures:
        figure.set_size_inches(COLUMN, figure.get_size_inches()[1])
        FigureCanvasAgg(figure).draw()
        titles = [axes._left_title for axes in figure.axes]  # type: ignore[attr-defined]
        words = [text for axes in figure.axes for text in axes.get_xticklabels()]
        assert "0→1→2" in [text.get_text() for text in words]
        for texts in (titles, words):
            boxes = [text.get_window_extent() for text in texts]
            assert all(0 <= box.x0 and box.x1 <= figure.bbox.width for box in boxes)
            for place, box in enumerate(boxes):
                assert not any(box.overlaps(other) for other in boxes[place + 1 :]), texts[place]
    (line,) = figures[0].axes[0].get_lines()[-1:]
    assert list(line.get_xdata()) == [0, 1, 2, 3, 4]  # no line leads from a number to a schedule


def test_series_of_one_alpha_name_what_else_differs(
    tmp_path: Path, make_run: Callable[..., Any]
) -> None:
    for name, gamma_of, sites in (("a", 1.0, "x"), ("b", 2.0, "x"), ("c", 2.0, "y")):
        loss = {"name": "focal", "alpha": 0.5, "gamma": gamma_of}
        setting = Setting("yolov2", f"yolov2 {name}", loss, 50.0, 0.4)
        make_run(tmp_path / name, setting, 0, augment={"sites": [sites]})
    (mixed,) = make_groups(load_runs([tmp_path]))
    info = gamma.gamma_info(mixed, METRICS[0])
    found = {name: [point.arm.short for point in points] for name, points in info.series}
    assert found == {"α 0.5": ["a", "b"], "α 0.5, sites y": ["c"]}


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
