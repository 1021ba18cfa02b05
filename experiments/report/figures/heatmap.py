"""alpha x gamma: the mean of each fixed setting where the runs span both."""

from typing import NamedTuple

from matplotlib.figure import Figure

from experiments.evaluation.significance import Summary
from experiments.evaluation.verdict import mean_sd
from experiments.report.arms import Arm, Group
from experiments.report.figures import style
from experiments.report.tables import Metric, setting


class HeatmapInfo(NamedTuple):
    """Cells by (alpha, gamma) as text; a setting that was not run has no cell. Percent."""

    metric: Metric
    alphas: tuple[str, ...]
    gammas: tuple[str, ...]
    cells: dict[tuple[str, str], Summary]
    left_out: int = 0  # arms without a cell of their own

    @property
    def spans(self) -> bool:
        """True where the runs span a grid: two gammas, two alphas, four settings or more."""
        return len(self.alphas) > 1 and len(self.gammas) > 1 and len(self.cells) > 3


def heatmap_info(group: Group, metric: Metric) -> HeatmapInfo:
    """The measured arms with fixed gamma and alpha; of several settings in one cell the highest
    mean is kept.
    """
    chosen: dict[tuple[str, str], Summary] = {}
    arms = [arm for arm in group.arms if isinstance(arm.gamma, float) and arm.values(metric.key)]
    arms = [arm for arm in arms if arm.alpha is None or isinstance(arm.alpha, float)]
    for arm in arms:
        key, summary = (setting(arm.alpha), setting(arm.gamma)), arm.summary(metric.key)
        if key not in chosen or (chosen[key].mean or 0.0) < (summary.mean or 0.0):
            chosen[key] = summary
    gammas = sorted({arm.gamma for arm in arms if isinstance(arm.gamma, float)})
    names = tuple(setting(gamma) for gamma in gammas)
    measured = sum(bool(arm.values(metric.key)) for arm in group.arms)
    return HeatmapInfo(metric, _alphas(arms), names, chosen, measured - len(chosen))


def draw(info: HeatmapInfo) -> Figure:
    """The figure of an info: deeper is higher, and every cell says its number."""
    figure, axes = style.new_figure(height=1.2 + 0.4 * len(info.alphas))
    means = [summary.mean or 0.0 for summary in info.cells.values()]
    low, span = min(means), max(max(means) - min(means), 1e-9)
    best = max(means)
    for (alpha, gamma), summary in info.cells.items():
        column, row = info.gammas.index(gamma), info.alphas.index(alpha)
        mean = summary.mean or 0.0
        weight = 0.06 + 0.44 * (mean - low) / span  # at most half: dark text stays readable on it
        axes.add_patch(style.cell(column, row, facecolor=style.LIGHT["base"], alpha=weight))
        strong = "bold" if mean == best else "normal"
        number = axes.text(column, row, mean_sd(summary), fontweight=strong, **style.IN_CELL)
        number.set_in_layout(False)
    axes.set_xticks(range(len(info.gammas)), info.gammas)
    axes.set_yticks(
        range(len(info.alphas)), ["none" if alpha == "–" else alpha for alpha in info.alphas]
    )
    axes.set_xlim(-0.5, len(info.gammas) - 0.5)
    axes.set_ylim(-0.5, len(info.alphas) - 0.5)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_title(f"{info.metric.name} over α and γ")
    axes.set_xlabel("γ")
    axes.set_ylabel("α")
    return figure


def _alphas(arms: list[Arm]) -> tuple[str, ...]:
    alphas = {arm.alpha for arm in arms}
    known = sorted(alpha for alpha in alphas if isinstance(alpha, float))
    return tuple(setting(alpha) for alpha in ([None] if None in alphas else []) + known)
