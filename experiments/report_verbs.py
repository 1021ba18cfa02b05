"""The `report` verb: from the command line to experiments/report. No torch."""

import argparse
import webbrowser
from pathlib import Path

from experiments.atomic import write_text
from experiments.errors import UsageError

BEGIN, END = "<!-- report: begin -->", "<!-- report: end -->"

_TEACH = """\
Make a report of every run at or below DIR, from the records alone: no network, no GPU, and
nothing is run again.

  python -m experiments report runs/sweep            writes runs/sweep/report/report.html
  python -m experiments report runs/a runs/b --out study --baseline "yolov2 cross-entropy"
  python -m experiments report runs/sweep --readme   also fills the marked block of README.md

Arms are compared within one detector and one test set. The baseline is the cross-entropy (or
gamma 0) arm of the same detector unless --baseline names another. A mean needs finished runs;
failed and stopped ones are listed. With one seed an arm the report says so and calls nothing
better: give each arm three seeds or more.

Written: report.html (one page, opens from disk), report.md, table.csv, per_class.csv, runs.csv,
table.tex and figures/*.svg.
"""

_TEACH_VERIFY = """\
Compute everything in a report again and compare: its tables from the records, the records' metrics
from their detections, and every file against its hash. Ends with status 1 and names each
difference, or with status 0.

  python -m experiments verify runs/sweep/report
"""


def add_parsers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `report` to the verbs; its `run` default is the function that carries it out and
    gives the exit status.
    """
    parser = subparsers.add_parser(
        "report",
        help="make tables, figures and a page from records",
        description=_TEACH,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "directories",
        metavar="DIR",
        nargs="+",
        type=Path,
        help="a run, or a folder of runs at any depth",
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help="where to write (default: DIR/report of the first DIR)",
    )
    parser.add_argument(
        "--baseline", metavar="ARM", help="the arm to compare with, by its name in the report"
    )
    parser.add_argument(
        "--metric",
        metavar="KEY",
        help="the deciding metric: voc07_map, voc_area_map, coco_ap, coco_ap50 ...",
    )
    parser.add_argument(
        "--question",
        metavar="TEXT",
        help="what was asked, as the page's title (default: read from the runs)",
    )
    parser.add_argument(
        "--images",
        metavar="N",
        type=int,
        default=8,
        help="test images a detector (default 8; 0: none)",
    )
    parser.add_argument(
        "--readme",
        metavar="FILE",
        type=Path,
        nargs="?",
        const=Path("README.md"),
        help="fill FILE's marked block (default README.md)",
    )
    parser.add_argument(
        "--published",
        metavar="STUDY",
        action="append",
        default=[],
        help="published values to stand beside ours: focal-1a, focal-1b, yolov2-gamma (repeatable)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.set_defaults(run=run)
    _add_verify(subparsers)


def _add_verify(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "verify",
        help="check a report against its records and detections",
        description=_TEACH_VERIFY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("report", metavar="REPORT", type=Path, help="the folder `report` wrote")
    parser.add_argument(
        "--quick", action="store_true", help="do not compute the metrics from the detections again"
    )
    parser.set_defaults(run=run_verify)


def run(arguments: argparse.Namespace) -> int:
    """Write the report and say where it is.

    Raises:
        UsageError: the records or options cannot give a report.
    """
    from experiments.report import (
        ReportError,
        write_report,
    )  # heavy (figures, parquet): only when it is used

    out = arguments.out or arguments.directories[0] / "report"
    try:
        page = write_report(
            arguments.directories,
            out,
            baseline=arguments.baseline,
            metric=arguments.metric,
            question=arguments.question,
            images=arguments.images,
            published=arguments.published,
        )
        if arguments.readme is not None:
            fill_readme(arguments.readme, (out / "report.md").read_text(encoding="utf-8"))
    except ReportError as error:
        raise UsageError(str(error)) from None
    print(f"report: {page}")
    if arguments.open:
        webbrowser.open(page.resolve().as_uri())
    return 0


def run_verify(arguments: argparse.Namespace) -> int:
    """Check a report; 0 where it is sound, 1 where something differs.

    Raises:
        UsageError: the folder holds no report.
    """
    from experiments.report import ReportError
    from experiments.verify import verify

    folder = arguments.report.parent if arguments.report.is_file() else arguments.report
    try:
        found = verify(folder, metrics=not arguments.quick)
    except ReportError as error:
        raise UsageError(str(error)) from None
    for line in found:
        print(line)
    print(f"verify: {len(found)} differences" if found else "verify: every number is confirmed")
    return 1 if found else 0


def fill_readme(readme: Path, markdown: str) -> None:
    """Put the report's verdict and comparison between the markers of `readme`.

    Raises:
        UsageError: there is no such file, or its markers are not there once each in order.
    """
    if not readme.is_file():
        raise UsageError(f"{readme}: no such file")
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UsageError(f"{readme}: needs one line '{BEGIN}' and, below it, one line '{END}'")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    write_text(readme, f"{head}{BEGIN}\n{readme_block(markdown)}\n{END}{tail}")


def readme_block(markdown: str) -> str:
    """The part of report.md that a README shows: verdict and tables, without figures and
    provenance.
    """
    body = markdown.split("## Verdict", 1)[1].split("## Provenance", 1)[0]
    kept = [line for line in body.splitlines() if not line.startswith("![")]
    lines = [
        line[1:] if line.startswith("### ") else line for line in kept
    ]  # one level up: they stand alone
    text = "\n".join(line for line in lines if not line.startswith("## "))
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip()
