"""Published values beside ours, where a table is named: `--published`, or a sweep's x-published.

A published value stands beside our arm whose recorded configuration has its settings. Where several
of ours have them, the one is taken that differs in the fewest other settings from the arm beside
the first value, so that the effect shown is of the published setting alone as far as we ran it; the
table says how many more there are. Where none has them, the row says so. Levels of other data and
schedules do not compare; the effect of a setting may.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.evaluation.significance import Summary
from experiments.report.arms import Arm, Group
from experiments.report.choice import contest, standing_arms
from experiments.report.literature import Study, Value
from experiments.report.load import Run
from experiments.report.settings import alpha_of, gamma_of, settings_of
from experiments.report.tables import Metric, metric_named


class Comparison(NamedTuple):
    """One published setting beside ours; effects are points above each side's own baseline row.

    `more` counts our other arms that have the setting too.
    """

    value: Value
    published_effect: float
    arm: Arm | None
    more: int
    ours: Summary
    our_effect: float | None


class Table(NamedTuple):
    """A study beside the runs of one group."""

    study: Study
    metric: Metric
    group: Group
    rows: tuple[Comparison, ...]
    differs: str


def beside(study: Study, groups: Sequence[Group]) -> list[Table]:
    """The study beside each group of its detector; a setting that we did not run has no arm."""
    return [
        Table(study, metric_named(study.metric), group, rows, _differs(study, group, rows))
        for group in groups
        if group.detector.lower() == study.detector
        for rows in [_rows(study, group)]
    ]


def fits(value: Value, config: Mapping[str, Any]) -> bool:
    """Whether a run's configuration has the published value's settings; a missing key is None."""
    return all(_same(_found(config, key), wanted) for key, wanted in value.settings.items())


def _rows(study: Study, group: Group) -> tuple[Comparison, ...]:
    first: Arm | None = None
    base: float | None = None
    rows = []
    arms = [arm for arm in standing_arms(contest(group, study.metric)) if arm.finished]
    for place, value in enumerate(study.values):
        fitting = [arm for arm in arms if fits(value, arm.runs[0].config)]
        arm = _nearest(fitting, first)
        ours = arm.summary(study.metric) if arm else Summary(None, None, 0)
        if place == 0:
            first, base = arm, ours.mean
        effect = None if base is None or ours.mean is None else ours.mean - base
        published = value.percent - study.values[0].percent
        more = max(0, len(fitting) - 1)
        rows.append(Comparison(value, published, arm, more, ours, effect))
    return tuple(rows)


def _nearest(fitting: Sequence[Arm], first: Arm | None) -> Arm | None:
    """The arm with the fewest settings other than `first`'s; of equals, the group's first."""
    if first is None:
        return next(iter(fitting), None)
    wanted = settings_of(first.runs[0].config)

    def distance(arm: Arm) -> int:
        mine = settings_of(arm.runs[0].config)
        return sum(mine.get(key) != wanted.get(key) for key in mine.keys() | wanted.keys())

    return min(fitting, key=distance, default=None)


def _found(config: Mapping[str, Any], key: str) -> Any:
    if key in ("gamma", "alpha"):
        return (gamma_of if key == "gamma" else alpha_of)(config)
    found: Any = config
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, (list, tuple)) and isinstance(wanted, (list, tuple)):
        return list(found) == list(wanted)
    return bool(found == wanted)


def _differs(study: Study, group: Group, rows: Sequence[Comparison]) -> str:
    """What is known to differ, from the first finished run of the arms shown, else of the group."""
    shown = [row.arm for row in rows if row.arm] or list(group.arms)
    runs = [run for arm in shown for run in arm.finished]
    if not runs:
        return f"Theirs: {study.setup}."
    run = runs[0]
    data = run.config.get("data")
    name = data.get("name", "data") if isinstance(data, Mapping) else "data"
    train = run.split("train")
    images = f", {train.images:,} training images" if train else ""
    ours = f"{group.title} on {name}{images}, {run.iterations:,} iterations"
    for words in (_backbone, _input):
        told = {words(each) for each in runs}
        ours += "".join(told) if len(told) == 1 else ""  # what the arms vary is in their names
    return f"Theirs: {study.setup}. Ours: {ours}."


def _backbone(run: Run) -> str:
    backbone = _found(run.config, "detector.backbone")
    if not isinstance(backbone, Mapping):
        return ""
    return f", {backbone.get('arch') or backbone.get('name') or 'a backbone'}"


def _input(run: Run) -> str:
    fit = _found(run.config, "input.fit")
    if not isinstance(fit, Mapping):
        return ""
    short, height, width = (fit.get(key) for key in ("short", "height", "width"))
    return f", {short} px" if short else f", {width} × {height} px" if height and width else ""
