"""Groups -> rows of numbers -> csv, md, tex. One computation feeds every format, the page's
tables included.
"""

import csv
import dataclasses
import io
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from experiments.evaluation.measures import measure_name
from experiments.evaluation.referee import Judgement, judge
from experiments.evaluation.significance import Summary
from experiments.evaluation.tables import no_formula
from experiments.evaluation.verdict import fixed, interval, listed, mean_sd, signed
from experiments.record.record import Memory
from experiments.report.arms import Arm, Group
from experiments.report.choice import Contest, contest
from experiments.report.load import Run


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
    found, best = contest_of(group, primary), group.best(primary.key)
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
        )
        for arm in group.arms
    )


def contest_of(group: Group, primary: Metric) -> Contest:
    """Who is compared with whom."""
    return _contest(group, primary.key)


_contest = lru_cache(maxsize=16)(contest)


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
        notes.append(f"{chosen} on val from {one.tried} settings")
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


# ---------------------------------------------------------------- files


def comparison_csv(rows: Iterable[Row]) -> str:
    """One line an arm; each metric as mean, SD, difference, interval and Holm-adjusted p.
    Empty: not known.
    """
    head = ["detector", "arm", "setting", "loss", "gamma", "alpha", "baseline", "against", "seeds"]
    rows = list(rows)
    metrics = metrics_of({id(row.group): row.group for row in rows}.values())
    for metric in metrics:
        head += [f"{metric.key}_{part}" for part in ("mean", "sd", *ANSWER)]
    lines: list[list[str]] = [head]
    for row in rows:
        arm = row.arm
        line = [arm.detector, arm.name, arm.setting, arm.loss, cell(arm.gamma), cell(arm.alpha)]
        against = row.against.title if row.against else ""
        line += ["yes" if row.is_baseline else "no", against, str(len(arm.finished))]
        for metric in metrics:
            summary = row.arm.summary(metric.key)
            difference = row.differences.get(metric.key)
            line += [cell(summary.mean), cell(summary.sd)]
            line += _judgement_cells(difference) if difference else [""] * len(ANSWER)
        lines.append(line)
    return csv_text(lines)


def contrasts_csv(groups: Sequence[Group], primary: Metric) -> str:
    """One line a comparison that the study or the reader names, of the deciding metric;
    equivalence within so many points where it was asked for.
    """
    lines = [["group", "metric", "arm", "against", *ANSWER, "within", "within_p_holm"]]
    for group in groups:
        for arm, against, answer in contrasts(group, primary):
            line = [group.title, primary.key, arm.title, against.title, *_judgement_cells(answer)]
            lines.append([*line, cell(answer.within), cell(answer.within_p)])
    return csv_text(lines)


def per_class_csv(groups: Sequence[Group]) -> str:
    """One line an arm and class: test objects, then mean and SD of each per-class metric."""
    metrics = [metric for metric in METRICS if metric.per_class]
    head = ["detector", "arm", "setting", "class", "objects", "seeds"]
    head += [f"{metric.per_class}_{part}" for metric in metrics for part in ("mean", "sd")]
    lines = [head]
    for group in groups:
        objects = {label: objects_of(group, label) for label in group.classes}
        for arm in group.arms:
            for label in group.classes:
                line = [arm.detector, arm.name, arm.setting, label, str(objects[label])]
                line.append(str(len(arm.finished)))
                for metric in metrics:
                    summary = arm.class_summary(label, metric.per_class)
                    line += [cell(summary.mean), cell(summary.sd)]
                lines.append(line)
    return csv_text(lines)


def runs_csv(groups: Sequence[Group]) -> str:
    """One line a run, whatever its status: where it is, what it was made of and each metric as
    recorded.
    """
    metrics = metrics_of(groups)
    facts = [
        run_facts(arm, run, metrics) for group in groups for arm in group.arms for run in arm.runs
    ]
    lines = [[*facts[0]]] if facts else []
    return csv_text([*lines, *([*map(_fact_cell, each.values())] for each in facts)])


def run_facts(
    arm: Arm, run: Run, metrics: Sequence[Metric] = METRICS
) -> dict[str, str | int | float | None]:
    """One run by columns; metrics in percent, times in seconds, memory in MiB, None: not known."""
    peaks = [field.name for field in dataclasses.fields(Memory)]
    return {
        "detector": arm.detector,
        "arm": arm.name,
        "setting": arm.setting,
        "run": run.id,
        "seed": run.seed,
        "status": run.status,
        "config_hash": run.config_hash,
        "commit": run.commit,
        "train_hash": run.split_hash("train"),
        "test_hash": run.split_hash("test"),
        "iterations": run.iterations,
        "train_seconds": run.seconds.train,
        **{metric.key: run.metric(metric.key) for metric in metrics},
        **{name: getattr(run.memory, name, None) for name in peaks},
    }


def _fact_cell(value: str | int | float | None) -> str:
    return str(value) if isinstance(value, int) else cell(value)


