"""The paper's folder: every file written whole, `main.tex` last."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from experiments.record.files import whole_file, write_text
from experiments.report.arms import Group
from experiments.report.evidence.item import FigureItem
from experiments.report.figures import style
from experiments.report.paper.appendix import checklist, hyperparameters, model_card
from experiments.report.paper.results import results_table
from experiments.report.tables import Metric, comparison
from experiments.report.written import escape_latex, escape_markdown

TEMPLATES = Path(__file__).parent / "templates"
COLUMN = 3.3  # inches: a column of two on a letter page


def write_paper(
    out: Path,
    groups: Sequence[Group],
    primary: Metric,
    figures: Sequence[FigureItem],
    question: str,
) -> Path:
    """Write everything to `out` and give main.tex's path. It needs booktabs, graphicx and
    longtable; figures are PDF at the width of a column.
    """
    for figure in figures:
        with whole_file(out / f"figures/{figure.key}.pdf") as temporary:
            temporary.write_bytes(style.column_pdf(figure.make, COLUMN))
    best = [row for group in groups for row in comparison(group, primary) if row.is_best]
    cards = [model_card(row.group, row.arm, primary) for row in best]
    files = {f"results-{group.key}.tex": results_table(group, primary) for group in groups}
    context: dict[str, Any] = {
        "question": question,
        "groups": groups,
        "figures": figures,
        "checklist": checklist(groups, primary),
        "cards": cards,
        "column": COLUMN,
    }
    files["hyperparameters.tex"] = hyperparameters(groups)
    for name in ("checklist.tex", "model_card.tex", "model_card.md", "references.bib", "main.tex"):
        files[name] = _render(f"{name}.j2", context)
    for name, text in files.items():
        write_text(out / name, text)
    return out / "main.tex"


def _sentence(title: str) -> str:
    return title if title.endswith(("?", "!", ".")) else f"{title}."


def _render(name: str, context: dict[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # TeX and Markdown: every value goes through `tex` or `md`
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(tex=escape_latex, md=escape_markdown, sentence=_sentence)
    return environment.get_template(name).render(context)
