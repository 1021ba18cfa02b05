"""One figure of a report: what it is called and shows, and its files once it is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from experiments.report.arms import Group
from experiments.report.figures import style


@dataclass
class FigureItem:
    """A figure; `make` gives it, and `draw` its files. `key` is the stem of their names."""

    key: str
    title: str
    caption: str
    described: str  # for screen readers
    make: Callable[[], Figure]
    files: dict[str, bytes] = field(default_factory=dict)  # "figures/name.svg" -> bytes

    def draw(self, formats: Sequence[str]) -> None:
        """Draw it in each of `formats` (style.FORMATS)."""
        drawn = style.drawn(self.make, formats)
        self.files = {f"figures/{self.key}.{name}": data for name, data in drawn.items()}

    @property
    def file(self) -> str:
        """The SVG's place beside the page."""
        return f"figures/{self.key}.svg"

    @property
    def links(self) -> list[tuple[str, str]]:
        """What each file is, and where."""
        return [(name.rpartition(".")[2].upper(), name) for name in self.files]

    @property
    def inline(self) -> Markup:
        """The element in the page; nothing where it was not drawn."""
        if self.file not in self.files:
            return Markup("")
        svg = self.files[self.file].decode("utf-8")
        return Markup(style.inline(svg, self.key, str(escape(self.described))))


def item(
    group: Group, kind: str, title: str, caption: str, make: Callable[[], Figure]
) -> FigureItem:
    """A figure of a group; `kind` is its part of the file's name."""
    described = f"{group.title}: {title}. {caption}"
    return FigureItem(f"{kind}-{group.key}", title, caption, described, make)
