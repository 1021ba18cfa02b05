"""What each swept knob does by itself, and all arms of a larger sweep across its knobs."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from experiments.config.words import path_words
from experiments.evaluation.main_effects import Effect, main_effects
from experiments.evaluation.verdict import fixed
from experiments.report.arms import Arm, Group
from experiments.report.choice import LOSS
from experiments.report.figures import style
from experiments.report.settings import comparable, differing, in_words
from experiments.report.tables import Metric, setting

FEWEST_ARMS = 8  # of parallel coordinates; fewer can be read in the table
MOST_LEVELS = 6  # of a knob of numbers; more are put into as many bins
LONGEST = 18  # letters of a level
LETTER = 0.065  # inches, of a level's name that stands upright
LETTERS = 56  # across the figure


class KnobsInfo(NamedTuple):
    """The knobs' levels in order, the arms at them, and the effects that can be told apart."""

    metric: Metric
    levels: dict[str, list[str]]
    arms: tuple[tuple[Arm, dict[str, str]], ...]
    effects: tuple[Effect, ...]
    left_out: tuple[str, ...]  # knobs whose effect the runs cannot tell from the others'


def knobs_info(group: Group, metric: Metric) -> KnobsInfo:
    """The measured arms by the settings in which they differ; gamma and alpha as arms have them."""
    arms = [arm for arm in group.arms if arm.values(metric.key)]
    flats = comparable([arm.runs[0].config for arm in arms])
    keys = [key for key in differing(flats) if not key.startswith(LOSS)]
    values: dict[str, list[object]] = {"γ": [arm.gamma for arm in arms]}
    values |= {"α": [arm.alpha for arm in arms]}
    values |= {key: [flat.get(key) for flat in flats] for key in keys}
    words, levels = {}, {}
    for name, column in values.items():
        told, order = _levels(column)
        if len(order) > 1:
            words[name], levels[name] = told, order
    points = tuple(
        (arm, {name: words[name][place] for name in words}) for place, arm in enumerate(arms)
    )
    rows = [(point, value) for arm, point in points for value in arm.values(metric.key)]
    found, left_out = main_effects([row for row, _ in rows], [value for _, value in rows], levels)
    return KnobsInfo(metric, levels, points, tuple(found), tuple(left_out))


def draw_effects(info: KnobsInfo) -> Figure:
    """Main effects: each level's mean with its 95 % interval, a panel a knob."""
    names = list(dict.fromkeys(effect.knob for effect in info.effects))
    panels = [[effect for effect in info.effects if effect.knob == name] for name in names]
    longest = max(len(_brief(effect.level)) for effect in info.effects)
    figure = style.empty_figure(height=style.HEIGHT + LETTER * longest)
    titles = [max(map(len, _lines(name).split("\n"))) for name in names]
    # A place for each level, or half a place for each letter of the title.
    shares = [max(2, len(mine), title / 2) for mine, title in zip(panels, titles, strict=True)]
    grid = figure.add_gridspec(1, len(names), width_ratios=shares)
    first = None
    for place, (name, mine) in enumerate(zip(names, panels, strict=True)):
        axes = figure.add_subplot(grid[place], sharey=first)
        first = first or axes
        means = [effect.mean for effect in mine]
        reach = [effect.mean - effect.low for effect in mine]
        places = range(len(mine))
        look: Any = {"color": style.LIGHT["ink"], "linewidth": 1.2}
        axes.errorbar(places, means, reach, fmt="o", capsize=3, **look)
        numbers = [place for place in places if _is_number(mine[place].level)]
        axes.plot(numbers, [means[place] for place in numbers], **look)
        axes.set_xticks(places, [_brief(effect.level) for effect in mine], rotation=90)
        axes.tick_params(labelsize=style.SMALL, labelleft=place == 0)
        axes.set_xlim(-0.5, len(mine) - 0.5)
        axes.set_title(_lines(name), fontsize=style.SMALL)
    if first is not None:
        first.set_ylabel(f"{info.metric.name} (%)")
    return figure


def draw_parallel(info: KnobsInfo, names: dict[str, str]) -> Figure:
    """Parallel coordinates: a line an arm through its levels, its score at the right."""
    figure, axes = style.new_figure(height=style.HEIGHT)
    means = [arm.summary(info.metric.key).mean or 0.0 for arm, _ in info.arms]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    knobs = list(info.levels)
    for (arm, point), mean in sorted(
        zip(info.arms, means, strict=True), key=lambda pair: names[pair[0][0].title] != "rest"
    ):
        heights = [_height(info.levels[name], point[name]) for name in knobs]
        name = names[arm.title]
        axes.plot(
            range(len(knobs) + 1),
            [*heights, (mean - low) / span],
            color=style.LIGHT[name],
            linewidth=0.8 if name == "rest" else 1.8,
            label=style.label(arm) if name != "rest" else "_",
        )
    for place, name in enumerate(knobs):
        for level in info.levels[name]:
            words = _brief(level, int(LETTERS / (len(knobs) + 1)))
            axes.annotate(words, (place, _height(info.levels[name], level)), **_BESIDE)
    for mean in (low, high):
        axes.annotate(fixed(mean), (len(knobs), (mean - low) / span), **_BESIDE)
    axes.set_xticks(range(len(knobs) + 1), [*map(_lines, knobs), info.metric.name])
    axes.set_yticks([])
    axes.set_xlim(-0.1, len(knobs) + 0.35)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_title("Arms across their settings")
    style.legend_below(axes, figure)
    return figure


_BESIDE: Any = {"xytext": (3, 2), "textcoords": "offset points", "fontsize": style.SMALL}
_BESIDE |= {"bbox": style.PLATE, "zorder": 4}


def _height(levels: list[str], level: str) -> float:
    return levels.index(level) / max(1, len(levels) - 1)


def _levels(column: list[object]) -> tuple[list[str], list[str]]:
    """Each value as a level, and the levels in order; many numbers are put into bins."""
    numbers = sorted({float(value) for value in column if isinstance(value, (int, float))})
    others = sorted({_words(value) for value in column if not isinstance(value, (int, float))})
    if len(numbers) <= MOST_LEVELS:
        return [_words(value) for value in column], [*map(_words, numbers), *others]
    edges = np.quantile(numbers, np.linspace(0, 1, MOST_LEVELS // 2 + 1))
    names = [f"{low:.3g}–{high:.3g}" for low, high in zip(edges, edges[1:], strict=False)]
    told = [
        names[min(int(np.searchsorted(edges, value, "right")) - 1, len(names) - 1)]
        if isinstance(value, (int, float))
        else _words(value)
        for value in column
    ]
    return told, [*names, *others]


def _words(value: object) -> str:
    if value is None:
        return "none"
    return setting(float(value)) if isinstance(value, (int, float)) else in_words(value)


def _brief(level: str, most: int = LONGEST) -> str:
    words = path_words(level)
    return words if len(words) <= most else words[: most - 1] + "…"


def _lines(name: str) -> str:
    """A knob's name without its rooms, in lines: a panel of two levels is narrower than most."""
    return name.rpartition(".")[2].replace("_", "_\n")


def _is_number(level: str) -> bool:
    try:
        float(level)
    except ValueError:
        return "–" in level[1:]  # a bin
    return True
