"""`doctor`: what is wrong in a data set, and a repaired copy."""

import argparse
import sys
from pathlib import Path

from experiments.verbs.arguments import add_data_set, data_set_of

TEACH = """\
Look for what is wrong in a data set: boxes that are swapped, empty or outside their image, numbers
that are none, coordinates counted from the wrong pixel, missing files, images that don't decode or
have another size than the labels say, ids and objects given twice, classes nobody asked for, images
that are in two splits.

  python -m experiments doctor data/BCCD                          a folder in VOC layout
  python -m experiments doctor data/COCO --images train2017 annotations/instances_train2017.json
  python -m experiments doctor data/mine --classes cat dog        other classes are findings
  python -m experiments doctor data/mine --fix data/mine-repaired

Exit status: 0 nothing found, 1 something found, 2 the data can't be read at all. --fix writes a
whole repaired copy to a new folder; the original is never touched.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `doctor` takes."""
    add_data_set(parser)
    parser.add_argument("--no-decode", action="store_true", help="labels only: don't open images")
    parser.add_argument("--fix", type=Path, metavar="DIR", help="write a repaired copy here")
    parser.add_argument("--json", action="store_true", help="one JSON object a finding, on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Look, print, repair; 1 where something was found.

    Raises:
        DataError: the data can't be read at all.
    """
    from datasets.doctor.examine import REMARKS, examine
    from datasets.doctor.repair import repair
    from datasets.doctor.told import print_findings
    from experiments.run.progress import counted

    reading = data_set_of(arguments)
    with counted("look", "files") as step:
        findings = examine(
            arguments.root,
            arguments.splits,
            decode=not arguments.no_decode,
            report=step,
            **reading,
        )
    print_findings(findings, as_json=arguments.json)
    if arguments.fix:
        with counted("repair", "files") as step:
            repair(arguments.root, arguments.fix, arguments.splits, report=step, **reading)
        print(f"repaired copy: {arguments.fix}", file=sys.stderr)
    return 1 if any(finding.kind not in REMARKS for finding in findings) else 0
