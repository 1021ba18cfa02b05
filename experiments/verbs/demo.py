"""`demo`: from nothing to an ablation report."""

import argparse
from pathlib import Path

from experiments.errors import UsageError
from experiments.verbs.arguments import positive

TEACH = """\
What `make demo` does: draw the embedded data set, run sweep.yaml on it, and report the runs. Ends
with the page's path. The same command goes on where a stopped one was.

  python -m experiments demo
"""
CHECKOUT = Path(__file__).parents[2]
STUDY, DATA = Path("sweep.yaml"), Path("data/glyphs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `demo` takes."""
    parser.add_argument("--jobs", type=positive, default=2, metavar="N", help="trials at a time")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="where trials go"
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw, sweep, report; the exit status of the sweep. What trials and their check import is
    imported while the data set is drawn. Raises UsageError where this is not the checkout.
    """
    from datasets.glyphs.write import write_glyphs
    from experiments.run.progress import counted
    from experiments.sweep.actions import Place, Running
    from experiments.sweep.checking import Checker, Judging
    from experiments.sweep.sweep_file import read_sweep
    from experiments.verbs.reproduce import run_study

    if not STUDY.is_file():
        raise UsageError(f"{STUDY}: not in this folder; start 'demo' in {CHECKOUT}")
    sweep, place = read_sweep(STUDY), Place(arguments.jobs)
    with place.executing(sweep) as executor:
        with Judging() as judging:
            with counted("draw glyphs", "images") as step:
                write_glyphs(DATA, progress=lambda done, total: step("draw glyphs", done, total))
            checker = Checker(sweep, judging=judging)
            checker.check()
        return run_study(sweep, arguments.out, Running(lent=executor, checked=checker))
