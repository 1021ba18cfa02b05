"""Groups -> everything that the templates show, as plain values. No number is computed here
that a table lacks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from experiments.evaluation.bootstrap import PairedDifference
from experiments.evaluation.referee import Judgement
from experiments.evaluation.significance import ALPHA, Summary
from experiments.evaluation.verdict import p_words, signed
from experiments.report.arms import Arm, Group
from experiments.report.evidence.group import evidence, rival_of
from experiments.report.evidence.item import FigureItem
from experiments.report.evidence.pictures import Grid
from experiments.report.figures import style
from experiments.report.identity import differing_settings
from experiments.report.questions import TwoRuns
from experiments.report.tables import ClassRow, Metric, Row, comparison, per_class, standing
from experiments.report.verdict import pairing_of
from experiments.report.written import markdown_table

MOST_CLASS_ARMS = 6  # columns of a per-class table; per_class.csv has every arm


class Bar(NamedTuple):
    """The small interval drawing of a table row, in its 120 units of width."""

    zero: float
    point: float
    low: float | None
    high: float | None
    images: bool = False  # over images, of two single runs


class Line(NamedTuple):
    """One row of the comparison as the page shows it."""

    row: Row
    colour: str
    anchor: str
    difference: Judgement | None
    bar: Bar | None
    images: PairedDifference | None = None  # where both are single runs

    @property
    def weights(self) -> str:
        """The interval over images in words."""
        if self.images is None:
            return ""
        low, high = (signed(100 * value) for value in (self.images.low, self.images.high))
        return f"[{low}, {high}] VOC area, these weights"

    @property
    def why(self) -> str:
        """Why nothing is shown beside an interval that excludes 0, "" elsewhere."""
        found = self.difference
        if found is None or found.p is None or found.p < ALPHA or found.low is None:
            return ""
        if found.high is None or found.low <= 0 <= found.high:
            return ""
        return (
            f"alone its interval excludes 0; asked with {found.family - 1} others (Holm) p"
            f" {p_words(found.p)}"
        )


class ClassLine(NamedTuple):
    """One row of a per-class table."""

    label: str
    objects: int
    cells: tuple[Summary, ...]
    difference: float | None


@dataclass
class Block:
    """One group's part of the page."""

    group: Group
    lines: list[Line]
    tried: list[Line]  # settings that val did not choose
    markdown: str
    pairing: str = ""  # how seeds were compared, and why
    figures: list[FigureItem] = field(default_factory=list)
    settings: list[tuple[str, list[str]]] = field(default_factory=list)  # a key, by arm
    classes: list[ClassLine] = field(default_factory=list)
    class_arms: list[Arm] = field(default_factory=list)
    class_difference: str = ""
    class_note: str = ""
    rival: Arm | None = None

    @property
    def arms(self) -> list[Arm]:
        """The arms in the settings that stand for them, in the table's order."""
        return [line.row.arm for line in self.lines]


def make_block(
    group: Group,
    primary: Metric,
    anchors: dict[str, str],
    names: dict[str, str],
    two_runs: TwoRuns,
) -> Block:
    """Tables and figures of one group; `anchors` gives each arm's place in the provenance table,
    `names` its palette name.
    """
    rows = comparison(group, primary)
    reach = _reach(rows, primary)
    lines = []
    for row in rows:
        name, difference = names[row.arm.title], row.differences.get(primary.key)
        bar = _bar(difference, reach) if difference else None
        images = None
        if bar is not None and bar.low is None and row.against is not None and name != "rest":
            images = two_runs(row.against, row.arm)
            bar = _image_bar(images, reach) if images is not None else bar
        lines.append(Line(row, name, anchors[row.arm.title], difference, bar, images))
    stand, tried = ([line for line in lines if line.row.stands is known] for known in (True, False))
    block = Block(group, stand, tried, markdown_table(rows, primary), pairing_of(group, primary))
    block.figures = evidence(group, rows, primary, names)
    block.settings = differing_settings(replace(group, arms=tuple(block.arms)))
    block.rival = rival_of(rows, primary)
    _add_classes(block, ranking(group, primary), primary)
    return block


def ranking(group: Group, primary: Metric) -> list[Arm]:
    """The arms, the highest mean first, those without one last; before them all those that stand
    for their other settings, where val chose.
    """
    stand = set(standing([group], primary))
    known = sorted(
        comparison(group, primary),
        key=lambda row: (row.arm not in stand, -(row.summaries[primary.key].mean or -1.0)),
    )
    return [row.arm for row in known]


def hues(
    groups: Sequence[Group], ranked: Sequence[Sequence[Arm]], primary: Metric
) -> list[dict[str, str]]:
    """Each group's palette names: settings that val did not choose are faint."""
    stand = set(standing(groups, primary))
    return style.colours(groups, [[arm for arm in best if arm in stand] for best in ranked])


def picture_names(grid: Grid) -> list[dict[str, Any]]:
    """Pictures for the template; `names` is false where a crowded image has no room for names."""
    return [
        picture._asdict() | {"names": max(len(panel.marks) for panel in picture.panels) <= 14}
        for picture in grid.pictures
    ]


def _add_classes(block: Block, ranked: list[Arm], primary: Metric) -> None:
    """The per-class table: every arm where they fit, else baseline and the highest arms."""
    group = block.group
    rows: list[ClassRow] = per_class(group, primary)
    if not rows:
        return
    shown = [arm for arm in block.arms if arm.finished]
    block.class_note = (
        "Settings that val did not choose are in per_class.csv." if block.tried else ""
    )
    if len(shown) > MOST_CLASS_ARMS:
        keep = ([group.baseline] if group.baseline else []) + [
            arm for arm in ranked if arm is not group.baseline
        ]
        block.class_note = f"{MOST_CLASS_ARMS} of {len(shown)} arms; per_class.csv has all."
        shown = [arm for arm in group.arms if arm in keep[:MOST_CLASS_ARMS]]
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


def _bar(difference: Judgement, reach: float) -> Bar | None:
    if difference.points is None:
        return None
    low = None if difference.low is None else _place(difference.low, reach)
    high = None if difference.high is None else _place(difference.high, reach)
    return Bar(60, _place(difference.points, reach), low, high)


def _image_bar(found: PairedDifference, reach: float) -> Bar:
    values = (found.difference, found.low, found.high)
    point, low, high = (_place(100 * value, reach) for value in values)
    return Bar(60, point, low, high, images=True)


def _place(value: float, reach: float) -> float:
    return round(60 + 55 * max(-1.0, min(1.0, value / reach)), 1)
