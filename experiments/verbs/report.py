"""`report`: tables, figures and a page from records. No torch."""

import argparse
import sys
import webbrowser
from pathlib import Path
from typing import Any

from experiments.errors import UsageError
from experiments.verbs.arguments import above_zero, natural

FORMATS = ("svg", "pdf", "png")  # report.figures.style's, which needs matplotlib
TEACH = """\
Make a report of every run at or below DIR, from the records alone: no network, no GPU, and
nothing is run again.

  python -m experiments report runs/sweep            writes runs/sweep/report/report.html
  python -m experiments report runs/a runs/b --out study --baseline "yolov2 cross-entropy"
  python -m experiments report results --readme      also fills README.md's block and picture
  python -m experiments report runs/demo --gallery docs/gallery    one to commit: records inside
  python -m experiments report runs/demo --paper paper      also main.tex, with tables and figures

Arms are compared within one detector and one test set. The baseline is the cross-entropy (or
gamma 0) arm of the same detector unless --baseline names another. A mean needs finished runs;
failed and stopped ones are listed. With one seed an arm the report says so and calls nothing
better: give each arm three seeds or more.

Written: report.html (one page, opens from disk), report.md, table.csv, per_class.csv, errors.csv,
anatomy.csv, runs.csv, table.tex and figures/ as SVG, PDF and PNG.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `report` takes."""
    parser.add_argument(
        "directories",
        metavar="DIR",
        nargs="+",
        type=Path,
        help="a run, or a folder of runs at any depth",
    )
    asked = parser.add_argument_group("what is asked")
    _add_question(asked)
    _add_comparisons(asked)
    places = parser.add_argument_group("where it goes")
    _add_places(places)
    _add_gallery(places)


def _add_question(group: argparse._ArgumentGroup) -> None:
    """What the runs are asked, and by what."""
    group.add_argument(
        "--question",
        metavar="TEXT",
        help="what was asked, as the page's title (default: read from the runs)",
    )
    group.add_argument(
        "--baseline", metavar="ARM", help="the arm to compare with, by its name in the report"
    )
    group.add_argument(
        "--metric",
        metavar="KEY",
        help="the deciding metric: voc07_map, voc_area_map, coco_ap, coco_ap50 ... "
        "(default: voc07_map where every run has it)",
    )
    group.add_argument(
        "--published",
        metavar="STUDY",
        action="append",
        default=[],
        help="published values to stand beside ours, by the name of an x-published table in "
        "configs/studies (docs/reports.md lists them), repeatable",
    )
    group.add_argument(
        "--study",
        metavar="FILE",
        type=Path,
        help="a sweep file whose x-question, x-baseline, x-published, x-contrasts, x-equivalence "
        "and roles of parameters stand for options that are not given (default: DIR's sweep.yaml)",
    )


def _add_comparisons(group: argparse._ArgumentGroup) -> None:
    """Which arms are compared, after which choices, and what difference matters."""
    group.add_argument(
        "--nuisance",
        metavar="KEY",
        action="append",
        default=[],
        help="a setting that was tried in several values for each arm (optimizer.lr), repeatable: "
        "val chooses one for each",
    )
    group.add_argument(
        "--contrast",
        metavar=("ARM", "AGAINST"),
        nargs=2,
        action="append",
        default=[],
        help="two arms to compare besides each with the baseline, repeatable",
    )
    group.add_argument(
        "--equivalence",
        metavar="POINTS",
        type=above_zero,
        help="ask also whether differences are smaller than so many points",
    )


def _add_places(group: argparse._ArgumentGroup) -> None:
    """Where the report goes, and in which forms."""
    group.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help="where to write (default: DIR/report of the first DIR)",
    )
    group.add_argument(
        "--images",
        metavar="N",
        type=natural,
        default=8,
        help="test images a detector; 0: none (default: 8)",
    )
    group.add_argument(
        "--formats",
        metavar="LIST",
        type=_formats,
        help="the figures' files, of svg, pdf and png (default: svg,pdf,png; of --gallery: svg)",
    )
    group.add_argument(
        "--readme",
        metavar="FILE",
        type=Path,
        nargs="?",
        const=Path("README.md"),
        help="fill FILE's marked block (README.md if none is named)",
    )
    group.add_argument(
        "--paper",
        metavar="FOLDER",
        type=Path,
        help="also write FOLDER/main.tex: booktabs tables with intervals and marks of significance,"
        " figures as PDF at column width, hyperparameters by role, a reproducibility checklist, a"
        " model card, BibTeX",
    )
    group.add_argument("--open", action="store_true", help="open the page in a browser")


