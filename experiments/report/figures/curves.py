"""Training loss and validation mAP against iterations: every run faint, each arm's mean strong."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from experiments.record.record import Validation
from experiments.report.arms import Arm, Group
from experiments.report.figures import style
from experiments.report.load import Run
from experiments.report.tables import Metric

Points = tuple[NDArray[np.float64], NDArray[np.float64]]
MOST_RUNS = 40  # faint lines beyond these cannot be told apart and only make the page heavy


class Line(NamedTuple):
    """One arm's curves: x is iterations."""

    arm: Arm
    runs: tuple[Points, ...]
    mean: Points


class CurvesInfo(NamedTuple):
    """A figure of curves; `log` where values span decades."""

    title: str
    ylabel: str
    lines: tuple[Line, ...]
    log: bool


def loss_info(group: Group) -> CurvesInfo:
    """The total training loss of each run. Losses of different arms are in different units:
    compare shapes.
    """
    lines = _lines(group, lambda run: _columns(run.curves, "loss"))
    values = np.concatenate([y for line in lines for _, y in line.runs] or [np.ones(1)])
    positive = bool((values > 0).all())
    return CurvesInfo(
        "Training loss", "loss (own scale per arm)", lines, positive and _decades(values) > 1
    )


def validation_info(group: Group, metric: Metric) -> CurvesInfo:
    """The validation metric of each run; a run that validates only once is a single point."""
    lines = _lines(group, lambda run: _validated(run.validations, metric.key))
    return CurvesInfo(f"Validation {metric.name}", f"{metric.name} (%)", lines, False)


def draw(info: CurvesInfo, names: dict[str, str]) -> Figure:
    """The figure of an info; `names` gives each arm's palette name."""
    figure, axes = style.new_figure()
    marks = style.marks(names)
    shown = 0
    for line in sorted(info.lines, key=lambda line: names[line.arm.title] != "rest"):
        colour = style.LIGHT[names[line.arm.title]]
        for x, y in line.runs[: max(0, MOST_RUNS - shown)] if len(line.runs) > 1 else ():
            axes.plot(x, y, color=colour, alpha=0.28, linewidth=0.8)
            shown += 1
        few = marks[line.arm.title] if len(line.mean[0]) <= 12 else ""
        label = style.label(line.arm) if names[line.arm.title] != "rest" else "_"
        axes.plot(*line.mean, color=colour, label=label, marker=few, markersize=4)
    if info.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:g}")
        )  # no 10^x: maths is off
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(info.title)
    axes.set_xlabel("iteration")
    axes.set_ylabel(info.ylabel)
    style.legend_below(axes, figure)
    return figure


def _lines(group: Group, read: Callable[[Run], Points]) -> tuple[Line, ...]:
    lines = []
    for arm in group.arms:
        runs = tuple(points for run in arm.finished if len((points := read(run))[0]))
        if runs:
            lines.append(Line(arm, runs, mean_curve(runs)))
    return tuple(lines)


def mean_curve(runs: Sequence[Points]) -> Points:
    """The mean of curves on the first's grid, as far as all of them reach (others interpolated)."""
    start = max(x[0] for x, _ in runs)
    end = min(x[-1] for x, _ in runs)
    grid = runs[0][0][(runs[0][0] >= start) & (runs[0][0] <= end)]
    if not len(grid):
        return runs[0]
    return grid, np.mean([np.interp(grid, x, y) for x, y in runs], axis=0)


def _columns(curves: Mapping[str, NDArray[np.float64]], name: str) -> Points:
    if name not in curves or "iteration" not in curves:
        return np.empty(0), np.empty(0)
    kept = np.isfinite(curves[name]) & np.isfinite(curves["iteration"])
    return curves["iteration"][kept], curves[name][kept]


def _validated(validations: Sequence[Validation], metric: str) -> Points:
    pairs = [
        (validation.iteration, value)
        for validation in validations
        if (value := validation.metrics.value(metric)) is not None
    ]
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _decades(values: NDArray[np.float64]) -> float:
    low, high = np.quantile(values, [0.02, 0.98])
    return float(np.log10(high / low)) if low > 0 else 0.0
