"""The figures that one group's records alone can fill: which are worth drawing, and what they show.

What a figure has no room for, its caption says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from experiments.config.words import NAMED
from experiments.evaluation.verdict import listed, mean_sd, signed
from experiments.report.arms import Arm, Group
from experiments.report.evidence.item import FigureItem, item
from experiments.report.figures import (
    classes,
    cost,
    curves,
    differences,
    gamma,
    heatmap,
    knobs,
    schedules,
    sizes,
    style,
)
from experiments.report.tables import Metric, Row

Names = Mapping[str, str]


def evidence(
    group: Group, rows: list[Row], primary: Metric, names: dict[str, str]
) -> list[FigureItem]:
    """Every figure that the group's runs can fill; `names` gives each arm's palette name. All but
    those of knobs are of the settings that stand for their arms.
    """
    stand = replace(group, arms=tuple(row.arm for row in rows if row.stands))
    makers = (_difference_figure, _class_figure, _gamma_figure, _heatmap_figure)
    found = [maker(stand, rows, primary, names) for maker in makers]
    found += _knob_figures(group, primary, names)
    names = {arm.title: names[arm.title] for arm in stand.arms}
    found += [_size_figure(stand, names), _cost_figure(stand, primary, names)]
    found += [_validation_figure(stand, primary, names), _loss_figure(stand, names)]
    found += [_schedule_figure(stand, parameter, names) for parameter in NAMED]
    return [item for item in found if item is not None]


def rival_of(rows: Sequence[Row], primary: Metric) -> Arm | None:
    """The highest arm that is no setting of the baseline: the best, or the nearest to it. Settings
    that val did not choose stand for nothing.
    """
    ranked = [
        row
        for row in rows
        if row.stands and not row.is_baseline and row.summaries[primary.key].mean is not None
    ]
    if not ranked:
        return None
    return max(ranked, key=lambda row: row.summaries[primary.key].mean or 0.0).arm


def _difference_figure(
    group: Group, rows: list[Row], primary: Metric, names: dict[str, str]
) -> FigureItem | None:
    info = differences.differences_info(rows, primary)
    if info is None or len(info.arms) < 2:
        return None  # one difference is in its card
    top, least = info.arms[0], info.arms[-1]
    caption = (
        f"From {signed(least[1].points)} ({least[0].short}) to"
        f" {signed(top[1].points)} ({top[0].short})."
        " Lines are 95 % intervals; a hollow mark has too few seeds for one."
    )
    if info.left_out:
        caption += f" {info.left_out} lower arms are in the table only."
    title = "Difference to the baseline"
    return item(group, "differences", title, caption, lambda: differences.draw(info, names))


def _gamma_figure(
    group: Group, rows: list[Row], primary: Metric, names: dict[str, str]
) -> FigureItem | None:
    info = gamma.gamma_info(group, primary)
    if len(info.places) < 2:
        return None
    caption = "Small dots: single seeds. Large marks: means, with one SD each way."
    shown = sum(len(points) for _, points in info.series)
    caption += _not_there(group, primary, shown, "have no γ")
    title = f"{primary.name} against γ"
    return item(group, "gamma", title, caption, lambda: gamma.draw(info))


def _heatmap_figure(
    group: Group, rows: list[Row], primary: Metric, names: dict[str, str]
) -> FigureItem | None:
    info = heatmap.heatmap_info(group, primary)
    if not info.spans:
        return None
    (alpha, power), top = max(info.cells.items(), key=lambda cell: cell[1].mean or 0.0)
    caption = f"Mean ± SD in percent; deeper is higher: {mean_sd(top)} at α {alpha}, γ {power}."
    if info.left_out:
        caption += f" Not in it: {_arms(info.left_out)} with a schedule, or a lower one of a cell."
    title = f"{primary.name} over α and γ"
    return item(group, "heatmap", title, caption, lambda: heatmap.draw(info))


def _class_figure(
    group: Group, rows: list[Row], primary: Metric, names: dict[str, str]
) -> FigureItem | None:
    best = rival_of(rows, primary)
    info = classes.classes_info(group, best, primary) if best is not None else None
    if info is None:
        return None
    pair = f"{info.arm.short} minus {info.baseline.short}"
    caption = f"{pair}. Bars: differences of means; dots: single seeds that both arms ran."
    if info.left_out:
        caption += f" {info.left_out} classes between the frequent and the rare are in the table."
    title = "Difference by class"
    return item(group, "classes", title, caption, lambda: classes.draw(info, names))


def _knob_figures(group: Group, primary: Metric, names: dict[str, str]) -> list[FigureItem | None]:
    info = knobs.knobs_info(group, primary)
    found: list[FigureItem | None] = []
    if info.effects:
        caption = (
            "Each setting’s mean with its 95 % interval, the others held evenly (least squares, no"
            " interactions; every run counts)."
        )
        if info.left_out:
            caption += f" The runs cannot tell {listed(info.left_out)} from these."
        title = "Main effects"
        found.append(item(group, "effects", title, caption, lambda: knobs.draw_effects(info)))
    if len(info.arms) >= knobs.FEWEST_ARMS and len(info.levels) > 1:
        caption = "A line an arm, through its settings to its mean." + style.unnamed(names)
        title = "Arms across their settings"
        draw = lambda: knobs.draw_parallel(info, names)  # noqa: E731
        found.append(item(group, "parallel", title, caption, draw))
    return found


def _size_figure(group: Group, names: dict[str, str]) -> FigureItem | None:
    arms = [arm for arm in group.arms if arm.finished and names[arm.title] != "rest"]
    lines = sizes.sizes_info(arms)
    if not lines:
        return None
    caption = "Small: below 32 × 32 pixels; large: above 96 × 96. One SD over seeds each way."
    left_out = len([arm for arm in group.arms if arm.finished]) - len(lines)
    caption += f" {_arms(left_out)} more in table.csv." if left_out else ""
    title = "AP by size of objects"
    return item(group, "sizes", title, caption, lambda: sizes.draw(lines, names))


def _cost_figure(group: Group, primary: Metric, names: dict[str, str]) -> FigureItem | None:
    info = cost.cost_info(group, primary)
    if sum(names[point.arm.title] != "rest" for point in info.points) < 2:
        return None  # nothing to compare with
    caption = "Higher is better, left is cheaper; compare on equal, equally loaded hardware."
    caption += style.unnamed(names)
    caption += f" {_arms(info.left_out)} without a time of their own." if info.left_out else ""
    title = f"{primary.name} against cost"
    return item(group, "cost", title, caption, lambda: cost.draw(info, names))


def _validation_figure(group: Group, primary: Metric, names: dict[str, str]) -> FigureItem | None:
    info = curves.validation_info(group, primary)
    if not info.lines:
        return None
    caption = "On the validation split while training. Faint: runs; strong: arm means."
    caption += style.unnamed(names) + _not_there(group, primary, len(info.lines), "did not")
    title = f"Validation {primary.name}"
    return item(group, "validation", title, caption, lambda: curves.draw(info, names))


def _loss_figure(group: Group, names: dict[str, str]) -> FigureItem | None:
    info = curves.loss_info(group)
    if not info.lines:
        return None
    caption = "A focal term shrinks the loss itself: compare the shapes of arms, not their heights."
    caption += style.unnamed(names)
    title = "Training loss"
    return item(group, "loss", title, caption, lambda: curves.draw(info, names))


def _schedule_figure(group: Group, parameter: str, names: dict[str, str]) -> FigureItem | None:
    info = schedules.schedule_info(group, parameter)
    if not info.lines or not info.varies:
        return None
    symbol = NAMED[parameter]
    moving = [line.arm.short for line in info.lines if np.ptp(line.values) > 1e-9]
    caption = f"{symbol} as logged at each iteration. It changes in {listed(moving, 4)}."
    caption += style.unnamed(names)
    title, kind = f"{symbol} in force", f"{parameter}-schedule"
    return item(group, kind, title, caption, lambda: schedules.draw(info, names))


def _arms(count: int) -> str:
    return "1 arm" if count == 1 else f"{count} arms"


def _not_there(group: Group, primary: Metric, shown: int, why: str) -> str:
    count = sum(bool(arm.values(primary.key)) for arm in group.arms) - shown
    return f" Not in it: {_arms(count)} that {why}." if count > 0 else ""
