"""gamma and alpha in force over training, as each run logged them: one line an arm."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.config.words import NAMED
from experiments.report.arms import Arm, Group
from experiments.report.figures import style


class ScheduleLine(NamedTuple):
    """One arm's values against progress in percent of training."""

    arm: Arm
    progress: NDArray[np.float64]
    values: NDArray[np.float64]


class ScheduleInfo(NamedTuple):
    """The lines of one parameter over all arms that logged it."""

    parameter: str
    lines: tuple[ScheduleLine, ...]

    @property
    def varies(self) -> bool:
        """True where some arm changes the parameter while it trains."""
        return any(np.ptp(line.values) > 1e-9 for line in self.lines)


def schedule_info(group: Group, parameter: str) -> ScheduleInfo:
    """`gamma` or `alpha` over training, from the first finished run of each arm."""
    lines = []
    for arm in group.arms:
        for run in arm.finished[:1]:
            values = run.curves.get(parameter)
            progress = run.curves.get("progress")
            if values is None or progress is None or not np.isfinite(values).any():
                continue
            kept = np.isfinite(values) & np.isfinite(progress)
            lines.append(ScheduleLine(arm, progress[kept] * 100, values[kept]))
    return ScheduleInfo(parameter, tuple(lines))


def draw(info: ScheduleInfo, names: dict[str, str]) -> Figure:
    """The figure of an info: changing parameters are strong lines, fixed ones thin dashes above
    them, whose dashes take turns where several have one value. Faint lines lie beneath.
    """
    figure, axes = style.new_figure()
    symbol = NAMED.get(info.parameter, info.parameter)
    equal: dict[str, list[ScheduleLine]] = {}
    for line in info.lines:
        if names[line.arm.title] != "rest" and _is_fixed(line):
            equal.setdefault(f"{line.values[0]:.6g}", []).append(line)
    ordered = sorted(
        info.lines, key=lambda line: (names[line.arm.title] != "rest", _is_fixed(line))
    )
    for line in ordered:
        name = names[line.arm.title]
        label = style.label(line.arm) if name != "rest" else "_"
        width, dash = 2.2, "solid"
        if _is_fixed(line):
            width, dash = 1.4, _dash(line, equal.get(f"{line.values[0]:.6g}", [line]))
        axes.plot(
            line.progress,
            line.values,
            color=style.LIGHT[name],
            label=label,
            linewidth=width,
            linestyle=dash,
            dash_capstyle="butt",
        )
    axes.set_title(f"{symbol} in force while training")
    axes.set_xlabel("progress (% of training)")
    axes.set_ylabel(symbol)
    style.legend_below(axes, figure)
    return figure


def _is_fixed(line: ScheduleLine) -> bool:
    return bool(np.ptp(line.values) <= 1e-9)


def _dash(line: ScheduleLine, equal: Sequence[ScheduleLine]) -> Any:
    """The line's turn among those of its value: each has the gaps of the others."""
    turn = next((place for place, one in enumerate(equal) if one is line), 0)
    gaps = max(2, 5 * (len(equal) - 1))
    return (-5 * turn, (5, gaps))
