"""`reproduce`: what a study costs, its runs, its report."""

import argparse
import sys
from pathlib import Path
from typing import Any

from experiments.errors import UsageError
from experiments.verbs.arguments import add_known, known_of, positive

TEACH = """\
Run a study (a sweep file, most of them in configs/studies) and report it. First it prints what
that will cost: trials, iterations, and the time, from runs of this machine on record or from a few
batches timed now. The same command goes on where a stopped one was.

  python -m experiments reproduce sweep.yaml --dry-run            only the cost
  python -m experiments reproduce sweep.yaml --scale tiny --yes   two seeds, 10 iterations
  python -m experiments reproduce sweep.yaml --jobs 2

A study may say x-published, x-question and x-baseline for its report.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `reproduce` takes."""
    parser.add_argument("study", metavar="STUDY", type=Path, help="a sweep file")
    parser.add_argument(
        "--scale",
        choices=("tiny", "full"),
        default="full",
        help="tiny rehearses it: every arm, on a few glyphs, which are drawn, in place of its data",
    )
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="trials at a time")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where trials go (default: runs/NAME of the study)"
    )
    add_known(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the cost and end")
    parser.add_argument("--yes", action="store_true", help="do not ask before running")


def run(arguments: argparse.Namespace) -> int:
    """Print the cost, ask, run sweep and report; the exit status of the sweep.

    Raises:
        ConfigError: the study or one of its trials cannot be run.
        UsageError: nobody can be asked and `--yes` was not given.
    """
    from experiments.sweep.checking import Checker
    from experiments.sweep.cost import told
    from experiments.sweep.plan import cost_of_sweep
    from experiments.sweep.space import grid_points
    from experiments.sweep.study import out_folder, study_file
    from experiments.sweep.sweep_file import read_sweep

    out = out_folder(arguments.study, arguments.scale, arguments.out)
    path = study_file(arguments.study, arguments.scale, out, _glyphs(arguments.scale, out))
    sweep = read_sweep(path)
    print(f"study {sweep.name} ({arguments.study}), runs in {out}")
    with Checker(sweep) as checker:
        checker.check()
    points = list(grid_points(sweep)) if sweep.method == "grid" else []
    cost = cost_of_sweep(sweep, points, checker.trials, known_of(arguments, probe=True))
    trials = sum(kind.trials for kind in cost.kinds)
    for line in (f"{trials} trials", *told(cost, arguments.jobs)):
        print(line, flush=True)
    if arguments.dry_run:
        return 0
    if not arguments.yes and not _agreed():
        print("nothing was run")
        return 0
    return run_study(path, out, arguments.jobs)


def _glyphs(scale: str, out: Path) -> dict[str, Any] | None:
    """The settings of a few glyphs, drawn below `out`, for a tiny study: nobody's photos needed."""
    if scale == "full":
        return None
    from datasets.glyphs.write import GLYPH_CLASSES, write_glyphs

    root = write_glyphs(out / "glyphs", train=20, val=4, test=6)
    splits = {"train": "train", "val": "val", "test": "test"}
    known = {"name": "voc", "root": str(root), "classes": list(GLYPH_CLASSES), **splits}
    return {f"data.{key}": value for key, value in known.items()}


def run_study(study: Path, out: Path, jobs: int) -> int:
    """Run a study to its end, then report it in its words; the sweep's status."""
    from experiments.report import write_report
    from experiments.sweep.actions import Place, Running
    from experiments.sweep.actions import run as run_sweep
    from experiments.sweep.study import report_options
    from experiments.sweep.sweep_file import read_sweep

    options = report_options(study)
    status = run_sweep(read_sweep(study), out, Running(place=Place(jobs)))
    if status in (0, 1):
        print(f"report: {write_report([out], out / 'report', **options)}")
    return status


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise UsageError("reproduce: give --yes to run it (nobody can be asked here)")
    return input("Run it? [y/N] ").strip().lower() in ("y", "yes")
