"""Groups -> rows of numbers: one computation for every format (written.py), the page's tables
included.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from experiments.evaluation.measures import measure_name
from experiments.evaluation.referee import Judgement, judge
from experiments.evaluation.significance import Summary
from experiments.evaluation.verdict import listed
from experiments.report.arms import Arm, Group
from experiments.report.choice import Contest, contest, standing_arms


class Metric(NamedTuple):
    """A test metric: its key in the record and its names for people. All are percent, higher is
    better.
    """

    key: str
    name: str
    per_class: str  # the key of one class's value, "" where there is none


METRICS = (
    Metric("voc07_map", "VOC07 mAP", "voc07_ap"),
    Metric("voc_area_map", "VOC area", "voc_area_ap"),
    Metric("coco_ap", "COCO AP", "coco_ap"),
    Metric("coco_ap50", "COCO AP50", "coco_ap50"),
    Metric("coco_ap75", "COCO AP75", ""),
    Metric("coco_ap_small", "AP small", ""),
    Metric("coco_ap_medium", "AP medium", ""),
    Metric("coco_ap_large", "AP large", ""),
)
MAIN = METRICS[:4]


class Row(NamedTuple):
    """One arm of the comparison: a summary and a difference to the group's baseline for each
    metric.
    """

    group: Group
    arm: Arm
    is_baseline: bool
    is_best: bool
    note: str  # "chosen on val from 4 settings", "1 of 3 ended early": "" where there is nothing
    summaries: dict[str, Summary]
    differences: dict[str, Judgement]  # to `against`, where that is something
    against: Arm | None = None  # the baseline, in the setting that is compared
    stands: bool = True  # false of a setting that val did not choose for its arm


ANSWER = ("diff", "low", "high", "p_holm", "improvement", "test", "verdict")  # columns


class Contrast(NamedTuple):
    """One comparison that a study or the reader names."""

    arm: Arm
    against: Arm
    judgement: Judgement


class ClassRow(NamedTuple):
    """One class: its size in the test set and, for each arm of the group, a summary of its AP."""

    label: str
    objects: int
    summaries: tuple[Summary, ...]


def metrics_of(groups: Iterable[Group]) -> tuple[Metric, ...]:
    """The metrics that tables have: those of every record, and further ones that some record has
    (evaluation/measures).
    """
    runs = [run for group in groups for arm in group.arms for run in arm.finished]
    more = sorted({key for run in runs if run.metrics is not None for key in run.metrics.more})
    return (*METRICS, *(Metric(key, measure_name(key), "") for key in more))


def metric_named(key: str) -> Metric:
    """The metric with this key. Raises KeyError for an unknown one."""
    return {metric.key: metric for metric in METRICS}[key]


def primary_metric(groups: Sequence[Group]) -> Metric:
    """The metric that decides: VOC07 mAP, or the first that every finished run has."""
    runs = [run for group in groups for arm in group.arms for run in arm.finished]
    for metric in METRICS:
        if runs and all(run.metric(metric.key) is not None for run in runs):
            return metric
    return METRICS[0]


def comparison(group: Group, primary: Metric) -> list[Row]:
    """The group's arms in its order, each compared with the baseline (Holm over the group's
    other arms).
    """
    return list(_comparison(group, primary))


@lru_cache(maxsize=16)  # the verdict, the page and three tables ask for the same
def _comparison(group: Group, primary: Metric) -> tuple[Row, ...]:
    found = contest_of(group, primary)
    stand = standing_arms(found)
    best = replace(group, arms=tuple(stand)).best(primary.key)
    metrics = metrics_of([group])
    answers = {metric.key: _answers(group, primary, metric) for metric in metrics}
    against = {found.arms[pair.b]: found.arms[pair.a] for pair in found.pairs}
    base = found.baseline.settings if found.baseline else ()
    return tuple(
        Row(
            group=group,
            arm=arm,
            is_baseline=arm in base,
            is_best=arm is best,
            note=_note(found, arm),
            summaries={metric.key: arm.summary(metric.key) for metric in metrics},
            differences={
                key: each[against[arm], arm] for key, each in answers.items() if arm in against
            },
            against=against.get(arm),
            stands=arm in stand,
        )
        for arm in group.arms
    )


def contest_of(group: Group, primary: Metric) -> Contest:
    """Who is compared with whom."""
    return _contest(group, primary.key)


_contest = lru_cache(maxsize=16)(contest)


def standing(groups: Iterable[Group], primary: Metric) -> list[Arm]:
    """All groups' arms in the settings that stand for them, where val chose; else all."""
    return [arm for group in groups for arm in standing_arms(contest_of(group, primary))]


