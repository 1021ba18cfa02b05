"""What a point of mAP costs: each arm's mean against the time of its training."""

import statistics
from typing import NamedTuple

from matplotlib.figure import Figure

from experiments.evaluation.significance import Summary
from experiments.report.arms import Arm, Group
from experiments.report.figures import style
from experiments.report.tables import Metric


class CostPoint(NamedTuple):
    """One arm: mean minutes of training and its score in percent."""

    arm: Arm
    minutes: float
    score: Summary


class CostInfo(NamedTuple):
    """The arms whose runs tell their time; `left_out` do not, or all replayed a tape, and so did
    not compute their backbone.
    """

    metric: Metric
    points: tuple[CostPoint, ...]
    left_out: int


def cost_info(group: Group, metric: Metric) -> CostInfo:
    """The measured arms by time and score."""
    measured = [arm for arm in group.arms if arm.values(metric.key)]
    points = []
    for arm in measured:
        whole = [run for run in arm.finished if not run.replayed]
        seconds = [run.seconds.train for run in whole if run.seconds.train]
        if seconds:
            minutes = statistics.fmean(seconds) / 60
            points.append(CostPoint(arm, minutes, arm.summary(metric.key)))
    return CostInfo(metric, tuple(points), len(measured) - len(points))


def draw(info: CostInfo, names: dict[str, str]) -> Figure:
    """The figure: up is better, left is cheaper; one SD over seeds as a whisker."""
    figure, axes = style.new_figure()
    marks = style.marks(names)
    for point in sorted(info.points, key=lambda point: names[point.arm.title] != "rest"):
        name = names[point.arm.title]
        axes.errorbar(
            [point.minutes],
            [point.score.mean or 0.0],
            [point.score.sd or 0.0],
            fmt=marks[point.arm.title],
            markersize=6,
            capsize=2,
            elinewidth=1.2,
            color=style.LIGHT[name],
            label=style.label(point.arm) if name != "rest" else "_",
        )
    axes.set_xlim(0, 1.1 * max(point.minutes for point in info.points))
    axes.margins(y=0.12)
    axes.set_title(f"{info.metric.name} against cost")
    axes.set_xlabel("training (minutes)")
    axes.set_ylabel(f"{info.metric.name} (%)")
    style.legend_below(axes, figure)
    return figure
