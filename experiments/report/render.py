"""Records -> a folder with report.html, report.md, table.csv, per_class.csv, runs.csv,
table.tex and figures/*.svg.

Equal records give equal bytes. Every file is written whole or not at all, the page last.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.record.files import require_writable, whole_file, write_text
from experiments.record.origin import file_hash
from experiments.record.record import RECORD_FILE
from experiments.report import identity, page, tables, verdict, weaknesses, written
from experiments.report import published as published_values
from experiments.report.arms import Asked, Group, make_groups
from experiments.report.choice import require_known, settled
from experiments.report.evidence import detail as detail_tables
from experiments.report.evidence import pictures
from experiments.report.evidence.detail import Detail, make_detail
from experiments.report.evidence.diagnoses import STORE, Diagnoses, read_store
from experiments.report.evidence.item import FigureItem
from experiments.report.figures.errors import KINDS as ERROR_KINDS
from experiments.report.literature import published_table
from experiments.report.load import ReportError, Run, load_runs
from experiments.report.paper import write_paper
from experiments.report.questions import asked_by_reader, cards
from experiments.report.templates.fill import render_markdown, render_page

PAGE, MANIFEST = "report.html", "manifest.json"
FILES = (
    ("report.md", "the verdict and tables as Markdown"),
    ("table.csv", "arms × metrics, differences, intervals and p values"),
    ("contrasts.csv", "the comparisons that the study names"),
    ("per_class.csv", "arms × classes"),
    ("errors.csv", "arms × kinds of errors, calibration"),
    ("anatomy.csv", "where the loss and its gradient are, of runs that `anatomy` was run on"),
    ("runs.csv", "every run with whole hashes"),
    ("table.tex", "the comparison for LaTeX (booktabs)"),
    ("figures/", "the figures, a file each"),
    (STORE, "precision against recall, errors and scores of every run that figures name"),
    ("manifest.json", "what `verify` checks the report against"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What a report is asked and how it is told; its manifest keeps them, so that it can be made
    again.
    """

    baseline: str | None = None  # arm to compare with: cross-entropy or gamma 0 of each detector
    metric: str | None = None  # key of the deciding one: voc07_map where every run has it
    question: str | None = None  # the title: read from the runs
    images: int = 8  # test images a detector are shown
    published: Sequence[str | Mapping[str, Any]] = ()  # tables of x-published, or their names
    diagnose: bool = True  # False leaves out what is computed from detections
    nuisance: Sequence[str] = ()  # knobs of which val chooses one value for each arm
    scientific: Sequence[str] = ()  # knobs that tell arms apart
    contrasts: Sequence[Sequence[str]] = ()  # pairs of arms to compare: arm, against
    equivalence: float | None = None  # points of the metric below which nothing matters
    seeds: Sequence[int] = ()  # that the study plans for each arm: with fewer nothing is decided
    questions: bool = True  # False asks only what the study does, as earlier versions did
    formats: Sequence[str] = ("svg",)  # of style.FORMATS; without any no figure is drawn


def write_report(
    directories: Sequence[Path],
    out: Path,
    *,
    lost: list[str] | None = None,
    paper: Path | None = None,
    **options: Any,
) -> Path:
    """Make the report of all records at or below `directories` in `out`; gives the page's path.

    `options` are fields of `Options`. What cannot be read is left out, listed in the report and
    added to `lost`. `paper` is a folder for the same as TeX.

    Raises:
        ReportError: no record that can be read, an unknown arm, metric, knob or study.
    """
    told = Options(**options)
    lost = [] if lost is None else lost
    runs = load_runs(directories, lost)
    contrasts = tuple((arm, against) for arm, against in told.contrasts)
    roles = (tuple(told.nuisance), tuple(told.scientific))
    asked = Asked(*roles, contrasts, told.equivalence, tuple(told.seeds))
    groups, primary = compared(
        runs, asked, baseline=told.baseline, metric=told.metric, questions=told.questions
    )
    for folder in (out, paper):
        if folder is not None:
            require_writable(folder)
    diagnoses = read_store(out) if told.diagnose else None
    context = _context(groups, primary, out, told.question, told.images, diagnoses)
    lost += context["lost"]
    context["warnings"] = [*lost, *weaknesses.warnings(groups, primary)]
    context["published"] = _published(told.published, groups)
    context["sections"] = _sections(context)
    files = _files(groups, primary, context, told.formats)
    if paper is not None:
        write_paper(paper, groups, primary, _figures(context), context["question"])
    _remove_old_figures(out, files)
    for name, data in files.items():
        with whole_file(out / name) as temporary:
            temporary.write_bytes(data)
    write_text(out / MANIFEST, _manifest(directories, out, runs, files, asdict(told)))
    return out / PAGE


