"""`compare`: whether the difference between arms is real."""

import argparse
from pathlib import Path

from experiments.errors import UsageError
from experiments.verbs.arguments import above_zero, positive

TEACH = """\
Is one arm better than another, or was it luck? The first arm is the baseline; every other is
compared with it. An arm is a run, a folder with its seeds, or a name below --runs:

  python -m experiments compare runs/plain runs/focal
  python -m experiments compare "yolov2 cross-entropy" "yolov2 focal gamma 2" --runs runs/sweep

With several seeds an arm: means, SD, the t interval of the difference (it decides; of pairs where
seeds are shown to share something, else Welch's), bootstrap and permutation beside it, Holm's
correction for several arms, and how many seeds would be needed. With one run an arm: a paired
bootstrap over the test images, which speaks of these two sets of weights only. One seed never
makes a winner.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `compare` takes."""
    parser.add_argument("arms", nargs="+", metavar="ARM", help="the baseline, then others")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="where arms are looked up by name")
    parser.add_argument("--metric", default="voc07_map", help="of the record")
    parser.add_argument(
        "--equivalence",
        metavar="POINTS",
        type=above_zero,
        help="ask also whether differences are smaller than so many points",
    )
    parser.add_argument("--resamples", type=positive, default=1000, help="of the images")


def run(arguments: argparse.Namespace) -> int:
    """Compare and print.

    Raises:
        UsageError: fewer than two arms are named.
        EvaluationError, RecordError: an arm's runs cannot be compared.
    """
    if len(arguments.arms) < 2:
        raise UsageError("compare: name two arms or more, the baseline first")
    from experiments.report.compare import compare, comparison_text, load_arms

    arms = load_arms(arguments.arms, arguments.runs)
    found = compare(
        arms, arguments.metric, within=arguments.equivalence, resamples=arguments.resamples
    )
    print(comparison_text(found))
    return 0
