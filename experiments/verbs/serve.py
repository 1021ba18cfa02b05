"""`serve`: watch running trials in a browser."""

import argparse
from pathlib import Path

from experiments.verbs.arguments import natural

TEACH = """\
Show the runs at or below DIR in a browser while they run: status, progress, loss, and a report of
those that have finished, made again whenever a run ends. It answers this machine only (127.0.0.1)
and changes no run; the report lies in DIR/live. Ctrl-C ends it.

  python -m experiments serve runs/demo
  ssh -L 8421:localhost:8421 HOST        to see one that runs on HOST at http://localhost:8421/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `serve` takes."""
    parser.add_argument("directory", metavar="DIR", type=Path, help="runs at any depth")
    parser.add_argument("--port", type=natural, default=8421, help="0 takes a free one")
    parser.add_argument("--baseline", metavar="ARM", help="of the report")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C; raises UsageError for a folder or port that cannot be had."""
    from experiments.report.live.server import serve
    from experiments.sweep.study import report_options, study_of

    study = study_of([arguments.directory])
    told = report_options(study) if study is not None else {}
    options = told | {"baseline": arguments.baseline or told.get("baseline"), "images": 4}
    return serve(arguments.directory, arguments.port, options, show=arguments.open)
