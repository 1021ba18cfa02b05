"""The README's figure: each comparison's difference with its 95 % interval, coloured by verdict."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from experiments.evaluation.referee import DECIDED, Judgement
from experiments.evaluation.verdict import signed
from experiments.report.figures import style

COLOURS = {"better": "c3", "worse": "c7", "equivalent": "c1", "not shown": "base"}
OPEN = "c5"  # without a verdict


class AnswerLine(NamedTuple):
    """One comparison in words, and the referee's answer."""

    label: str
    answer: Judgement


def draw(lines: Sequence[AnswerLine], metric: str) -> Figure:
    """The figure; a hollow mark has no interval, for want of seeds."""
    figure, axes = style.new_figure(width=8.4, height=1.1 + 0.42 * len(lines))
    halo = withStroke(linewidth=3, foreground=style.LIGHT["paper"])  # words cross the line at 0
    axes.axvline(0, color=style.LIGHT["base"], linewidth=1.2)
    for place, (_, answer) in enumerate(lines):
        colour = style.LIGHT[COLOURS.get(answer.verdict, OPEN)]
        points, known = answer.points or 0.0, answer.low is not None
        if answer.low is not None and answer.high is not None:
            axes.plot([answer.low, answer.high], [place, place], color=colour, linewidth=3)
        face = colour if known else style.LIGHT["paper"]
        axes.plot([points], [place], "o", color=colour, markerfacecolor=face, markersize=7)
        word = answer.verdict if answer.verdict in DECIDED else "open"
        axes.annotate(
            f"{signed(points)}  {word}",
            (points, place),
            (0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=colour,
            path_effects=[halo],
        )
    axes.set_yticks(range(len(lines)), [line.label for line in lines], color=style.LIGHT["ink"])
    axes.set_ylim(len(lines) - 0.5, -0.8)
    axes.margins(x=0.2)
    axes.grid(False, axis="y")
    told = "line: 95 % interval; hollow: one seed an arm"
    axes.set_xlabel(f"points of {metric}, mean over seeds\n{told}")
    return figure
