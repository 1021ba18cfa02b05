"""Groups -> everything that the templates show, as plain values. No number is computed here
that a table lacks.
"""

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup, escape

from experiments.record import RECORD_FILE
from experiments.report.arms import SYMBOLS, Arm, Group, settings_of
from experiments.report.figures import (
    classes,
    curves,
    differences,
    gamma,
    heatmap,
    schedules,
    style,
)
from experiments.report.load import Run
from experiments.report.pictures import Grid
from experiments.report.statistics import Difference, Summary
from experiments.report.tables import (
    ClassRow,
    Metric,
    Row,
    comparison,
    markdown_table,
    mean_sd,
    per_class,
    signed,
)

MOST_CLASS_ARMS = 8  # columns of a per-class table; per_class.csv has every arm


class FigureItem(NamedTuple):
    """One figure: its file, the file's text, the element in the page, and what it shows."""

    file: str
    title: str
    svg: str
    inline: Markup
    caption: str


class Bar(NamedTuple):
    """The small interval drawing of a table row, in its 120 units of width."""

    zero: float
    point: float
    low: float | None
    high: float | None


class Line(NamedTuple):
    """One row of the comparison as the page shows it."""

    row: Row
    colour: str
    anchor: str
    difference: Difference | None
    bar: Bar | None


class ClassLine(NamedTuple):
    """One row of a per-class table."""

    label: str
    objects: int
    cells: tuple[Summary, ...]
    difference: float | None


class RunLine(NamedTuple):
    """One run of the provenance table; `arm_anchor` is set on the first run of an arm."""

    run: Run
    title: str
    anchor: str
    arm_anchor: str
    state: str
    value: float | None
    hashes: tuple[str | None, ...]  # config, commit, train data, test data, detections
    link: str


class Cost(NamedTuple):
    """Means over an arm's finished runs; None where no run tells."""

    title: str
    runs: int
    iterations: float | None
    train: float | None
    speed: float | None
    evaluate: float | None


@dataclass
class Block:
    """One group's part of the page."""

    group: Group
    lines: list[Line]
    markdown: str
    figures: list[FigureItem] = field(default_factory=list)
    classes: list[ClassLine] = field(default_factory=list)
    class_arms: list[Arm] = field(default_factory=list)
    class_difference: str = ""
    class_note: str = ""


def make_block(group: Group, primary: Metric, anchors: dict[str, str]) -> Block:
    """Tables and figures of one group; `anchors` gives each arm's place in the provenance table."""
    rows = comparison(group, primary)
    ranked = sorted(rows, key=lambda row: -(row.summaries[primary.key].mean or -1.0))
    names = style.colours(group, [row.arm for row in ranked])
    reach = _reach(rows, primary)
    lines = []
    for row in rows:
        difference = row.differences.get(primary.key)
        bar = _bar(difference, reach) if difference else None
        lines.append(Line(row, names[row.arm.title], anchors[row.arm.title], difference, bar))
    block = Block(group, lines, markdown_table(rows, primary))
    block.figures = _figures(group, rows, primary, names)
    _add_classes(block, [row.arm for row in ranked], primary)
    return block


def run_lines(groups: Sequence[Group], primary: Metric, out: Path) -> list[RunLine]:
    """Every run with its identity; `out` is the report's folder, from which records are linked."""
    lines: list[RunLine] = []
    for group in groups:
        for arm in group.arms:
            counted = arm.finished
            for index, run in enumerate(arm.runs):
                place = len(lines) + 1
                data = [run.split_hash(part) for part in ("train", "test")]
                found = run.files["detections"].sha256 if "detections" in run.files else None
                hashes = (run.config_hash, run.commit, *data, found)
                lines.append(
                    RunLine(
                        run=run,
                        title=_full_title(arm, groups, group),
                        anchor=f"run-{place}",
                        arm_anchor=f"arm-{place}" if index == 0 else "",
                        state=_state(run, any(run is one for one in counted)),
                        value=run.metric(primary.key),
                        hashes=hashes,
                        link=_link(run.folder, out),
                    )
                )
    return lines


def arm_anchors(groups: Sequence[Group]) -> list[dict[str, str]]:
    """For each group: arm title -> the anchor of its first run, as `run_lines` numbers them."""
    anchors: list[dict[str, str]] = []
    place = 1
    for group in groups:
        mine = {}
        for arm in group.arms:
            mine[arm.title] = f"arm-{place}" if len(arm.runs) > 1 else f"run-{place}"
            place += len(arm.runs)
        anchors.append(mine)
    return anchors