def _add_gallery(group: argparse._ArgumentGroup) -> None:
    """A report to be committed with its records."""
    group.add_argument(
        "--gallery",
        metavar="FOLDER",
        type=Path,
        help="write to FOLDER with the records inside, to be committed: small, but every metric"
        " comes from them again (docs/reports.md)",
    )
    group.add_argument(
        "--records",
        metavar="FOLDER",
        type=Path,
        help="with --gallery: where the records are kept (default: inside it)",
    )
    group.add_argument(
        "--in-place",
        action="store_true",
        help="with --gallery: leave the records where they are, committed themselves",
    )


def _formats(words: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(("svg", *words.split(","))))  # the page itself holds SVG
    unknown = [name for name in found if name not in FORMATS]
    if unknown:
        known = ", ".join(FORMATS)
        raise argparse.ArgumentTypeError(f"found {unknown[0]!r}; known: {known}")
    return found


def run(arguments: argparse.Namespace) -> int:
    """Write the report and say where it is.

    Raises:
        UsageError: the options do not go together.
        ReportError: the records cannot give a report.
    """
    if arguments.gallery is not None and arguments.out is not None:
        raise UsageError("report: --gallery FOLDER is where it is written; leave out --out")
    if arguments.in_place and arguments.gallery is None:
        raise UsageError("report: --in-place goes with --gallery")
    if arguments.records is not None and (arguments.gallery is None or arguments.in_place):
        raise UsageError("report: --records goes with --gallery, and without --in-place")
    from experiments.report import write_report
    from experiments.report.gallery import make_gallery
    from experiments.report.readme import any_record, read, write_block

    if arguments.readme is not None:
        read(arguments.readme)  # or it would be refused after the work
    out = arguments.gallery or arguments.out or arguments.directories[0] / "report"
    if arguments.readme is not None and not any_record(arguments.directories):
        write_block(arguments.directories, arguments.readme, {})
        print(f"{arguments.readme}: no record to tell of yet")
        return 0
    lost: list[str] = []
    options = {**_options(arguments), "lost": lost}
    if arguments.gallery is not None:
        told: list[str] = []
        places = {"in_place": arguments.in_place, "records": arguments.records}
        page = make_gallery(arguments.directories, out, told=told, **places, **options)
        for line in told:
            print(line)
    else:
        page = write_report(arguments.directories, out, **options)
    if arguments.readme is not None:
        write_block(arguments.directories, arguments.readme, options, _studies(arguments))
    for line in lost:
        print(f"note: {line}", file=sys.stderr)
    print(f"report: {page}")
    if arguments.paper is not None:
        print(f"paper: {arguments.paper / 'main.tex'}")
    if arguments.open:
        webbrowser.open(page.resolve().as_uri())
    return 0


def _studies(arguments: argparse.Namespace) -> dict[Path, dict[str, Any]]:
    """The studies below the folders that were given, each with the options of its own report."""
    from experiments.record.files import SWEEP_FILE
    from experiments.record.record import find_records
    from experiments.sweep.study import report_options, study_of

    if arguments.study is not None or study_of(arguments.directories) is not None:
        return {}  # all of it is one study
    files = [path for each in arguments.directories for path in sorted(each.rglob(SWEEP_FILE))]
    return {path.parent: report_options(path) for path in files if find_records(path.parent)}


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the report is told: by the command line, else by its study."""
    from experiments.sweep.study import report_options, study_of

    study = arguments.study or study_of(arguments.directories)
    told = report_options(study) if study is not None else {}
    return {
        "nuisance": arguments.nuisance or told.get("nuisance", []),
        "scientific": told.get("scientific", []),
        "contrasts": arguments.contrast or told.get("contrasts", []),
        "equivalence": arguments.equivalence or told.get("equivalence"),
        "baseline": arguments.baseline or told.get("baseline"),
        "metric": arguments.metric,
        "question": arguments.question or told.get("question"),
        "images": arguments.images,
        "paper": arguments.paper,
        "formats": arguments.formats or (("svg",) if arguments.gallery else FORMATS),
        "published": arguments.published or told.get("published", []),
        "seeds": told.get("seeds", []),
    }
