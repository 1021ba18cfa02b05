"""COCO's AP by the size of objects: small below 32 x 32 pixels, large above 96 x 96."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from experiments.evaluation.significance import Summary
from experiments.report.arms import Arm
from experiments.report.figures import style

SIZES = {"small": "coco_ap_small", "medium": "coco_ap_medium", "large": "coco_ap_large"}


class SizeLine(NamedTuple):
    """One arm: its AP of each size that the data has, in percent."""

    arm: Arm
    summaries: dict[str, Summary]


def sizes_info(arms: Sequence[Arm]) -> list[SizeLine]:
    """The arms that were measured by size; none where the data holds one size only."""
    lines = []
    for arm in arms:
        found = {name: arm.summary(key) for name, key in SIZES.items()}
        known = {name: one for name, one in found.items() if one.mean is not None}
        if len(known) > 1:
            lines.append(SizeLine(arm, known))
    return lines


def draw(lines: Sequence[SizeLine], names: dict[str, str]) -> Figure:
    """The figure: sizes from left to right, a mark an arm, one SD over seeds as a whisker."""
    figure, axes = style.new_figure()
    shown = [name for name in SIZES if any(name in line.summaries for line in lines)]
    marks, width = style.marks(names), 0.6 / len(lines)
    for index, line in enumerate(lines):
        known = [name for name in shown if name in line.summaries]
        axes.errorbar(
            [shown.index(name) - 0.3 + width * (index + 0.5) for name in known],
            [line.summaries[name].mean or 0.0 for name in known],
            [line.summaries[name].sd or 0.0 for name in known],
            fmt=marks[line.arm.title],
            markersize=5,
            capsize=2,
            elinewidth=1.2,
            color=style.LIGHT[names[line.arm.title]],
            label=style.label(line.arm),
        )
    axes.set_xticks(range(len(shown)), shown)
    axes.set_xlim(-0.5, len(shown) - 0.5)
    axes.grid(False, axis="x")
    axes.set_title("AP by size of objects")
    axes.set_ylabel("COCO AP (%)")
    style.legend_below(axes, figure)
    return figure