def costs(groups: Sequence[Group]) -> list[Cost]:
    """What each arm cost, in the order of the tables."""
    return [
        Cost(
            title=_full_title(arm, groups, group),
            runs=len(arm.finished),
            iterations=_mean([float(run.iterations) for run in arm.finished if run.iterations]),
            train=_mean([run.seconds.train for run in arm.finished if run.seconds.train]),
            speed=_mean([speed for run in arm.finished if (speed := _speed(run)) is not None]),
            evaluate=_mean([run.seconds.evaluate for run in arm.finished if run.seconds.evaluate]),
        )
        for group in groups
        for arm in group.arms
    ]


def facts(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """The line under the question: how many runs, on what data, on what machine."""
    arms = [arm for group in groups for arm in group.arms]
    runs = [run for arm in arms for run in arm.runs]
    done = sum(len(arm.finished) for arm in arms)
    seeds = sorted({len(arm.finished) for arm in arms if arm.finished})
    spread = "–" if not seeds else str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]}–{seeds[-1]}"
    found = [
        ("Arms", str(len(arms))),
        ("Runs", f"{done}" if done == len(runs) else f"{done} of {len(runs)}"),
    ]
    found.append(("Seeds an arm", spread))
    data = sorted({_data_words(run) for run in runs if run.split("test")})
    if data:
        found.append(("Data", data[0] if len(data) == 1 else f"{len(data)} test sets"))
    return found


def hardware(groups: Sequence[Group]) -> str:
    """The machines of the finished runs in words."""
    kinds = set()
    for run in _finished(groups):
        cores = f"{run.hardware.cores} cores of {run.hardware.cpu}"
        kinds.add(", ".join(run.hardware.gpus) or cores)
    return "; ".join(sorted(kinds)) or "unknown"


def differing_settings(groups: Sequence[Group]) -> list[tuple[str, list[tuple[str, str]]]]:
    """For each arm, its values of the settings in which the arms differ."""
    arms = [
        (arm, settings_of(arm.runs[0].config), _full_title(arm, groups, group))
        for group in groups
        for arm in group.arms
    ]
    keys = sorted({key for _, flat, _ in arms for key in flat})
    keys = [key for key in keys if len({repr(flat.get(key)) for _, flat, _ in arms}) > 1]
    if not keys:
        return []
    return [
        (title, [(key, _value(flat[key])) for key in keys if key in flat])
        for _, flat, title in arms
    ]


def whole_config(groups: Sequence[Group]) -> tuple[str, str]:
    """One configuration as JSON, the first baseline's, and the title of its arm."""
    for group in groups:
        arm = group.baseline or next(iter(group.arms), None)
        if arm is not None and arm.runs[0].config:
            return json.dumps(
                arm.runs[0].config, indent=2, ensure_ascii=False, default=str
            ), arm.title
    return "", ""


