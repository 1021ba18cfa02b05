"""The tables of a paper's results: every metric of every arm, the best in bold, with intervals and
marks of significance.
"""

from collections.abc import Sequence

from experiments.config.words import path_words
from experiments.evaluation.referee import DECIDED, Judgement
from experiments.evaluation.significance import ALPHA, Summary
from experiments.evaluation.verdict import fixed, listed, signed
from experiments.report.arms import Group
from experiments.report.tables import MAIN, Metric, Row, comparison, setting
from experiments.report.written import escape_latex, fixed_sign

MARKS = ((0.001, r"\ddagger"), (ALPHA, r"\dagger"))


def results_table(group: Group, primary: Metric) -> str:
    """One group's table, with caption and label (tab:KEY)."""
    every = comparison(group, primary)
    rows = [row for row in every if row.stands]
    metrics = [primary, *(metric for metric in MAIN if metric is not primary)]
    tops = {metric.key: _top(rows, metric) for metric in metrics}
    heads = [r"$\gamma$", r"$\alpha$", "$n$", *(escape_latex(m.name) for m in metrics)]
    heads += [r"$\Delta$ [95\,\% CI]"]
    lines = [
        r"\begin{table*}[t]",
        r"\centering\small",
        f"\\caption{{{_caption(group, rows, primary)}{_left_out(len(every) - len(rows))}}}",
        f"\\label{{tab:{group.key}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"\\begin{{tabular}}{{lll{'r' * (len(metrics) + 1)}l}}",
        r"\toprule",
        "Arm & " + " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    for row in rows:
        arm = row.arm
        cells = [escape_latex(arm.short)]
        cells += [escape_latex(path_words(setting(v))) for v in (arm.gamma, arm.alpha)]
        cells.append(str(len(arm.finished)))
        cells += [_score(row.summaries[m.key], tops[m.key]) for m in metrics]
        cells.append(_difference(row, primary))
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table*}", ""])


def _caption(group: Group, rows: Sequence[Row], primary: Metric) -> str:
    answers = [row.differences[primary.key] for row in rows if primary.key in row.differences]
    decided = [one for one in answers if one.verdict in DECIDED]
    told = f"{group.title}: percent on the test split, mean $\\pm$ SD over $n$ seeds; best in bold."
    if group.baseline is not None and answers:
        told += (
            f" $\\Delta$: points of {escape_latex(primary.name)} to"
            f" {escape_latex(group.baseline.short)}."
        )
    if not decided:
        return told + " No comparison has the seeds for a test."
    tests = sorted({"paired $t$" if one.paired else "Welch's $t$" for one in decided})
    return told + (
        f" $^\\dagger$ $p < {ALPHA:g}$, $^\\ddagger$ $p < 0.001$: {listed(tests)} test over seeds,"
        f" two-sided, Holm-corrected over {decided[0].family} comparisons; intervals are not"
        " corrected."
    )


def _left_out(tried: int) -> str:
    if not tried:
        return ""
    return f" Each arm in the setting that val chose, {tried} others are left out."


def _top(rows: Sequence[Row], metric: Metric) -> float | None:
    found = [row.summaries[metric.key].mean for row in rows]
    return max((mean for mean in found if mean is not None), default=None)


def _score(summary: Summary, top: float | None) -> str:
    if summary.mean is None:
        return "--"
    mean = fixed(summary.mean)
    mean = f"\\mathbf{{{mean}}}" if summary.mean == top else mean
    return f"${mean}$" if summary.sd is None else f"${mean} \\pm {fixed(summary.sd)}$"


def _difference(row: Row, primary: Metric) -> str:
    found = row.differences.get(primary.key)
    if found is None:
        return "baseline" if row.is_baseline else "--"
    if found.points is None:
        return "--"
    words = f"${fixed_sign(found.points)}{_mark(found)}$"
    if found.low is not None and found.high is not None:
        low, high = (signed(end).replace("\N{MINUS SIGN}", "-") for end in (found.low, found.high))
        words += f" $[{low}, {high}]$"
    return words


def _mark(found: Judgement) -> str:
    if found.verdict not in ("better", "worse") or found.p is None:
        return ""
    return next((f"^{mark}" for least, mark in MARKS if found.p < least), "")
