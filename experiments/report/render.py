"""Records -> a folder with report.html, report.md, table.csv, per_class.csv, runs.csv,
table.tex and figures/*.svg.

Equal records give equal bytes. Every file is written whole or not at all, the page last.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from experiments.atomic import write_text
from experiments.report import page, pictures, tables, verdict
from experiments.report.arms import Group, make_groups
from experiments.report.figures.style import PALETTE
from experiments.report.load import ReportError, load_runs

TEMPLATES = Path(__file__).parent / "templates"
FILES = (
    ("report.md", "the verdict and tables as Markdown"),
    ("table.csv", "arms × metrics, differences, intervals and p values"),
    ("per_class.csv", "arms × classes"),
    ("runs.csv", "every run with whole hashes"),
    ("table.tex", "the comparison for LaTeX (booktabs)"),
    ("figures/", "the figures as SVG"),
)


def write_report(
    directories: Sequence[Path],
    out: Path,
    *,
    baseline: str | None = None,
    metric: str | None = None,
    question: str | None = None,
    images: int = 8,
) -> Path:
    """Make the report of all records at or below `directories` in the folder `out`; gives the
    page's path.

    `baseline` names the arm to compare with (default: cross-entropy or gamma 0 of the same
    detector), `metric` the deciding metric (a key of the record, default voc07_map where every
    run has it), `question` the title, `images` how many test images a detector are shown.

    Raises:
        ReportError: no record, an unreadable record, an unknown arm or metric.
    """
    groups = make_groups(load_runs(directories), baseline=baseline)
    primary = choose_metric(metric, groups)
    context = _context(groups, primary, out, question, images)
    for block in context["blocks"]:
        for item in block.figures:
            write_text(out / item.file, item.svg)
    rows = [row for group in groups for row in tables.comparison(group, primary)]
    write_text(out / "table.csv", tables.comparison_csv(rows))
    write_text(out / "per_class.csv", tables.per_class_csv(groups))
    write_text(out / "runs.csv", tables.runs_csv(groups))
    write_text(out / "table.tex", tables.latex_table(groups, primary))
    write_text(out / "report.md", render_markdown(context))
    write_text(out / "report.html", render_page(context))
    return out / "report.html"


def choose_metric(key: str | None, groups: Sequence[Group]) -> tables.Metric:
    """The deciding metric: the one named, else the first that every finished run has.

    Raises:
        ReportError: no metric has this key.
    """
    if key is None:
        return tables.primary_metric(groups)
    known = {metric.key: metric for metric in tables.METRICS}
    if key not in known:
        raise ReportError(f"metric: unknown '{key}' (known: {', '.join(known)})")
    return known[key]


def render_page(context: dict[str, Any]) -> str:
    """The HTML page: style, script and images inside, names escaped, no request to anywhere."""
    script = _read("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = _environment(autoescape=True)
    template = environment.get_template("report.html.j2")
    return template.render(
        **context,
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        style=Markup(palette_css() + _read("report.css")),
    )


def render_markdown(context: dict[str, Any]) -> str:
    """The Markdown report; names are escaped for Markdown, which covers HTML in it."""
    environment = _environment(autoescape=False)
    return environment.get_template("report.md.j2").render(**context, escape=tables.escape_markdown)


def palette_css() -> str:
    """CSS variables of the palette, by the reader's preference or by the page's own switch."""
    light = _variables(0) + "color-scheme:light;"
    dark = _variables(1) + (
        "color-scheme:dark;--wash:#0d1117;--good:#4fd1a7;--bad:#ff8a80;--warn-edge:#8f6a10;--warn:#241e10;"
        "--link:#8ab8ff;--target:#3a3214;--shadow:none;"
    )
    chosen = ":root:root[data-theme=dark]"
    return (
        f":root:root{{{light}}}\n@media screen and (prefers-color-scheme:dark)"
        f"{{:root:root:not([data-theme=light]){{{dark}}}}}\n"
        f"@media screen{{{chosen}{{{dark}}}}}\n"
    )


def _context(
    groups: Sequence[Group], primary: tables.Metric, out: Path, question: str | None, images: int
) -> dict[str, Any]:
    anchors = page.arm_anchors(groups)
    blocks = [
        page.make_block(group, primary, mine) for group, mine in zip(groups, anchors, strict=True)
    ]
    grids = (
        [pictures.choose(group, group.best(primary.key), images) for group in groups]
        if images
        else []
    )
    has_classes = any(block.classes for block in blocks)
    config, config_of = page.whole_config(groups)
    return {
        "question": question or verdict.question(groups, primary),
        "facts": page.facts(groups),
        "sections": _sections(blocks, has_classes, bool(grids)),
        "verdicts": [verdict.verdict(group, primary) for group in groups],
        "warnings": verdict.warnings(groups, primary),
        "primary": primary,
        "others": [metric for metric in tables.MAIN if metric is not primary],
        "blocks": blocks,
        "has_classes": has_classes,
        "grids": [grid._asdict() | {"pictures": page.picture_names(grid)} for grid in grids],
        "costs": page.costs(groups),
        "hardware": page.hardware(groups),
        "runs": page.run_lines(groups, primary, out),
        "settings": page.differing_settings(groups),
        "config": config,
        "config_of": config_of,
        "versions": page.versions(groups),
        "files": FILES,
    }


def _sections(blocks: Sequence[page.Block], classes: bool, images: bool) -> list[tuple[str, str]]:
    found = [("verdict", "Verdict"), ("comparison", "Comparison")]
    found += [
        (f"figures-{block.group.key}", block.group.title) for block in blocks if block.figures
    ]
    found += [("classes", "Per class")] if classes else []
    found += [("images", "Images")] if images else []
    return [*found, ("cost", "Cost"), ("provenance", "Provenance")]


def _environment(*, autoescape: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(
        fixed=tables.fixed,
        signed=tables.signed,
        interval=tables.interval,
        setting=tables.setting,
        brief=lambda value: tables.setting(value).split(" in ")[0],
        plain=lambda value: (
            "" if value is None else value if isinstance(value, str) else f"{value:.6g}"
        ),
        coordinate=lambda value: f"{value:.1f}".removesuffix(".0"),
        thousands=lambda value: "–" if value is None else f"{value:,.0f}",
        short=lambda value: "–" if not value else str(value)[:8],
        tag=_tag,
    )
    return environment


def _tag(kind: str) -> Markup:
    words = {"same": "not shown", "open": "undecided"}.get(kind, kind)
    look = kind if kind in ("better", "worse") else "plain"
    return Markup('<span class="tag {}">{}</span>').format(look, words)


def _variables(which: int) -> str:
    return "".join(f"--{name}:{pair[which]};" for name, pair in PALETTE.items())


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
