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
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import TightLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

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
LONGEST_LABEL = 40  # letters: longer names would leave no room for the axes they name
WIDTH, HEIGHT = 4.3, 2.5  # inches; three beside each other on a desktop, one on a phone
# The least size of letters: on a phone 4.3 inches become some 335 px, and these 9 px.
SMALL = 8.5
PAD = 0.45  # around the axes, in letters
PNG_DPI = 160
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
    "legend.fontsize": SMALL,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


class Fitted(TightLayoutEngine):
    """Fits axes and their letters into the figure, above its lowest part `bottom` (0 to 1). With
    a rectangle (the default) matplotlib measures each letter twice, a fifth of a figure's time.
    """

    def __init__(self, bottom: float = 0.0) -> None:
        nowhere: Any = None  # not in its type
        super().__init__(pad=PAD, rect=nowhere)
        self._bottom = bottom

    def execute(self, fig: Figure) -> None:
        """Place the axes."""
        super().execute(fig)
        if self._bottom:
            fig.subplots_adjust(bottom=fig.subplotpars.bottom + self._bottom)


def new_figure(width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """An empty figure with one axes; width and height in inches of 72 points."""
    figure = empty_figure(width, height)
    axes = figure.add_subplot()
    # Few round ticks: more letters after parts are placed would be cut off.
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    return figure, axes


def empty_figure(width: float = WIDTH, height: float = HEIGHT) -> Figure:
    """A figure for several axes."""
    return Figure(figsize=(width, height), layout=Fitted())


def drawn(make: Callable[[], Figure], formats: Sequence[str]) -> dict[str, bytes]:
    """The figure that `make` gives in each of `formats`, without date or tool: equal numbers give
    equal bytes. Its parts are placed once, which is half of the work.
    """
    found: dict[str, bytes] = {}
    with matplotlib.rc_context(_SETTINGS):
        figure = make()
        for name in formats:
            out = io.BytesIO()
            _WRITERS[name](figure, out)  # savefig would draw it twice
            found[name] = out.getvalue()
            figure.set_layout_engine("none")  # keeps what the first drawing placed
    return found


def column_pdf(make: Callable[[], Figure], width: float) -> bytes:
    """The figure as PDF, so many inches wide and as high as it is, with fonts that publishers take
    (matplotlib's own kind, which is made three times as fast, they refuse).
    """
    with matplotlib.rc_context({**_SETTINGS, "pdf.fonttype": 42}):
        figure, out = make(), io.BytesIO()
        figure.set_size_inches(width, figure.get_size_inches()[1])
        _write_pdf(figure, out)
    return out.getvalue()


def svg_of(draw: Callable[..., Figure], *arguments: object) -> str:
    """What `draw` draws, as SVG text."""
    return drawn(lambda: draw(*arguments), ("svg",))["svg"].decode("utf-8")


def _write_svg(figure: Figure, out: io.BytesIO) -> None:
    text = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(text, metadata=nothing)
    fonts = r"font: \1 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
    out.write(_FONT.sub(fonts, text.getvalue()).encode("utf-8"))


def _write_pdf(figure: Figure, out: io.BytesIO) -> None:
    from matplotlib.backends.backend_pdf import FigureCanvasPdf  # .3 s: its fonts' tools

    canvas: Any = FigureCanvasPdf(figure)
    canvas.print_pdf(out, metadata=dict.fromkeys(("CreationDate", "Creator", "Producer")))


def _write_png(figure: Figure, out: io.BytesIO) -> None:
    figure.set_dpi(PNG_DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(out, metadata={"Software": None})


_WRITERS = {"svg": _write_svg, "pdf": _write_pdf, "png": _write_png}
FORMATS = tuple(_WRITERS)


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


def colours(groups: Sequence[Group], ranked: Sequence[Sequence[Arm]]) -> list[dict[str, str]]:
    """For each group: arm title -> palette name. The baseline is grey, seven others of `ranked`
    have a hue each (of more, the first), the rest are faint. Arms of one name have one hue in every
    group.
    """
    known: dict[str, str] = {}
    found = []
    for group, best in zip(groups, ranked, strict=True):
        others = list(group.others())
        there = set(best)
        shown = [arm for arm in others if arm in there]
        if len(shown) > len(HUES):
            shown = [arm for arm in best if arm in others][: len(HUES)]
        names = {arm.title: "rest" for arm in others}
        for arm in sorted(shown, key=lambda arm: arm.short not in known):
            taken = set(names.values())
            free = [hue for hue in HUES if hue not in taken]
            unused = [hue for hue in free if hue not in known.values()]
            hue = known.get(arm.short, "")
            names[arm.title] = hue if hue in free else (unused or free)[0]
            known.setdefault(arm.short, names[arm.title])
        if group.baseline is not None:
            names[group.baseline.title] = "base"
        found.append(names)
    return found


def unnamed(names: dict[str, str]) -> str:
    """What a caption says of arms that have no colour of their own; "" where all have one."""
    count = sum(name == "rest" for name in names.values())
    if not count:
        return ""
    return f" {count} other arm{'' if count == 1 else 's'} faint and not named."


def marks(names: dict[str, str]) -> dict[str, str]:
    """Arm title -> marker, so that colour is never the only thing that tells arms apart."""
    known = {hue: MARKS[place] for place, hue in enumerate(HUES)} | {"base": "o"}
    return {title: known.get(hue, ".") for title, hue in names.items()}


def dashes(names: dict[str, str]) -> dict[str, Any]:
    """Arm title -> line style, where curves have too many points for markers."""
    return {
        title: DASHES[HUES.index(hue) % len(DASHES)] if hue in HUES else "solid"
        for title, hue in names.items()
    }


def cell(column: float, row: float, **look: Any) -> Rectangle:
    """A cell of a table of colours, its middle at (column, row)."""
    return Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, linewidth=0, **look)


# Paper behind words through whose place lines run.
PLATE: Any = {"facecolor": LIGHT["paper"], "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
IN_CELL: Any = {"ha": "center", "va": "center", "fontsize": SMALL, "color": LIGHT["ink"]}


def label(arm: Arm) -> str:
    """The arm's name as a figure has room for it; the tables have the whole one."""
    return arm.short if len(arm.short) <= LONGEST_LABEL else arm.short[: LONGEST_LABEL - 1] + "…"


def legend_below(axes: Axes, figure: Figure) -> None:
    """The legend under the axes, where it hides no data; the figure grows by its rows."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    columns = 1 if max(map(len, labels)) > 22 else 2 if max(map(len, labels)) > 12 else 4
    columns = min(columns, len(labels))
    taken = 0.04 + 0.165 * -(-len(labels) // columns)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + taken)
    options = {"labelspacing": 0.25, "borderaxespad": 0.1, "borderpad": 0.2, "handlelength": 1.8}
    figure.legend(handles, labels, loc="lower left", ncols=columns, **options)
    bottom = taken / (height + taken)
    figure.set_layout_engine(Fitted(bottom))


_FONT = re.compile(r"font: ((?:\w+ )?[\d.]+px) [^;\"]*")
