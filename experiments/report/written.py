"""The tables as files: CSV, GitHub Markdown and LaTeX, names escaped for each."""

import csv
import dataclasses
import io
from collections.abc import Callable, Iterable, Sequence

from experiments.evaluation.referee import Judgement
from experiments.evaluation.significance import Summary
from experiments.evaluation.tables import no_formula
from experiments.evaluation.verdict import fixed, interval, mean_sd, signed
from experiments.record.record import Memory
from experiments.report.arms import Arm, Group
from experiments.report.load import Run
from experiments.report.tables import (
    ANSWER,
    MAIN,
    METRICS,
    Metric,
    Row,
    comparison,
    contrasts,
    metrics_of,
    objects_of,
    setting,
)


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
    markup. Settings that val did not choose come last, in a table of their own.
    """
    tried = [row for row in rows if not row.stands]
    table = _markdown_rows([row for row in rows if row.stands], primary)
    if not tried:
        return table
    words = "Settings that val did not choose, compared with nothing:"
    return f"{table}\n\n{words}\n\n{_markdown_rows(tried, primary)}"


def _markdown_rows(rows: Sequence[Row], primary: Metric) -> str:
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
    if row.is_baseline and row.stands:
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
