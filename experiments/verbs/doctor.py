"""`doctor`: what is wrong in a data set, and a repaired copy."""

import argparse
import sys
from pathlib import Path

from experiments.verbs.arguments import add_data_set, data_set_of

TEACH = """\
Look for what is wrong in a data set: boxes that are swapped, empty or outside their image, numbers
that are none, coordinates counted from the wrong pixel, missing files, images that don't decode or
have another size than the labels say, ids and objects given twice, classes nobody asked for, images
that are in two splits. Labels are read as training reads them.

  python -m experiments doctor data/BCCD                    VOC, COCO, Roboflow's or YOLO layout
  python -m experiments doctor data/coco --images train2017 annotations/instances_train2017.json
  python -m experiments doctor data/mine --classes cat dog        other classes are findings
  python -m experiments doctor data/mine --fix data/mine-repaired

Exit status: 0 nothing found, 1 something found, 2 the data can't be read at all. --fix writes a
whole repaired copy to a new folder, reads it again, and says what was kept, changed and left out;
the original is never touched. Where more than 1 % of objects would go it asks for --allow-loss.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `doctor` takes."""
    add_data_set(parser)
    parser.add_argument(
        "--no-decode", action="store_true", help="of images read the headers only (not with --fix)"
    )
    parser.add_argument("--fix", type=Path, metavar="DIR", help="write a repaired copy here")
    parser.add_argument(
        "--allow-loss",
        action="store_true",
        help="write it even where more than 1 %% of objects or images go, or a split's last one",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a finding, on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Look, print, repair; 1 where something was found.

    Raises:
        DataError: the data can't be read at all, or a repair would lose too much.
    """
    from datasets.doctor.examine import examine
    from datasets.doctor.kinds import REMARKS
    from datasets.doctor.repair import repair
    from datasets.doctor.told import print_balance, print_findings, print_looked
    from experiments.run.progress import counted

    with counted("look", "files") as step:
        seen = examine(
            arguments.root,
            arguments.splits,
            decode=arguments.fix is not None or not arguments.no_decode,
            report=step,
            **data_set_of(arguments),
        )
    print_looked(seen, sys.stderr if arguments.json else sys.stdout)
    print_findings(seen.findings, as_json=arguments.json)
    if arguments.fix:
        with counted("repair", "files") as step:
            balance = repair(seen, arguments.fix, allow_loss=arguments.allow_loss, report=step)
        print_balance(balance, sys.stderr)
        print(f"repaired copy: {arguments.fix}", file=sys.stderr)
    return 1 if any(finding.kind not in REMARKS for finding in seen.findings) else 0
