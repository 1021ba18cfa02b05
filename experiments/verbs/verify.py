"""`verify`: a report against its records and detections."""

import argparse
from pathlib import Path

TEACH = """\
Compute everything in a report again and compare: its tables from the records, the records' metrics
from their detections, and every file against its hash. Ends with status 1 and names each
difference, or with status 0.

  python -m experiments verify runs/sweep/report
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `verify` takes."""
    parser.add_argument("report", metavar="REPORT", type=Path, help="the folder `report` wrote")
    parser.add_argument(
        "--quick", action="store_true", help="do not compute the metrics from the detections again"
    )


def run(arguments: argparse.Namespace) -> int:
    """Check a report; 0 where it is sound, 1 where something differs.

    Raises:
        ReportError: the folder holds no report.
    """
    from experiments.report.verify import verify

    folder = arguments.report.parent if arguments.report.is_file() else arguments.report
    found = verify(folder, metrics=not arguments.quick)
    for line in found:
        print(line)
    print(f"verify: {len(found)} differences" if found else "verify: every number is confirmed")
    return 1 if found else 0
