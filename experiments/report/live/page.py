"""The live page: a shell that is sent once, and the table inside it that is sent as it changes."""

import base64
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from experiments.config.words import short
from experiments.evaluation.verdict import fixed
from experiments.report.live.state import Watch, WatchedRun
from experiments.report.templates.fill import palette_css

TEMPLATES = Path(__file__).parent / "templates"
WIDTH, HEIGHT = 120, 24  # of a loss curve, in its own units


def render_shell(watch: Watch, report: str) -> str:
    """The whole page as it is now; `report` says how the report of the finished runs is."""
    script = (TEMPLATES / "live.js").read_text(encoding="utf-8")
    style = palette_css() + (TEMPLATES / "live.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("live.html.j2")
        .render(
            title=watch.directory.resolve().name,
            table=Markup(render_table(watch, report)),
            script=Markup(script),
            script_hash="sha256-" + _digest(script),
            style=Markup(style),
        )
    )


def render_table(watch: Watch, report: str) -> str:
    """What changes: counts, the report's state and a row a run; names are escaped."""
    runs = watch.ordered()
    return (
        _environment()
        .get_template("table.html.j2")
        .render(
            runs=runs,
            counts=counts(runs),
            report=report,
            version=watch.version,
            best=watch.best() if len(runs) > 1 else None,
            varying=watch.varying(),
        )
    )


def render_folder(run: WatchedRun, names: Sequence[str]) -> str:
    """The files of one run's folder that can be looked at."""
    style = palette_css() + (TEMPLATES / "live.css").read_text(encoding="utf-8")
    template = _environment().get_template("folder.html.j2")
    return template.render(run=run, names=names, style=Markup(style))


def counts(runs: Sequence[WatchedRun]) -> str:
    """`3 running, 12 finished, 1 failed`."""
    found = Counter(run.status for run in runs)
    order = ("running", "finished", "failed", "interrupted")
    known = [f"{found[status]} {status}" for status in order if found[status]]
    return ", ".join(known) or "no run has begun yet"


def curve(run: WatchedRun) -> str:
    """The loss so far as points of an SVG line; "" where there are fewer than two."""
    losses = run.curves.losses
    if len(losses) < 2:
        return ""
    low, high = min(losses), max(losses)
    step, scale = WIDTH * run.share / (len(losses) - 1), HEIGHT / ((high - low) or 1.0)
    return " ".join(
        f"{place * step:.1f},{HEIGHT - (loss - low) * scale:.1f}"
        for place, loss in enumerate(losses)
    )


def duration(seconds: float | None) -> str:
    """`1 h 05 min`, `12 min`, `40 s`; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        fixed=fixed,
        curve=curve,
        duration=duration,
        quote=lambda address: quote(os.fsencode(address)),
        short=short,
    )
    return environment
