"""What objects were taken for: rows are classes, columns what was found there."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.evaluation.diagnosis import Diagnosis
from experiments.report.arms import Arm
from experiments.report.figures import style
from experiments.report.figures.classes import chosen

MOST_CLASSES = 14
NOTHING = "nothing"


class ConfusionInfo(NamedTuple):
    """One arm, its seeds summed: percent of each class's objects. The last column: not found.
    `false` is, by column, detections where nothing is, for 100 objects.
    """

    arm: Arm
    labels: tuple[str, ...]
    percent: NDArray[np.float64]  # classes x (classes + 1)
    left_out: int


def confusion_info(arm: Arm, runs: Sequence[Diagnosis], labels: Sequence[str]) -> ConfusionInfo:
    """`labels` are the classes by falling frequency, the order in which they are drawn; what was
    taken for a class that is not drawn is not in the figure.
    """
    names = runs[0].classes
    total = np.sum([np.asarray(run.confusion, dtype=np.float64) for run in runs], axis=0)
    kept = chosen([name for name in labels if name in names], MOST_CLASSES)
    rows = [names.index(name) for name in kept]
    objects = np.maximum(total[:-1].sum(axis=1), 1.0)
    share = 100 * total[np.ix_(rows, [*rows, len(names)])] / objects[rows][:, None]
    return ConfusionInfo(arm, tuple(kept), share, len(labels) - len(kept))


def draw(info: ConfusionInfo) -> Figure:
    """The figure: darker is more; the diagonal is what was named rightly."""
    count = len(info.labels)
    figure, axes = style.new_figure(height=max(2.2, 1.1 + 0.2 * count))
    image = np.clip(info.percent / 100, 0, 1)
    for row in range(count):
        for column in range(count + 1):
            value = info.percent[row, column]
            if value < 0.5:
                continue
            area = {"facecolor": style.LIGHT["base"], "alpha": 0.08 + 0.5 * image[row, column]}
            axes.add_patch(style.cell(column, row, **area))
            if count <= 9 or value >= 9.5:
                axes.text(column, row, f"{value:.0f}", **style.IN_CELL).set_in_layout(False)
    columns = [*info.labels, NOTHING]
    axes.set_xticks(range(count + 1), [name[:12] for name in columns], rotation=90)
    axes.set_yticks(range(count), [name[:16] for name in info.labels])
    axes.tick_params(labelsize=style.SMALL)
    axes.set_xlim(-0.5, count + 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Confusion\n{style.label(info.arm)}")  # in one line long names are cut
    axes.set_xlabel("found as")
    axes.set_ylabel("objects of")
    return figure
