"""Figure 4 of the focal-loss paper: cumulative loss of either kind of answers, a line a gamma."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.evaluation.anatomy import KINDS, POINTS, Anatomy
from experiments.report.figures import style


class AnatomyLine(NamedTuple):
    """One gamma's curve of one kind, in percent of its loss."""

    gamma: float
    share: NDArray[np.float64]


class AnatomyInfo(NamedTuple):
    """The curves of both kinds of one checkpoint; x is percent of the kind's answers."""

    answers: NDArray[np.float64]
    lines: dict[str, tuple[AnatomyLine, ...]]
    counts: dict[str, int]


def anatomy_info(anatomy: Anatomy) -> AnatomyInfo:
    """The curves as they are drawn."""
    lines = {
        kind: tuple(
            AnatomyLine(one.gamma, 100 * np.asarray(one.share_of_loss[kind]))
            for one in anatomy.shares
        )
        for kind in KINDS
    }
    return AnatomyInfo(np.linspace(0, 100, POINTS), lines, anatomy.counts)


def draw(info: AnatomyInfo) -> Figure:
    """The figure: the further a line stays below, the fewer answers hold the loss."""
    figure = style.empty_figure(height=2.4)
    for place, kind in enumerate(KINDS):
        axes = figure.add_subplot(1, 2, place + 1)
        for index, line in enumerate(info.lines[kind]):
            axes.plot(
                info.answers,
                line.share,
                color=style.LIGHT["ink" if index % 2 == 0 else "soft"],  # gammas, not arms
                linestyle=style.DASHES[index % len(style.DASHES)],
                linewidth=0.8 + 0.4 * index,
                label=f"γ {line.gamma:g}" if place == 0 else "_",
            )
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_title(f"{kind.capitalize()} ({info.counts[kind]:,})", fontsize=9)
        axes.set_xlabel("answers, easiest first (%)")
    figure.axes[0].set_ylabel("cumulative loss (%)")
    style.legend_below(figure.axes[0], figure)
    return figure
