"""mAP against gamma: a dot a run, mean and SD an arm; scheduled gammas have places of their own
at the right.
"""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.evaluation.significance import Summary
from experiments.report.arms import Arm, Group
from experiments.report.figures import style
from experiments.report.tables import Metric, setting


class GammaPoint(NamedTuple):
    """One arm: its place on the axis, its values (one a seed) and their summary, in percent."""

    arm: Arm
    place: int
    values: tuple[float, ...]
    summary: Summary


class GammaInfo(NamedTuple):
    """`places` names the axis positions: rising fixed gammas (equally spaced), then schedules."""

    metric: Metric
    places: tuple[str, ...]
    fixed: int  # how many of the places are fixed gammas
    series: tuple[tuple[str, tuple[GammaPoint, ...]], ...]  # alpha as text -> its points


def gamma_info(group: Group, metric: Metric) -> GammaInfo:
    """The measured arms by alpha and gamma. An arm whose gamma is unknown is left out."""
    arms = [arm for arm in group.arms if arm.gamma is not None and arm.values(metric.key)]
    fixed = sorted({arm.gamma for arm in arms if isinstance(arm.gamma, float)})
    scheduled = sorted({arm.gamma for arm in arms if isinstance(arm.gamma, str)})
    places: list[float | str] = [*fixed, *scheduled]
    series: dict[str, list[GammaPoint]] = {}
    for arm in arms:
        assert arm.gamma is not None
        point = GammaPoint(
            arm, places.index(arm.gamma), tuple(arm.values(metric.key)), arm.summary(metric.key)
        )
        series.setdefault(setting(arm.alpha), []).append(point)
    ordered = tuple(
        (alpha, tuple(sorted(points, key=lambda point: point.place)))
        for alpha, points in sorted(series.items())
    )
    return GammaInfo(metric, tuple(setting(place) for place in places), len(fixed), ordered)


def draw(info: GammaInfo) -> Figure:
    """The figure of an info. Its lines are values of alpha, not arms: they have no arm's colour."""
    figure, axes = style.new_figure()
    count = len(info.series)
    for index, (alpha, points) in enumerate(info.series):
        colour = style.LIGHT["ink" if index % 2 == 0 else "soft"]
        mark, dash = style.MARKS[index % len(style.MARKS)], style.DASHES[index % len(style.DASHES)]
        shift = (index - (count - 1) / 2) * min(0.14, 0.6 / count)
        for point in points:
            beside = np.full(len(point.values), point.place + shift + 0.055)
            few: Any = {"alpha": 0.45, "markersize": 3, "markeredgewidth": 0}
            axes.plot(beside, point.values, "o", color=colour, **few)
        axes.errorbar(
            [point.place + shift for point in points],
            [point.summary.mean or 0.0 for point in points],
            [point.summary.sd or 0.0 for point in points],
            fmt=mark,
            color=colour,
            capsize=3,
            markersize=5,
            markerfacecolor=colour if index % 2 == 0 else style.LIGHT["paper"],
            label=f"α {alpha}" if alpha != "–" else "no α",
            linewidth=1.2,
        )
        line = [
            (point.place + shift, point.summary.mean or 0.0)
            for point in points
            if point.place < info.fixed
        ]
        if line:
            axes.plot(*zip(*line, strict=True), color=colour, linewidth=1, linestyle=dash)
    labels = [place.replace(", ", "\n", 1) for place in info.places]
    axes.set_xticks(range(len(labels)), labels)
    if 0 < info.fixed < len(labels):
        axes.axvline(info.fixed - 0.5, color=style.LIGHT["rule"], linestyle=(0, (3, 3)))
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_title(f"{info.metric.name} against γ")
    axes.set_xlabel("γ (equally spaced)" + (", then soft" if info.fixed < len(labels) else ""))
    axes.set_ylabel(f"{info.metric.name} (%)")
    style.legend_below(axes, figure)
    return figure
