"""mAP against gamma: a dot a run, mean and SD an arm; scheduled gammas have places of their own
at the right.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.config.words import path_words
from experiments.evaluation.significance import Summary
from experiments.report.arms import Arm, Group
from experiments.report.choice import LOSS, is_below
from experiments.report.figures import style
from experiments.report.settings import comparable, differing, in_words
from experiments.report.tables import Metric, setting

LETTERS = 32  # of places' names beside each other, in a paper's column


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
    series: tuple[tuple[str, tuple[GammaPoint, ...]], ...]  # "α 0.5" or "no α" -> its points


def gamma_info(group: Group, metric: Metric) -> GammaInfo:
    """The measured arms by alpha and gamma. An arm whose gamma is unknown is left out. Where arms
    of one alpha and gamma differ in more than the loss, a series names what is not in most of them.
    """
    arms = [arm for arm in group.arms if arm.gamma is not None and arm.values(metric.key)]
    fixed = sorted({arm.gamma for arm in arms if isinstance(arm.gamma, float)})
    scheduled = sorted({arm.gamma for arm in arms if isinstance(arm.gamma, str)})
    places: list[float | str] = [*fixed, *scheduled]
    series: dict[str, list[GammaPoint]] = {}
    for arm, beside in zip(arms, _beside_loss(group, arms), strict=True):
        assert arm.gamma is not None
        point = GammaPoint(
            arm, places.index(arm.gamma), tuple(arm.values(metric.key)), arm.summary(metric.key)
        )
        name = "no α" if arm.alpha is None else f"α {setting(arm.alpha)}"
        series.setdefault(f"{name}, {beside}" if beside else name, []).append(point)
    ordered = tuple(
        (alpha, tuple(sorted(points, key=lambda point: point.place)))
        for alpha, points in sorted(series.items())
    )
    return GammaInfo(metric, tuple(setting(place) for place in places), len(fixed), ordered)


def _beside_loss(group: Group, arms: Sequence[Arm]) -> list[str]:
    """What each arm has that most have not, outside the loss; "" where alpha and gamma tell all
    arms apart, or too many would have to be named.
    """
    nothing = [""] * len(arms)
    if len({(arm.alpha, arm.gamma) for arm in arms}) == len(arms):
        return nothing
    flats = comparable([arm.runs[0].config for arm in arms])
    keys = [key for key in differing(flats) if not key.startswith(LOSS)]
    keys = [key for key in keys if not any(is_below(key, one) for one in group.asked.nuisance)]
    told = [
        ", ".join(f"{key.rpartition('.')[2]} {in_words(flat.get(key))}" for key in keys)
        for flat in flats
    ]
    usual = Counter(told).most_common(1)[0][0]
    found = ["" if words == usual else words for words in told]
    return found if len(set(found)) <= len(style.DASHES) else nothing


def _labels(places: Sequence[str]) -> list[str]:
    """Schedules by their values alone, where these tell them apart."""
    brief = [path_words(place) for place in places]
    return brief if len(set(brief)) == len(brief) else list(places)


def draw(info: GammaInfo) -> Figure:
    """The figure of an info. Its lines are values of alpha, not arms: they have no arm's colour."""
    labels = _labels(info.places)
    upright = max(map(len, labels)) * len(labels) > LETTERS
    figure, axes = style.new_figure(height=style.HEIGHT + 0.3 * upright)
    count = len(info.series)
    for index, (name, points) in enumerate(info.series):
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
            label=name,
            linewidth=1.2,
        )
        line = [
            (point.place + shift, point.summary.mean or 0.0)
            for point in points
            if point.place < info.fixed
        ]
        if line:
            axes.plot(*zip(*line, strict=True), color=colour, linewidth=1, linestyle=dash)
    axes.set_xticks(range(len(labels)), labels, rotation=90 if upright else 0)
    if 0 < info.fixed < len(labels):
        axes.axvline(info.fixed - 0.5, color=style.LIGHT["rule"], linestyle=(0, (3, 3)))
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_title(f"{info.metric.name} against γ")
    axes.set_xlabel("γ (equally spaced)" + (", then soft" if info.fixed < len(labels) else ""))
    axes.set_ylabel(f"{info.metric.name} (%)")
    style.legend_below(axes, figure)
    return figure
