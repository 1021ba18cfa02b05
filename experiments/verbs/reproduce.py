"""`reproduce`: what studies cost, their runs, their reports."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.errors import UsageError
from experiments.verbs.arguments import add_known, known_of, positive

if TYPE_CHECKING:
    from experiments.sweep.actions import Running
    from experiments.sweep.checking import Checker, Judging
    from experiments.sweep.space import Sweep

TEACH = """\
Run a study (a sweep file, most of them in configs/studies) and report it. First it prints what
that will cost: trials, iterations, and the time, from runs of this machine on record or from a few
batches timed now. The same command goes on where a stopped one was. Several studies run one after
the other.

  python -m experiments reproduce sweep.yaml --dry-run            only the cost
  python -m experiments reproduce sweep.yaml --scale tiny --yes   two seeds, 5 iterations
  python -m experiments reproduce sweep.yaml --jobs 2

A study may say x-published, x-question and x-baseline for its report.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `reproduce` takes."""
    parser.add_argument("studies", metavar="STUDY", type=Path, nargs="+", help="a sweep file")
    parser.add_argument(
        "--scale",
        choices=("tiny", "full"),
        default="full",
        help="tiny rehearses it: every arm, on a few glyphs, which are drawn, in place of its data",
    )
    parser.add_argument("--jobs", type=positive, default=1, metavar="N", help="trials at a time")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where trials go (default: runs/NAME of the study); of several studies, DIR/FILE each",
    )
    add_known(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the cost and end")
    parser.add_argument("--yes", action="store_true", help="do not ask before running")


@dataclass(frozen=True, slots=True)
class Study:
    """A study that was looked at: its sweep, where its runs go, and how it was judged."""

    sweep: "Sweep"
    out: Path
    checker: "Checker"


def run(arguments: argparse.Namespace) -> int:
    """Print the cost, ask, run sweeps and report them; the worst exit status of the sweeps.

    Raises:
        ConfigError: a study or one of its trials cannot be run.
        UsageError: nobody can be asked and `--yes` was not given.
    """
    from experiments.sweep.actions import Place, Running
    from experiments.sweep.checking import Judging

    asks = not arguments.dry_run and not arguments.yes
    if asks and not sys.stdin.isatty():  # before the cost is timed
        raise UsageError("reproduce: give --yes to run it (nobody can be asked here)")
    places = _places(arguments)
    with Judging() as judging:
        studies = [_looked_at(path, places[path], arguments, judging) for path in places]
    if arguments.dry_run:
        return 0
    if asks and not _agreed():
        print("nothing was run")
        return 0
    place = Place(arguments.jobs)
    with place.executing(*(study.sweep for study in studies)) as executor:
        status = 0
        for study in studies:
            how = Running(lent=executor, checked=study.checker)
            status = max(status, run_study(study.sweep, study.out, how))
            if status > 1:  # interrupted
                break
    return status


def _places(arguments: argparse.Namespace) -> dict[Path, Path]:
    """By each study's file, where its runs go; raises UsageError where two would share it."""
    from experiments.sweep.study import out_folder

    found: dict[Path, Path] = {}
    for path in arguments.studies:
        named = arguments.out
        if named is not None and len(arguments.studies) > 1:
            named = named / path.stem
        out = out_folder(path, arguments.scale, named)
        if out in found.values():
            raise UsageError(f"{path}: its runs would go to {out}, as another's do; give it alone")
        found[path] = out
    return found


def _looked_at(path: Path, out: Path, arguments: argparse.Namespace, judging: "Judging") -> Study:
    """Judge the study's trials and print what they cost."""
    from experiments.sweep.checking import Checker
    from experiments.sweep.cost import told
    from experiments.sweep.plan import cost_of_sweep
    from experiments.sweep.space import grid_points
    from experiments.sweep.study import study_file
    from experiments.sweep.sweep_file import read_sweep

    sweep = read_sweep(study_file(path, arguments.scale, out, _glyphs(arguments.scale, out)))
    print(f"study {sweep.name} ({path}), runs in {out}")
    checker = Checker(sweep, judging=judging)
    checker.check()
    points = list(grid_points(sweep)) if sweep.method == "grid" else []
    cost = cost_of_sweep(sweep, points, checker.trials, known_of(arguments, probe=True))
    trials = sum(kind.trials for kind in cost.kinds)
    for line in (f"{trials} trials", *told(cost, arguments.jobs)):
        print(line, flush=True)
    return Study(sweep, out, checker)


def _glyphs(scale: str, out: Path) -> dict[str, Any] | None:
    """The settings of a few glyphs, drawn below `out`, for a tiny study: nobody's photos needed."""
    if scale == "full":
        return None
    from datasets.glyphs.write import GLYPH_CLASSES, write_glyphs

    root = write_glyphs(out / "glyphs", train=20, val=4, test=6)
    splits = {"train": "train", "val": "val", "test": "test"}
    known = {"name": "voc", "root": str(root), "classes": list(GLYPH_CLASSES), **splits}
    return {f"data.{key}": value for key, value in known.items()}


def run_study(sweep: "Sweep", out: Path, how: "Running") -> int:
    """Run a study to its end, then report it in its words; the sweep's status."""
    from experiments.report import write_report
    from experiments.sweep.actions import run as run_sweep
    from experiments.sweep.study import report_options

    options = report_options(sweep.path)
    status = run_sweep(sweep, out, how)
    if status in (0, 1):
        print(f"report: {write_report([out], out / 'report', **options)}")
    return status


def _agreed() -> bool:
    return input("Run it? [y/N] ").strip().lower() in ("y", "yes")
