"""The figures of one group: which are worth drawing, what they are called, what they show."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

from experiments.evaluation.verdict import mean_sd, signed
from experiments.report.arms import SYMBOLS, Arm, Group
from experiments.report.figures import (
    classes,
    curves,
    differences,
    gamma,
    heatmap,
    schedules,
    style,
)
from experiments.report.tables import Metric, Row


class FigureItem(NamedTuple):
    """One figure: its file, the file's text, the element in the page, and what it shows."""

    file: str
    title: str
    svg: str
    inline: Markup
    caption: str


def evidence(
    group: Group, rows: list[Row], primary: Metric, names: dict[str, str]
) -> list[FigureItem]:
    """Every figure that the group's runs can fill; `names` gives each arm's palette name."""
    makers = (_difference_figure, _gamma_figure, _heatmap_figure, _class_figure, _validation_figure)
    found = [maker(group, rows, primary, names) for maker in makers]
    found.append(_loss_figure(group, names))
    found += [_schedule_figure(group, parameter, names) for parameter in ("gamma", "alpha")]
    return [item for item in found if item is not None]


def item(group: Group, kind: str, title: str, caption: str, svg: str) -> FigureItem:
    """A drawn figure as page and folder hold it; `kind` is its part of the file's name."""
    key = f"{kind}-{group.key}"
    described = str(escape(f"{group.title}: {title}. {caption}"))
    return FigureItem(
        f"figures/{key}.svg", title, svg, Markup(style.inline(svg, key, described)), caption
    )


def _difference_figure(
    group: Group, rows: list[Row], primary: Metric, names: dict[str, str]
) -> FigureItem | None:
    info = differences.differences_info(rows, primary)
    if info is None:
        return None
    top, least = info.arms[0], info.arms[-1]
    caption = (
        f"From {signed(least[1].points)} ({least[0].short}) to"
        f" {signed(top[1].points)} ({top[0].short})."
        " Lines are 95 % intervals; a hollow mark has too few seeds for one."
    )
    if info.left_out:
        caption += f" {info.left_out} lower arms are in the table only."
    return item(
        group,
        "differences",
        "Difference to the baseline",
        caption,
        style.svg_of(differences.draw, info, names),
    )


def _gamma_figure(
    group: Group, rows: list[Row], primary: Metric, names: dict[str, str]
) -> FigureItem | None:
    info = gamma.gamma_info(group, primary)
    if len(info.places) < 2:
        return None
    caption = "Small dots: single seeds. Large marks: means, with one SD each way."
    return item(
        group, "gamma", f"{primary.name} against γ", caption, style.svg_of(gamma.draw, info)
    )


def _heatmap_figure(
    group: Group, rows: list[Row], primary: Metric, names: dict[str, str]
) -> FigureItem | None:
    info = heatmap.heatmap_info(group, primary)
    if not info.spans:
        return None
    (alpha, power), top = max(info.cells.items(), key=lambda cell: cell[1].mean or 0.0)
    best = f"The highest is {mean_sd(top)} at α {alpha}, γ {power}."
    caption = f"Mean ± SD in percent; deeper is higher. {best}"
    return item(
        group, "heatmap", f"{primary.name} over α and γ", caption, style.svg_of(heatmap.draw, info)
    )


def _class_figure(
    group: Group, rows: list[Row], primary: Metric, names: dict[str, str]
) -> FigureItem | None:
    best = _rival(rows, primary)
    info = classes.classes_info(group, best, primary) if best is not None else None
    if info is None:
        return None
    pair = f"{info.arm.short} minus {info.baseline.short}"
    caption = f"{pair}. Bars: differences of means. Dots: single seeds that both arms ran."
    return item(group, "classes", "Difference by class", caption, style.svg_of(classes.draw, info))


def _validation_figure(
    group: Group, rows: list[Row], primary: Metric, names: dict[str, str]
) -> FigureItem | None:
    info = curves.validation_info(group, primary)
    if not info.lines:
        return None
    caption = "On the validation split while training. Faint lines: runs. Strong lines: arm means."
    return item(
        group,
        "validation",
        f"Validation {primary.name}",
        caption,
        style.svg_of(curves.draw, info, names),
    )


def _loss_figure(group: Group, names: dict[str, str]) -> FigureItem | None:
    info = curves.loss_info(group)
    if not info.lines:
        return None
    caption = "Focal terms shrink the loss itself: compare the shapes of arms, not their heights."
    return item(group, "loss", "Training loss", caption, style.svg_of(curves.draw, info, names))


def _schedule_figure(group: Group, parameter: str, names: dict[str, str]) -> FigureItem | None:
    info = schedules.schedule_info(group, parameter)
    if not info.lines or (parameter == "alpha" and not info.varies):
        return None
    symbol = SYMBOLS[parameter]
    moving = [line.arm.short for line in info.lines if np.ptp(line.values) > 1e-9]
    told = f"It changes in {', '.join(moving[:4])}." if moving else "It is fixed in every arm."
    caption = f"{symbol} as logged at each iteration. {told}"
    return item(
        group,
        parameter + "-schedule",
        f"{symbol} in force",
        caption,
        style.svg_of(schedules.draw, info, names),
    )


def _rival(rows: Sequence[Row], primary: Metric) -> Arm | None:
    ranked = [
        row for row in rows if not row.is_baseline and row.summaries[primary.key].mean is not None
    ]
    return (
        max(ranked, key=lambda row: row.summaries[primary.key].mean or 0.0).arm if ranked else None
    )
