"""Precision against recall at an overlap of .5: all classes together, and class by class."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.evaluation.diagnosis import Diagnosis
from experiments.evaluation.voc import RECALLS
from experiments.report.arms import Arm
from experiments.report.figures import style

MOST_CLASSES = 9  # panels of the figure by class: the most frequent ones and the rarest
COLUMNS = 3


class RecallLine(NamedTuple):
    """One arm's curve in percent: the mean over its runs, and their lowest and highest."""

    arm: Arm
    precision: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    runs: int


class RecallInfo(NamedTuple):
    """The curves of several arms, of all classes (label "") or of one."""

    label: str
    lines: tuple[RecallLine, ...]


def recall_info(arms: Sequence[tuple[Arm, Sequence[Diagnosis]]], label: str = "") -> RecallInfo:
    """Curves of the arms that have diagnoses; of one class where `label` names one."""
    lines = []
    for arm, runs in arms:
        if label:
            found = [np.asarray(run.precision[label]) for run in runs if label in run.precision]
        else:
            found = [run.mean_precision() for run in runs if run.precision]
        if found:
            table = 100 * np.stack(found)
            lines.append(RecallLine(arm, table.mean(0), table.min(0), table.max(0), len(found)))
    return RecallInfo(label, tuple(lines))


def draw(info: RecallInfo, names: dict[str, str]) -> Figure:
    """The figure of all classes; a band spans an arm's seeds."""
    figure, axes = style.new_figure()
    _lines(axes, info, names, label=True)
    axes.set_title("Precision against recall")
    axes.set_xlabel("recall (%)")
    axes.set_ylabel("precision (%), mean over classes")
    style.legend_below(axes, figure)
    return figure


def draw_classes(infos: Sequence[RecallInfo], names: dict[str, str]) -> Figure:
    """A panel a class."""
    columns = min(COLUMNS, len(infos))
    rows = math.ceil(len(infos) / columns)
    figure = style.empty_figure(height=0.5 + 1.15 * rows)
    for place, info in enumerate(infos):
        axes = figure.add_subplot(rows, columns, place + 1)
        _lines(axes, info, names, label=place == 0)
        axes.set_title(info.label[:16], fontsize=style.SMALL, fontweight="normal")
        axes.set_xticks([0, 50, 100], ["0", "50", "100"] if place >= len(infos) - columns else [])
        axes.set_yticks([0, 50, 100], ["0", "50", "100"] if place % columns == 0 else [])
        axes.tick_params(labelsize=style.SMALL)
        if place >= len(infos) - columns:
            axes.set_xlabel("recall (%)", fontsize=style.SMALL)
        if place % columns == 0:
            axes.set_ylabel("precision (%)", fontsize=style.SMALL)
    style.legend_below(figure.axes[0], figure)
    return figure


def _lines(axes: Axes, info: RecallInfo, names: dict[str, str], *, label: bool) -> None:
    recall = 100 * RECALLS
    dashes = style.dashes(names)
    for line in info.lines:
        colour = style.LIGHT[names[line.arm.title]]
        if line.runs > 1:
            axes.fill_between(recall, line.low, line.high, color=colour, alpha=0.14, linewidth=0)
        axes.plot(
            recall,
            line.precision,
            color=colour,
            linewidth=1.4,
            linestyle=dashes[line.arm.title],
            label=style.label(line.arm) if label else "_",
        )
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 103)
