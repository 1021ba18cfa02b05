"""`errors`: what kind of errors a detector makes."""

import argparse
from pathlib import Path

from experiments.errors import UsageError
from experiments.verbs.arguments import add_detections

TEACH = """\
What kind of errors a detector makes, what mending each would gain, how far its scores can be
believed, which classes it confuses, and what a cut on the score costs. From a dump alone:

  python -m experiments errors runs/mine
  python -m experiments errors --detections results.json --truth instances.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `errors` takes."""
    parser.add_argument("dump", nargs="?", type=Path, metavar="RUN", help="a run's folder")
    add_detections(parser, "of a VOC folder")
    parser.add_argument("--score", type=float, default=0.3, help="least for a confusion")
    parser.add_argument("--curves", type=Path, metavar="CSV", help="write precision and recall")


def run(arguments: argparse.Namespace) -> int:
    """Print errors, confusions and cuts of one dump.

    Raises:
        UsageError: not one dump is named.
        EvaluationError, DataError: the files cannot be measured.
    """
    source = arguments.dump or arguments.detections
    if source is None or (arguments.dump and arguments.detections):
        raise UsageError("errors: name a run's folder or --detections")
    from experiments.evaluation.mistakes import curves_csv
    from experiments.evaluation.tables import check
    from experiments.evaluation.text import confusions_text, cuts_text, errors_text
    from experiments.record.files import write_text
    from experiments.run.truth import load

    tables = load(source, arguments.truth, arguments.split)
    dump = check(tables.detections, tables.truth, tables.images, tables.classes)
    print(errors_text(dump))
    print("\n" + confusions_text(dump, least_score=arguments.score))
    print("\n" + cuts_text(dump))
    if arguments.curves is not None:
        write_text(arguments.curves, curves_csv(dump))
        print(f"\ncurves written to {arguments.curves}")
    return 0