def _files(
    groups: Sequence[Group],
    primary: tables.Metric,
    context: dict[str, Any],
    formats: Sequence[str],
) -> dict[str, bytes]:
    """Every file of the report but its manifest, the page last."""
    files = {name: text.encode() for name, text in _tables(groups, primary, context).items()}
    for figure in _figures(context):
        figure.draw(formats)
        files |= figure.files
    context["files"] = _named_files(files)
    return files | {
        "report.md": render_markdown(context).encode(),
        PAGE: render_page(context).encode(),
    }


def _remove_old_figures(out: Path, files: Mapping[str, bytes]) -> None:
    """Figures that an earlier report left in the folder and this one does not have."""
    try:
        earlier = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in earlier:
        parts = Path(name).parts
        if len(parts) == 2 and parts[0] == "figures" and name not in files:
            (out / name).unlink(missing_ok=True)


def _figures(context: Mapping[str, Any]) -> list[FigureItem]:
    found = [card.figure for card in context["cards"] if card.figure is not None]
    found += [item for block in context["blocks"] for item in block.figures]
    for detail in context["details"]:
        found += [*detail.figures, *(part.figure for part in detail.losses)]
    return found


def _named_files(files: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """The files that the page leads to: those that hold more than the line of their columns."""
    there = {name for name, data in files.items() if data.count(b"\n") > 1 or name == STORE}
    there |= {"report.md", MANIFEST}
    there |= {"figures/"} if any(name.startswith("figures/") for name in files) else set()
    return [(name, words) for name, words in FILES if name in there]


def _tables(
    groups: Sequence[Group], primary: tables.Metric, context: Mapping[str, Any]
) -> dict[str, str]:
    details: Sequence[Detail] = context["details"]
    diagnoses: Diagnoses | None = context["diagnoses"]
    rows = [row for group in groups for row in tables.comparison(group, primary)]
    stored = (
        {"errors.csv": detail_tables.errors_csv(details), STORE: diagnoses.text()}
        if (diagnoses is not None)
        else {}
    )
    return stored | {
        "anatomy.csv": detail_tables.anatomy_csv(details),
        "table.csv": written.comparison_csv(rows),
        "contrasts.csv": written.contrasts_csv(groups, primary),
        "per_class.csv": written.per_class_csv(groups),
        "runs.csv": written.runs_csv(groups),
        "table.tex": written.latex_table(groups, primary),
    }


def _manifest(
    directories: Sequence[Path],
    out: Path,
    runs: Sequence[Run],
    files: Mapping[str, bytes],
    options: Mapping[str, Any],
) -> str:
    """What `verify` needs: where the records are (from here) and what each file was."""
    values = {
        "format": 1,
        "directories": [_from(out, directory) for directory in directories],
        "options": options,
        "records": {_from(out, run.folder): file_hash(run.folder / RECORD_FILE) for run in runs},
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def _from(out: Path, path: Path) -> str:
    return Path(os.path.relpath(path.resolve(), out.resolve())).as_posix()


def _published(
    wanted: Sequence[str | Mapping[str, Any]], groups: Sequence[Group]
) -> list[published_values.Table]:
    studies = [published_table(given) for given in wanted]
    return [table for study in studies for table in published_values.beside(study, groups)]


def compared(
    runs: Sequence[Run],
    asked: Asked,
    *,
    baseline: str | None = None,
    metric: str | None = None,
    questions: bool = True,
) -> tuple[list[Group], tables.Metric]:
    """The groups of runs as every report compares them, and the deciding metric; for the other
    arguments see `Options`.

    Raises:
        ReportError: an unknown arm, metric or knob.
    """
    groups = make_groups(runs, baseline=baseline, asked=asked)
    require_known(groups)
    primary = choose_metric(metric, groups)
    groups = [settled(group, primary.key) for group in groups]
    if questions:
        groups = [asked_by_reader(group, primary.key) for group in groups]
    return groups, primary


def choose_metric(key: str | None, groups: Sequence[Group]) -> tables.Metric:
    """The deciding metric: the one named, else the first that every finished run has.

    Raises:
        ReportError: no metric has this key.
    """
    if key is None:
        return tables.primary_metric(groups)
    known = {metric.key: metric for metric in tables.metrics_of(groups)}
    if key not in known:
        raise ReportError(f"metric: unknown '{key}' (known: {', '.join(known)})")
    return known[key]


def _context(
    groups: Sequence[Group],
    primary: tables.Metric,
    out: Path,
    question: str | None,
    images: int,
    diagnoses: Diagnoses | None,
) -> dict[str, Any]:
    ranked = [page.ranking(group, primary) for group in groups]
    names = page.hues(groups, ranked, primary)
    anchors = identity.arm_anchors(groups)
    two_runs = diagnoses.of_two_runs if diagnoses is not None else lambda a, b: None
    made = zip(groups, anchors, names, strict=True)
    blocks = [page.make_block(group, primary, mine, hues, two_runs) for group, mine, hues in made]
    parts = zip(groups, ranked, names, [diagnoses] * len(groups), blocks, strict=True)
    details = [make_detail(*part[:-1], part[-1].arms) for part in parts]
    grids = [pictures.choose(block.group, block.rival, images) for block in blocks if images]
    config, config_of = identity.whole_config(groups)
    runs = identity.run_lines(groups, primary, out)
    notes = [note for detail in details for note in detail.notes]
    return {
        "question": question or verdict.question(groups, primary),
        "facts": identity.facts(groups, tables.standing(groups, primary)),
        "cards": cards(groups, primary, names, two_runs),
        "single": len(runs) == 1,
        "primary": primary,
        "others": [metric for metric in tables.metrics_of(groups) if metric is not primary],
        "blocks": blocks,
        "details": details,
        "diagnoses": diagnoses,
        "lost": notes + (diagnoses.lost if diagnoses else []),
        "has_classes": any(block.classes for block in blocks),
        "grids": [grid._asdict() | {"pictures": page.picture_names(grid)} for grid in grids],
        "costs": identity.costs(groups),
        "hardware": identity.hardware(groups),
        "runs": runs,
        "config": config,
        "config_of": config_of,
        "versions": identity.versions(groups),
        "error_kinds": ERROR_KINDS,
        "errors_markdown": detail_tables.errors_markdown,
    }


def _sections(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Anchor and name of the page's parts that are there, in its order."""
    single = context["single"]
    found = [("verdict", "Result" if single else "Answers")]
    found += [("comparison", "Metrics" if single else "Comparison")]
    found += [("warnings", "Limits")] if context["warnings"] else []
    blocks = [block for block in context["blocks"] if block.figures]
    found += [(f"figures-{block.group.key}", block.group.title) for block in blocks]
    found += [("published", "Published")] if context["published"] else []
    found += [("images", "Images")] if context["grids"] else []
    found += [("classes", "Per class")] if context["has_classes"] else []
    found += [("errors", "Errors")] if any(one.errors for one in context["details"]) else []
    found += [("anatomy", "Loss")] if any(one.losses for one in context["details"]) else []
    return [*found, ("cost", "Cost"), ("provenance", "Provenance")]
