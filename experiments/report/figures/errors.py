"""What mending each kind of error would add to AP50 (TIDE), a bar an arm."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from experiments.evaluation.diagnosis import Diagnosis
from experiments.evaluation.mistakes import ERRORS
from experiments.evaluation.significance import Summary, summarise
from experiments.report.arms import Arm
from experiments.report.figures import style

KINDS = tuple(name for name, _ in ERRORS.values())


class ErrorRow(NamedTuple):
    """One arm over its runs: gains in points of AP50 and counts by kind, and calibration error in
    percent.
    """

    arm: Arm
    ap50: Summary
    gains: dict[str, Summary]
    counts: dict[str, Summary]
    calibration: Summary


def error_row(arm: Arm, runs: Sequence[Diagnosis]) -> ErrorRow:
    """The means over an arm's diagnosed runs."""
    return ErrorRow(
        arm=arm,
        ap50=summarise([100 * run.ap50 for run in runs if run.ap50 is not None]),
        gains={
            kind: summarise([100 * gain for run in runs if (gain := run.gains[kind]) is not None])
            for kind in KINDS
        },
        counts={kind: summarise([float(run.errors[kind]) for run in runs]) for kind in KINDS},
        calibration=summarise([100 * run.calibration_error for run in runs]),
    )


def draw(rows: Sequence[ErrorRow], names: dict[str, str]) -> Figure:
    """The figure: kinds from top to bottom, a mark an arm, one SD over seeds as a whisker."""
    figure, axes = style.new_figure(height=0.8 + len(KINDS) * 0.3)
    thick, marks = 0.64 / len(rows), style.marks(names)
    for index, row in enumerate(rows):
        places = [place - 0.32 + thick * (index + 0.5) for place in range(len(KINDS))]
        axes.errorbar(
            [row.gains[kind].mean or 0.0 for kind in KINDS],
            places,
            xerr=[row.gains[kind].sd or 0.0 for kind in KINDS],
            fmt=marks[row.arm.title],
            markersize=5,
            elinewidth=1.4,
            color=style.LIGHT[names[row.arm.title]],
            label=style.label(row.arm),
        )
    axes.set_yticks(range(len(KINDS)), KINDS, color=style.LIGHT["ink"])
    axes.set_ylim(len(KINDS) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_title("Kinds of errors")
    axes.set_xlabel("points of AP50 gained were it mended")
    style.legend_below(axes, figure)
    return figure