def versions(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Package versions over the finished runs; where runs differ, each version."""
    found: dict[str, set[str]] = {}
    for run in _finished(groups):
        for name, version in run.versions.items():
            found.setdefault(name, set()).add(str(version))
    return [(name, " / ".join(sorted(numbers))) for name, numbers in sorted(found.items())]


def picture_names(grid: Grid) -> list[dict[str, Any]]:
    """Pictures for the template; `names` is false where a crowded image has no room for names."""
    return [
        picture._asdict() | {"names": max(len(panel.marks) for panel in picture.panels) <= 14}
        for picture in grid.pictures
    ]


# ---------------------------------------------------------------- figures


def _figures(
    group: Group, rows: list[Row], primary: Metric, names: dict[str, str]
) -> list[FigureItem]:
    makers = (_difference_figure, _gamma_figure, _heatmap_figure, _class_figure, _validation_figure)
    found = [maker(group, rows, primary, names) for maker in makers]
    found.append(_loss_figure(group, names))
    found += [_schedule_figure(group, parameter, names) for parameter in ("gamma", "alpha")]
    return [item for item in found if item is not None]


def _item(group: Group, kind: str, title: str, caption: str, svg: str) -> FigureItem:
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
    return _item(
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
    return _item(
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
    return _item(
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
    return _item(group, "classes", "Difference by class", caption, style.svg_of(classes.draw, info))


def _validation_figure(
    group: Group, rows: list[Row], primary: Metric, names: dict[str, str]
) -> FigureItem | None:
    info = curves.validation_info(group, primary)
    if not info.lines:
        return None
    caption = "On the validation split while training. Faint lines: runs. Strong lines: arm means."
    return _item(
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
    return _item(group, "loss", "Training loss", caption, style.svg_of(curves.draw, info, names))


def _schedule_figure(group: Group, parameter: str, names: dict[str, str]) -> FigureItem | None:
    info = schedules.schedule_info(group, parameter)
    if not info.lines or (parameter == "alpha" and not info.varies):
        return None
    symbol = SYMBOLS[parameter]
    moving = [line.arm.short for line in info.lines if np.ptp(line.values) > 1e-9]
    told = f"It changes in {', '.join(moving[:4])}." if moving else "It is fixed in every arm."
    caption = f"{symbol} as logged at each iteration. {told}"
    return _item(
        group,
        parameter + "-schedule",
        f"{symbol} in force",
        caption,
        style.svg_of(schedules.draw, info, names),
    )


# ---------------------------------------------------------------- parts


def _add_classes(block: Block, ranked: list[Arm], primary: Metric) -> None:
    """The per-class table: every arm where they fit, else baseline and the highest arms."""
    group = block.group
    rows: list[ClassRow] = per_class(group, primary)
    if not rows:
        return
    shown = [arm for arm in group.arms if arm.finished]
    if len(shown) > MOST_CLASS_ARMS:
        keep = ([group.baseline] if group.baseline else []) + [
            arm for arm in ranked if arm is not group.baseline
        ]
        shown = [arm for arm in group.arms if arm in keep[:MOST_CLASS_ARMS]]
        block.class_note = f"{MOST_CLASS_ARMS} of {len(group.arms)} arms; per_class.csv has all."
    places = [group.arms.index(arm) for arm in shown]
    best = next((arm for arm in ranked if arm is not group.baseline and arm.finished), None)
    pair = None
    if group.baseline is not None and best is not None:
        pair = (group.arms.index(best), group.arms.index(group.baseline))
        block.class_difference = f"{best.short} − {group.baseline.short}"
    block.class_arms = shown
    block.classes = [
        ClassLine(
            row.label, row.objects, tuple(row.summaries[p] for p in places), _minus(row, pair)
        )
        for row in rows
    ]


def _minus(row: ClassRow, pair: tuple[int, int] | None) -> float | None:
    if pair is None:
        return None
    one, two = (row.summaries[place].mean for place in pair)
    return None if one is None or two is None else one - two


def _rival(rows: Sequence[Row], primary: Metric) -> Arm | None:
    ranked = [
        row for row in rows if not row.is_baseline and row.summaries[primary.key].mean is not None
    ]
    return (
        max(ranked, key=lambda row: row.summaries[primary.key].mean or 0.0).arm if ranked else None
    )


def _reach(rows: Sequence[Row], primary: Metric) -> float:
    """The largest distance from zero that a row's bar must show."""
    ends = [
        abs(value)
        for row in rows
        if (difference := row.differences.get(primary.key))
        for value in (difference.points, difference.low, difference.high)
        if value is not None
    ]
    return min(max(ends, default=1.0), 3 * max(_points(rows, primary), default=1.0) + 1e-9) or 1.0


def _points(rows: Sequence[Row], primary: Metric) -> list[float]:
    found = (row.differences[primary.key].points for row in rows if primary.key in row.differences)
    return [abs(points) for points in found if points is not None]


def _bar(difference: Difference, reach: float) -> Bar | None:
    if difference.points is None:
        return None

    def place(value: float) -> float:
        return round(60 + 55 * max(-1.0, min(1.0, value / reach)), 1)

    low = None if difference.low is None else place(difference.low)
    high = None if difference.high is None else place(difference.high)
    return Bar(60, place(difference.points), low, high)


def _full_title(arm: Arm, groups: Sequence[Group], group: Group) -> str:
    if len(groups) == 1 or arm.title.lower().startswith(arm.detector.lower()):
        return arm.title
    return f"{group.title}: {arm.title}"


def _state(run: Run, counted: bool) -> str:
    if run.finished:
        return "finished" if counted else "finished, repeated later"
    if run.error:
        return f"{run.status}: {run.error.type}: {run.error.message}"[:120]
    return run.status if run.status != "finished" else "finished, not measured"


def _link(folder: Path, out: Path) -> str:
    relative = os.path.relpath(folder / RECORD_FILE, out.resolve())
    return "".join(
        letter if letter not in '%?#"<>' else f"%{ord(letter):02X}"
        for letter in Path(relative).as_posix()
    )


def _speed(run: Run) -> float | None:
    """Images a second: the median over the curve, which start-up and validation do not bend."""
    speeds = run.curves.get("images_per_second")
    if speeds is None or not np.isfinite(speeds).any():
        return None
    return float(np.nanmedian(speeds))


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _finished(groups: Sequence[Group]) -> list[Run]:
    return [run for group in groups for arm in group.arms for run in arm.finished]


def _data_words(run: Run) -> str:
    data = run.config.get("data")
    name = str(data.get("name", "data")) if isinstance(data, dict) else "data"
    sizes = [f"{split.images:,} {part}" for part in ("train", "test") if (split := run.split(part))]
    return f"{name}, {len(run.classes)} classes, {' / '.join(sizes)} images"


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
