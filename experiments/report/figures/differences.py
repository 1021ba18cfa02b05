"""Each arm's difference to the baseline with its 95 % interval: the figure that carries the
verdict.
"""

from typing import NamedTuple

from matplotlib.figure import Figure

from experiments.evaluation.referee import Judgement
from experiments.evaluation.verdict import signed
from experiments.report.arms import Arm
from experiments.report.figures import style
from experiments.report.tables import Metric, Row

MOST_ARMS = 24


class DifferencesInfo(NamedTuple):
    """Measured arms other than the baseline, highest difference first; `left_out` did not fit."""

    metric: Metric
    baseline: Arm
    arms: tuple[tuple[Arm, Judgement], ...]
    left_out: int


def differences_info(rows: list[Row], metric: Metric) -> DifferencesInfo | None:
    """The differences of one group's comparison; None without a baseline or without a rival."""
    base = next((row.arm for row in rows if row.is_baseline), None)
    pairs = [
        (row.arm, row.differences[metric.key]) for row in rows if metric.key in row.differences
    ]
    known = [(arm, difference) for arm, difference in pairs if difference.points is not None]
    if base is None or not known:
        return None
    known.sort(key=lambda pair: (-(pair[1].points or 0.0), pair[0].title))
    return DifferencesInfo(metric, base, tuple(known[:MOST_ARMS]), max(0, len(known) - MOST_ARMS))


def draw(info: DifferencesInfo, names: dict[str, str]) -> Figure:
    """The figure of an info; a hollow mark has no interval because seeds are too few."""
    figure, axes = style.new_figure(height=0.9 + 0.3 * len(info.arms))
    marks = style.marks(names)
    axes.axvline(0, color=style.LIGHT["base"], linewidth=1.4)
    for place, (arm, difference) in enumerate(info.arms):
        colour = style.LIGHT[names[arm.title]]
        mark = {".": "o"}.get(marks[arm.title], marks[arm.title])
        points = difference.points or 0.0
        if difference.low is not None and difference.high is not None:
            axes.plot([difference.low, difference.high], [place, place], color=colour, linewidth=2)
        face = colour if difference.low is not None else "none"
        axes.plot([points], [place], mark, color=colour, markerfacecolor=face, markersize=6)
        note = axes.annotate(
            signed(points),
            (points, place),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=style.SMALL,
            color=style.LIGHT["soft"],
        )
        note.set_in_layout(False)  # inside the axes: need not be measured
    axes.set_yticks(
        range(len(info.arms)), [style.label(arm) for arm, _ in info.arms], color=style.LIGHT["ink"]
    )
    axes.set_ylim(len(info.arms) - 0.4, -0.8)
    axes.grid(False, axis="y")
    axes.set_title("Difference to the baseline", loc="right")  # there is room for it
    axes.set_xlabel(f"points of {info.metric.name}", loc="right")
    return figure
