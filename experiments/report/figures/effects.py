"""A question's answers: each difference with its 95 % interval, on one axis."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.evaluation.verdict import signed
from experiments.report.figures import style


class EffectLine(NamedTuple):
    """One answer, in points. `images`: the interval is over images, of two single runs; `seeds` are
    the differences of seeds that both arms ran.
    """

    label: str
    colour: str
    points: float
    low: float | None
    high: float | None
    seeds: tuple[float, ...]
    images: bool


class EffectsInfo(NamedTuple):
    """The answers of one question from top to bottom; `against` is what all of them are compared
    with, where that is one arm.
    """

    metric: str
    against: str
    lines: tuple[EffectLine, ...]


def draw(info: EffectsInfo) -> Figure:
    """The figure; a hollow mark and a dashed interval are of two single runs."""
    figure, axes = style.new_figure(height=0.55 + 0.42 * len(info.lines))
    axes.axvline(0, color=style.LIGHT["base"], linewidth=1.4)
    for place, line in enumerate(info.lines):
        colour = style.LIGHT[line.colour]
        if line.low is not None and line.high is not None:
            dash = (0, (3, 1.5)) if line.images else "solid"
            axes.plot([line.low, line.high], [place, place], color=colour, lw=2, linestyle=dash)
        if len(line.seeds) > 1:
            beside = [place + 0.2] * len(line.seeds)
            few: Any = {"alpha": 0.5, "markersize": 3.5, "markeredgewidth": 0}
            axes.plot(line.seeds, beside, "o", color=colour, **few)
        hollow = line.images or line.low is None
        face = style.LIGHT["paper"] if hollow else colour
        axes.plot([line.points], [place], "o", color=colour, markerfacecolor=face, markersize=6.5)
    axes.set_yticks([])
    axes.set_ylim(len(info.lines) - 0.45, -0.75)
    axes.margins(x=0.12)
    for place, line in enumerate(info.lines):
        _label(axes, place, line.label, 0.0, "left")
        _label(axes, place, signed(line.points), 1.0, "right")
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    above = f"above {info.against}" if info.against else "above the arm compared with"
    axes.set_xlabel(f"points of {info.metric} {above}")
    return figure


def _label(axes: Axes, place: int, words: str, x: float, side: str) -> None:
    shown = axes.text(
        x,
        place - 0.32,
        words,
        transform=axes.get_yaxis_transform(),
        ha=side,
        va="center",
        fontsize=style.SMALL,
        color=style.LIGHT["ink"],
        bbox=style.PLATE,
    )
    shown.set_in_layout(False)


def of_seeds(pairs: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """Differences of pairs (against, arm)."""
    return tuple(arm - against for against, arm in pairs)
