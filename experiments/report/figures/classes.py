"""Per-class difference of the best arm to the baseline, the most frequent classes first."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from experiments.evaluation.verdict import signed
from experiments.report.arms import Arm, Group
from experiments.report.figures import style
from experiments.report.tables import Metric, objects_of

MOST_CLASSES = 20  # bars; the table has every class


class ClassDifference(NamedTuple):
    """One class: test objects, difference of means in points, and each shared seed's own
    difference.
    """

    label: str
    objects: int
    points: float
    seeds: tuple[float, ...]


class ClassesInfo(NamedTuple):
    """The classes of one pair of arms."""

    metric: Metric
    arm: Arm
    baseline: Arm
    classes: tuple[ClassDifference, ...]
    left_out: int = 0  # classes of middling frequency that did not fit


def chosen(labels: Sequence[str], most: int) -> list[str]:
    """The most frequent and the rarest of `labels`, which come by falling frequency: `most` in all,
    of an odd number the one more from the frequent.
    """
    if len(labels) <= most:
        return list(labels)
    return [*labels[: most - most // 2], *labels[len(labels) - most // 2 :]]


def classes_info(group: Group, arm: Arm, metric: Metric) -> ClassesInfo | None:
    """`arm` minus the group's baseline by class; None without a baseline or without per-class
    values.
    """
    base = group.baseline
    if base is None or base is arm or not metric.per_class:
        return None
    rows = []
    for label in group.classes:
        one, two = (which.class_summary(label, metric.per_class).mean for which in (arm, base))
        if one is None or two is None:
            continue
        rows.append(
            ClassDifference(
                label, objects_of(group, label), one - two, _by_seed(arm, base, label, metric)
            )
        )
    kept = chosen([row.label for row in rows], MOST_CLASSES)
    left_out = len(rows) - len(kept)
    rows = [row for row in rows if row.label in kept]
    return ClassesInfo(metric, arm, base, tuple(rows), left_out) if rows else None


def draw(info: ClassesInfo, names: dict[str, str]) -> Figure:
    """The figure of an info: a bar for the means, a dot for each seed that both arms ran."""
    figure, axes = style.new_figure(height=0.9 + 0.19 * len(info.classes))
    colour = style.LIGHT[names[info.arm.title]]
    for place, row in enumerate(info.classes):
        axes.barh(place, row.points, height=0.62, color=colour, alpha=0.45, linewidth=0)
        if len(row.seeds) > 1:
            axes.plot(row.seeds, [place] * len(row.seeds), ".", color=colour, markersize=5)
        far = max((row.points, *row.seeds), key=lambda value: value if row.points >= 0 else -value)
        side, align = (4, "left") if row.points >= 0 else (-4, "right")
        note = axes.annotate(
            signed(row.points),
            (far, place),
            (side, 0),
            textcoords="offset points",
            ha=align,
            va="center",
            fontsize=style.SMALL,
        )
        note.set_in_layout(False)  # inside the axes: need not be measured
    axes.axvline(0, color=style.LIGHT["base"], linewidth=1.2)
    labels = [f"{row.label[: style.LONGEST_LABEL]} ({row.objects:,})" for row in info.classes]
    axes.set_yticks(range(len(labels)), labels, color=style.LIGHT["ink"])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.margins(x=0.18)
    axes.grid(False, axis="y")
    axes.set_title("By class (test objects)")
    axes.set_xlabel(f"points of {info.metric.name.replace('mAP', 'AP')}")
    return figure


def _by_seed(arm: Arm, base: Arm, label: str, metric: Metric) -> tuple[float, ...]:
    known = {run.seed: run.class_metric(label, metric.per_class) for run in base.finished}
    pairs = (
        (run.class_metric(label, metric.per_class), known.get(run.seed)) for run in arm.finished
    )
    return tuple(one - two for one, two in pairs if one is not None and two is not None)