def markdown_table(rows: Sequence[Row], primary: Metric) -> str:
    """GitHub Markdown of one group's comparison; names are escaped so that they cannot become
    markup.
    """
    head = ["arm", "γ", "α", "seeds", *(metric.name for metric in MAIN)]
    head += [f"Δ {primary.name}", "95 % CI", "verdict"]
    lines = [head, ["---", "---", "---", *["---:"] * (len(MAIN) + 2), ":---:", "---"]]
    for row in rows:
        name = escape_markdown(row.arm.short)
        cells = [f"**{name}**" if row.is_best else name]
        cells[0] += f" ({row.note})" if row.note else ""
        cells += [escape_markdown(setting(value)) for value in (row.arm.gamma, row.arm.alpha)]
        cells.append(str(len(row.arm.finished)))
        cells += [mean_sd(row.summaries[metric.key]) for metric in MAIN]
        lines.append(cells + _difference_cells(row, primary))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def latex_table(groups: Sequence[Group], primary: Metric) -> str:
    """A booktabs table of every group; `\\usepackage{booktabs}` is all that it needs."""
    columns = "l" + "r" * (2 + 1 + len(MAIN) + 1)
    heads = [r"$\gamma$", r"$\alpha$", "$n$", *(metric.name for metric in MAIN), r"$\Delta$"]
    lines = [
        "% \\usepackage{booktabs}; percent, mean $\\pm$ SD over n seeds;"
        f" $\\Delta$: points of {primary.name} to the baseline"
    ]
    lines += [
        f"\\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        "Arm & " + " & ".join(heads) + r" \\",
    ]
    for group in groups:
        lines += [
            r"\midrule",
            f"\\multicolumn{{{len(columns)}}}{{l}}{{{escape_latex(group.title)}}} \\\\",
        ]
        for row in comparison(group, primary):
            cells = [escape_latex(row.arm.short)]
            cells += [escape_latex(setting(value)) for value in (row.arm.gamma, row.arm.alpha)]
            cells.append(str(len(row.arm.finished)))
            cells += [_latex_cell(row.summaries[metric.key]) for metric in MAIN]
            difference = row.differences.get(primary.key)
            cells.append(f"${fixed_sign(difference.points)}$" if difference else "--")
            lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def escape_markdown(words: str) -> str:
    """Words that show as themselves in a Markdown table cell: no markup, no tags, one line."""
    flat = " ".join(words.split())
    for special in "\\`*_[]|~#":
        flat = flat.replace(special, "\\" + special)
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_latex(words: str) -> str:
    """Words that show as themselves in LaTeX text."""
    table = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    table |= {
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "→": r"$\rightarrow$",
        "–": "--",
        "·": r"$\cdot$",
    }
    table |= {"γ": r"$\gamma$", "α": r"$\alpha$", "±": r"$\pm$", "Δ": r"$\Delta$", "×": r"$\times$"}
    table |= {"≥": r"$\geq$", "≤": r"$\leq$", "−": "$-$", "…": r"\ldots{}", "’": "'"}
    table |= {"“": "``", "”": "''"} | {s: "\\" + s for s in "&%$#_{}"}
    return "".join(table.get(letter) or _for_tex(letter) for letter in " ".join(words.split()))


def _for_tex(letter: str) -> str:
    """Letters that a Latin font has as they are, of others their number: no engine stops at it."""
    return letter if ord(letter) < 0x180 else f"[U+{ord(letter):04X}]"


def fixed_sign(points: float | None) -> str:
    """A difference for LaTeX's maths mode, where an ASCII hyphen is a minus."""
    return signed(points).replace("\N{MINUS SIGN}", "-").replace("–", "\\text{--}")


def _judgement_cells(found: Judgement) -> list[str]:
    paired = "" if found.p is None else "paired" if found.paired else "Welch"
    numbers = (found.points, found.low, found.high, found.p, found.improvement)
    return [*map(cell, numbers), paired, found.verdict]


def _difference_cells(row: Row, primary: Metric) -> list[str]:
    if row.is_baseline:
        return ["", "", "baseline"]
    difference = row.differences.get(primary.key)
    if difference is None:
        return ["", "", "no baseline" if row.group.baseline is None else "not compared"]
    return [signed(difference.points), interval(difference), difference.verdict]


def _latex_cell(summary: Summary) -> str:
    if summary.mean is None:
        return "--"
    return (
        f"${fixed(summary.mean)}$"
        if summary.sd is None
        else f"${fixed(summary.mean)} \\pm {fixed(summary.sd)}$"
    )


def cell(value: float | str | None) -> str:
    """A float with six decimals (far below what seeds can tell), so that equal records give
    equal bytes.
    """
    number: Callable[[float], str] = "{:.6f}".format
    return "" if value is None else value if isinstance(value, str) else number(value)


def csv_text(lines: Iterable[Sequence[str]]) -> str:
    """Lines of cells as comma-separated text, quoted where needed, each ended by a newline."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([*map(no_formula, line)] for line in lines)
    return out.getvalue()
