"""`python -m experiments VERB`: the one entry, from data to report."""

import argparse
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
ROOMS = ("losses", "datasets", "detectors")


def refuse_foreign_rooms() -> None:
    """Stop if another installed package answers to the name of one of our rooms.

    Hugging Face's `datasets` does when this program is started as a script instead of with -m.
    """
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        found = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if found is None or CHECKOUT not in found.parents:
            sys.exit(
                f"'{room}' would be imported from {found}, not from {CHECKOUT}: start from the "
                "checkout with 'python -m experiments ...'"
            )


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The parser of all verbs, or of `train` and its neighbours alone where that is the verb: a
    sweep starts it again and again. Imports nothing heavy, so that --help is quick.
    """
    if verb == "train":
        from experiments.verbs import train as run_verbs

        return _parser((run_verbs,))
    from experiments.verbs import anatomy as anatomy_verbs
    from experiments.verbs import bench as bench_verbs
    from experiments.verbs import data as data_verbs
    from experiments.verbs import eval as eval_verbs
    from experiments.verbs import report as report_verbs
    from experiments.verbs import reproduce as study_verbs
    from experiments.verbs import sweep as sweep_verbs
    from experiments.verbs import train as run_verbs

    return _parser(
        (
            *(run_verbs, sweep_verbs, study_verbs, report_verbs),
            *(eval_verbs, anatomy_verbs, data_verbs, bench_verbs),
        )
    )


def _parser(modules: Iterable[Any]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description="Cross-entropy, focal loss and soft-gamma in YOLOv2 and RetinaNet: "
        "train, sweep, measure, report.",
        epilog="First steps: 'make demo', or 'python -m experiments data glyphs', then "
        "'python -m experiments sweep sweep.yaml' and 'python -m experiments report runs/sweep'. "
        "Every verb explains itself: 'python -m experiments train --help'.",
    )
    verbs = parser.add_subparsers(title="verbs", dest="verb", metavar="VERB", required=True)
    for module in modules:
        module.add_parsers(verbs)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; the user's mistakes end with a message and status 2, without a traceback."""
    refuse_foreign_rooms()
    from experiments import compiler_on_demand
    from experiments.errors import ConfigError, UsageError

    compiler_on_demand.install()

    words = sys.argv[1:] if arguments is None else arguments
    parser = build_parser(words[0] if words else None)
    parsed, rest = parser.parse_known_args(words)
    if rest:
        if not hasattr(parsed, "overrides"):
            parser.error(f"unrecognised arguments: {' '.join(rest)}")
        parsed.overrides = [*parsed.overrides, *rest]
    try:
        status: int = parsed.run(parsed)
    except (ConfigError, UsageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