def contrasts(group: Group, primary: Metric) -> list[Contrast]:
    """The comparisons that the study and the reader name, which are of one family with those of
    the baseline.
    """
    return contrasts_of(group, primary, group.named_pairs)


def contrasts_of(group: Group, primary: Metric, named: Sequence[tuple[str, str]]) -> list[Contrast]:
    """The answers to some of the comparisons that were named."""
    found = contest_of(group, primary)
    answers = _answers(group, primary, primary)
    pairs = [(found.arms[p.a], found.arms[p.b]) for name in named for p in found.named[name]]
    return [Contrast(b, a, answers[a, b]) for a, b in dict.fromkeys(pairs)]


def _answers(group: Group, primary: Metric, metric: Metric) -> dict[tuple[Arm, Arm], Judgement]:
    """(against, arm) -> the referee's answer; each question is asked once."""
    found = contest_of(group, primary)
    pairs = list({(pair.a, pair.b): pair for pair in found.contrasts + found.pairs}.values())
    within = group.asked.within if metric is primary else None
    answers = judge([arm.seeds(metric.key) for arm in found.arms], pairs, within=within)
    return {
        (found.arms[pair.a], found.arms[pair.b]): answer
        for pair, answer in zip(pairs, answers, strict=True)
    }


def _note(found: Contest, arm: Arm) -> str:
    """What is to be known of an arm beside its name."""
    one, notes = found.candidate(arm), []
    if one.tried > 1 and one.chosen is not None:
        chosen = "chosen" if one.chosen is arm else "not chosen"
        edges = f", the {listed(one.edges)}" if one.edges and one.chosen is arm else ""
        notes.append(f"{chosen} on val from {one.tried} settings{edges}")
    return "; ".join([*notes, *([shortened_words(arm)] if arm.shortened else [])])


def shortened_words(arm: Arm) -> str:
    """How many of an arm's runs ended before their schedule did, where, and with which gamma."""
    early = arm.shortened
    done = sorted(100 * run.last["progress"] for run in early)
    gammas = sorted({round(run.last["gamma"], 2) for run in early if "gamma" in run.last})
    words = f"{len(early)} of {len(arm.finished)} runs ended early"
    words += f" ({listed(sorted({run.ended or '' for run in early}))}), {_span(done, '.0f')} % done"
    return words + (f", γ {_span(gammas, 'g')} in force" if gammas else "")


def _span(values: Sequence[float], form: str) -> str:
    """`40`, or `40–55`."""
    ends = dict.fromkeys(f"{value:{form}}" for value in (values[0], values[-1]))
    return "–".join(ends)


def per_class(group: Group, metric: Metric) -> list[ClassRow]:
    """The group's classes, the most frequent in the test set first. Empty where the metric has
    no class values.
    """
    if not metric.per_class:
        return []
    return [
        ClassRow(
            label,
            objects_of(group, label),
            tuple(arm.class_summary(label, metric.per_class) for arm in group.arms),
        )
        for label in group.classes
    ]


def objects_of(group: Group, label: str) -> int:
    """Test objects of a class (VOC's difficult ones not counted), as the runs' evaluation
    counted them.
    """
    counts = (run.class_metric(label, "objects") for arm in group.arms for run in arm.finished)
    return max((int(count) for count in counts if count is not None), default=0)


# ---------------------------------------------------------------- numbers as text


def setting(value: float | str | None) -> str:
    """gamma or alpha as text: shortest float, the schedule's words, a dash for off."""
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else value
