"""Other people's numbers, to stand beside ours: what was published, for which setting, and how.

Values are percent as printed in the source. A study is shown when it is named (`--published`).
Absolute values of other data and schedules do not compare; the effect of gamma or alpha may.
"""

from collections.abc import Sequence
from typing import NamedTuple

from experiments.report.arms import Arm, Group
from experiments.report.statistics import Summary
from experiments.report.tables import Metric, metric_named


class Value(NamedTuple):
    """One published result; `alpha` None where the source used none (then any of ours fits)."""

    gamma: float
    alpha: float | None
    percent: float


class Study(NamedTuple):
    """One published table. The first value is its baseline."""

    title: str
    source: str
    detector: str
    metric: str  # the record's key
    setup: str
    values: tuple[Value, ...]


class Comparison(NamedTuple):
    """One published setting beside ours; effects are points above each side's own baseline row."""

    value: Value
    published_effect: float
    arm: Arm | None
    ours: Summary
    our_effect: float | None


class Table(NamedTuple):
    """A study beside the runs of one group."""

    study: Study
    metric: Metric
    group: Group
    rows: tuple[Comparison, ...]
    differs: str


def _alpha_sweep(*pairs: tuple[float, float]) -> tuple[Value, ...]:
    return tuple(Value(0.0, alpha, percent) for alpha, percent in pairs)


STUDIES: dict[str, Study] = {
    "focal-1a": Study(
        "Cross-entropy weighted by α",
        "Lin et al. 2017, arXiv:1708.02002, table 1a",
        "retinanet",
        "coco_ap",
        "RetinaNet, ResNet-50-FPN, 600 px, COCO trainval35k, measured on minival",
        _alpha_sweep((0.5, 30.2), (0.1, 0.0), (0.25, 10.8), (0.75, 31.1), (0.9, 30.8))
        + _alpha_sweep((0.99, 28.7), (0.999, 25.1)),
    ),
    "focal-1b": Study(
        "Focal loss over γ, each with its best α",
        "Lin et al. 2017, arXiv:1708.02002, table 1b",
        "retinanet",
        "coco_ap",
        "RetinaNet, ResNet-50-FPN, 600 px, COCO trainval35k, measured on minival",
        (
            Value(0.0, 0.75, 31.1),
            Value(0.1, 0.75, 31.4),
            Value(0.2, 0.75, 31.9),
            Value(0.5, 0.50, 32.9),
            Value(1.0, 0.25, 33.7),
            Value(2.0, 0.25, 34.0),
            Value(5.0, 0.25, 32.2),
        ),
    ),
    "yolov2-gamma": Study(
        "Softmax focal loss over γ in YOLOv2",
        "marvis/pytorch-yolo2, README, 416 px, one seed",
        "yolov2",
        "voc07_map",
        "YOLOv2, Darknet-19, 416 px, VOC07+12, focal loss on the class term only, one seed",
        tuple(
            Value(float(gamma), None, percent)
            for gamma, percent in enumerate((73.05, 73.63, 74.08, 73.73, 73.53))
        ),
    ),
}


def beside(study: Study, groups: Sequence[Group]) -> list[Table]:
    """The study beside each group of its detector; a setting that we did not run has no arm."""
    tables = []
    for group in groups:
        if group.detector.lower() != study.detector:
            continue
        pairs = [(value, _arm(value, group)) for value in study.values]
        summaries = [
            arm.summary(study.metric) if arm else Summary(None, None, 0) for _, arm in pairs
        ]
        rows = tuple(
            Comparison(value, value.percent - study.values[0].percent, arm, ours, effect)
            for (value, arm), ours, effect in zip(
                pairs, summaries, _effects(summaries), strict=True
            )
        )
        tables.append(Table(study, metric_named(study.metric), group, rows, _differs(study, group)))
    return tables


def _effects(summaries: Sequence[Summary]) -> list[float | None]:
    base = summaries[0].mean
    return [None if base is None or one.mean is None else one.mean - base for one in summaries]


def _arm(value: Value, group: Group) -> Arm | None:
    """Our arm with this gamma and alpha; of several with any alpha, the group's first."""
    fitting = [
        arm
        for arm in group.arms
        if arm.gamma == value.gamma and arm.finished and (value.alpha in (None, arm.alpha))
    ]
    return fitting[0] if fitting else None


def _differs(study: Study, group: Group) -> str:
    """What is known to differ, from the first finished run's configuration."""
    run = next((run for arm in group.arms for run in arm.finished), None)
    if run is None:
        return study.setup
    data = run.config.get("data")
    name = data.get("name", "data") if isinstance(data, dict) else "data"
    train = run.split("train")
    images = f", {train.images:,} training images" if train else ""
    ours = f"{group.title} on {name}{images}, {run.iterations:,} iterations"
    return f"Theirs: {study.setup}. Ours: {ours}."
