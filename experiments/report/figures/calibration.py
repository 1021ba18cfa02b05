"""How far scores can be believed: the share of right detections against the score they bear."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.evaluation.diagnosis import Diagnosis
from experiments.report.arms import Arm
from experiments.report.figures import style

FEWEST = 10  # detections in a bin that is worth a mark


class Reliability(NamedTuple):
    """One arm, its seeds pooled; percent, bins with fewer than FEWEST detections left out."""

    arm: Arm
    score: NDArray[np.float64]
    right: NDArray[np.float64]
    error: float  # expected calibration error, mean over runs


def reliability(arm: Arm, runs: Sequence[Diagnosis]) -> Reliability:
    """Bins of all runs together, each weighed by its detections."""
    bins = np.array([run.bins for run in runs], dtype=np.float64)  # runs, bins, 3
    count = bins[:, :, 2].sum(axis=0)
    kept = count >= FEWEST
    score, right = (
        100 * (bins[:, kept, column] * bins[:, kept, 2]).sum(axis=0) / count[kept]
        for column in (0, 1)
    )
    error = 100 * float(np.mean([run.calibration_error for run in runs]))
    return Reliability(arm, score, right, error)


def draw(lines: Sequence[Reliability], names: dict[str, str]) -> Figure:
    """The figure; on the diagonal a score of 70 % is right in 70 of 100 cases."""
    figure, axes = style.new_figure()
    marks = style.marks(names)
    axes.plot([0, 100], [0, 100], color=style.LIGHT["rule"], linewidth=1.2, zorder=0)
    for line in lines:
        axes.plot(
            line.score,
            line.right,
            marker={".": "o"}.get(marks[line.arm.title], marks[line.arm.title]),
            color=style.LIGHT[names[line.arm.title]],
            markersize=4,
            linewidth=1.3,
            label=f"{style.label(line.arm)}: {line.error:.1f} % off",
        )
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_title("Calibration (IoU .5)")
    axes.set_xlabel("score (%)")
    axes.set_ylabel("right detections (%)")
    style.legend_below(axes, figure)
    return figure
