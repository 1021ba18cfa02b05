"""How every figure looks: one palette for light and dark, text kept as text, the same bytes for
the same numbers.

Figures are drawn once in the light palette. Inside the page each colour becomes a CSS variable,
so that the reader's theme decides; the file beside the page keeps the colours as drawn.
"""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from experiments.report.arms import Arm, Group

# name -> (light, dark). Every hue has a contrast of at least 3 with its background.
PALETTE: dict[str, tuple[str, str]] = {
    "ink": ("#1c2430", "#e7ebf1"),
    "soft": ("#5a6675", "#a3afbe"),
    "rule": ("#d5dbe3", "#39434f"),
    "paper": ("#fefefe", "#161b22"),
    "base": ("#566070", "#b3becb"),
    "c1": ("#1f5fc4", "#76a9ff"),
    "c2": ("#c4500a", "#ff9d5c"),
    "c3": ("#0b7a5c", "#4fd1a7"),
    "c4": ("#9c2f8a", "#ee8bd9"),
    "c5": ("#8a6b00", "#e0c04a"),
    "c6": ("#0a6f86", "#5ec9e0"),
    "c7": ("#b3261e", "#ff8a80"),
    "rest": ("#a7afba", "#66717e"),
}
LIGHT = {name: pair[0] for name, pair in PALETTE.items()}
HUES = ("c1", "c2", "c3", "c4", "c5", "c6", "c7")
LONGEST_LABEL = 34  # letters: longer names would leave no room for the axes they name
MARKS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))

_SETTINGS: Any = {  # matplotlib names 300 keys one by one in its type
    "svg.fonttype": "none",
    "svg.hashsalt": "softgamma",
    "text.parse_math": False,  # a class named "$x$" is a name, not a formula
    "font.family": ["sans-serif"],
    "font.size": 9,
    "axes.edgecolor": LIGHT["rule"],
    "axes.labelcolor": LIGHT["soft"],
    "axes.titlecolor": LIGHT["ink"],
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": LIGHT["paper"],
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.6,
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["soft"],
    "ytick.color": LIGHT["soft"],
    "xtick.labelcolor": LIGHT["soft"],
    "ytick.labelcolor": LIGHT["soft"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


def new_figure(width: float = 5.2, height: float = 3.3) -> tuple[Figure, Axes]:
    """An empty figure with one axes; width and height in inches of 72 points."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def svg_of(draw: Callable[..., Figure], *arguments: object) -> str:
    """What `draw` draws, as SVG text without date or tool: equal numbers give equal bytes."""
    out = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context(_SETTINGS):
        canvas: Any = FigureCanvasSVG(draw(*arguments))
        canvas.print_svg(out, metadata=nothing)  # savefig would draw it twice
    return _FONT.sub(
        r"font: \1 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
        out.getvalue(),
    )


def inline(svg: str, key: str, description: str) -> str:
    """The SVG as an element of the page: themed, described for screen readers, its ids its own.

    `description` must already be escaped for use in an attribute.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{key}-\1"', body)
    for name, colour in LIGHT.items():
        body = body.replace(colour, f"var(--{name})")
    size = re.search(r'<svg[^>]* width="([\d.]+)pt"', body)
    limit = f"max-width:{float(size.group(1)) * 4 / 3:.0f}px" if size else ""
    head = f'<svg role="img" aria-label="{description}" style="{limit}"'
    body = re.sub(r'(<svg[^>]*?) width="[\d.]+pt"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[\d.]+pt"', r"\1", body, count=1)
    return body.replace("<svg", head, 1).strip()


def colours(group: Group, best: Sequence[Arm]) -> dict[str, str]:
    """Arm title -> palette name: the baseline grey, the first seven others a hue each, the rest
    faint.

    Where there are more than seven, `best` (highest first) get the hues.
    """
    others = [arm for arm in group.others()]
    shown = (
        others if len(others) <= len(HUES) else [arm for arm in best if arm in others][: len(HUES)]
    )
    hues = {arm.title: hue for arm, hue in zip(shown, HUES, strict=False)}
    names = {arm.title: hues.get(arm.title, "rest") for arm in others}
    if group.baseline is not None:
        names[group.baseline.title] = "base"
    return names


def marks(names: dict[str, str]) -> dict[str, str]:
    """Arm title -> marker, so that colour is never the only thing that tells arms apart."""
    return {title: MARKS[HUES.index(hue)] if hue in HUES else "." for title, hue in names.items()}


def dashes(names: dict[str, str]) -> dict[str, Any]:
    """Arm title -> line style, where curves have too many points for markers."""
    return {
        title: DASHES[HUES.index(hue) % len(DASHES)] if hue in HUES else "solid"
        for title, hue in names.items()
    }


def label(arm: Arm) -> str:
    """The arm's name as a figure has room for it; the tables have the whole one."""
    return arm.short if len(arm.short) <= LONGEST_LABEL else arm.short[: LONGEST_LABEL - 1] + "…"


def legend_below(axes: Axes, figure: Figure, columns: int = 2) -> None:
    """The legend under the axes, where it hides no data."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=columns)


_FONT = re.compile(r"font: ((?:\w+ )?[\d.]+px) [^;\"]*")
