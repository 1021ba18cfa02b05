"""Fills the templates of this folder: escaping, number forms, colours, and the page as one file."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from experiments.config.words import path_words
from experiments.evaluation.verdict import fixed, interval, mean_sd, signed
from experiments.report import tables, written
from experiments.report.figures import style

TEMPLATES = Path(__file__).parent


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
    return environment.get_template("report.md.j2").render(
        **context, escape=written.escape_markdown
    )


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
        fixed=fixed,
        signed=signed,
        interval=interval,
        mean_sd=mean_sd,
        setting=tables.setting,
        brief=lambda value: path_words(tables.setting(value)),
        plain=lambda value: (
            "" if value is None else value if isinstance(value, str) else f"{value:.6g}"
        ),
        coordinate=lambda value: f"{value:.1f}".removesuffix(".0"),
        thousands=lambda value: "–" if value is None else f"{value:,.0f}",
        few=lambda value: "–" if value != value else f"{value:.3g}",
        short=lambda value: "–" if not value else str(value)[:8],
        tag=_tag,
        prose=prose,
    )
    return environment


def prose(words: str) -> Markup:
    """Escaped words in which what stands between backticks is code."""
    parts = words.split("`")
    if len(parts) % 2 == 0:
        return escape(words)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def _tag(kind: str) -> Markup:
    words = {"same": "not shown", "open": "undecided", "mixed": "mixed"}.get(kind, kind)
    look = kind if kind in ("better", "worse") else "plain"
    return Markup('<span class="tag {}">{}</span>').format(look, words)


def _variables(which: int) -> str:
    return "".join(f"--{name}:{pair[which]};" for name, pair in style.PALETTE.items())


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
