# PYTHON_ARGCOMPLETE_OK
"""`python -m experiments VERB`: the one entry, from data to report."""

import argparse
import importlib.util
import os
import re
import select
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
ROOMS = ("losses", "datasets", "detectors")
# In the order of work; each is a file of that name in verbs/, loaded when it is asked for.
VERBS = {
    "demo": "draw a data set, sweep both detectors over it, write the report",
    "data": "get a data set (glyphs, voc, coco, bccd), count what one holds, fit anchors to it",
    "doctor": "find what is wrong in a data set, and write a repaired copy",
    "show": "print the whole resolved run, its parameters and FLOPs",
    "train": "train one run, measure it on its test split, write its record",
    "bench": "time a training step by its parts",
    "sweep": "run a sweep file (W&B's schema) offline, look at it, retry or stop it",
    "serve": "watch a running sweep in a browser on this machine",
    "reproduce": "say what a study costs, run it, report it",
    "report": "make tables, figures and a page from records",
    "verify": "check a report against its records and detections",
    "compare": "tell whether the difference between arms is real",
    "eval": "measure a checkpoint, or detections that are already there",
    "errors": "show what kind of errors a detector makes",
    "anatomy": "show where a checkpoint's loss is, for any gamma (the paper's Figure 4)",
    "detect": "find objects in images with a trained checkpoint or an exported model",
    "export": "write a trained detector as an ONNX file, boxes decoded inside",
}
ELSEWHERE = {  # what other programs call them
    "predict": "detect",
    "infer": "detect",
    "test": "eval",
    "validate": "eval",
    "tune": "sweep",
    "benchmark": "bench",
}
DEBUG = "SOFTGAMMA_DEBUG"
USER_ERROR, INTERRUPTED, BROKEN_PIPE = 2, 130, 141  # the shell's 128 + SIGINT, 128 + SIGPIPE


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


def build_parser(*verbs: str) -> argparse.ArgumentParser:
    """The parser of all verbs; those named know their arguments, the others only their names.

    Imports nothing heavy, so that --help is quick.
    """
    from experiments.verbs.arguments import Parser

    parser = Parser(
        prog="python -m experiments",
        description="Cross-entropy, focal loss and soft-gamma in YOLOv2 and RetinaNet: "
        "train, sweep, measure, report.",
        epilog="First steps: 'make demo' or 'python -m experiments demo'. "
        "Every verb explains itself: 'python -m experiments train --help'.\n"
        f"A mistake of yours ends with one message and status 2; {DEBUG}=1 shows where it was met.",
    )
    parser.add_argument(
        "--version", action="version", version=_version(), help="print the version and end"
    )
    adding = parser.add_subparsers(title="verbs", dest="verb", metavar="VERB", required=True)
    for name, words in VERBS.items():
        if name not in verbs:
            adding.add_parser(name, help=words)
            continue
        verb = import_module(f"experiments.verbs.{name}")
        known = adding.add_parser(name, help=words, description=verb.TEACH)
        verb.add_arguments(known)
        known.set_defaults(run=verb.run, parser=known)
    return parser


def _version() -> str:
    """As pyproject.toml has it: this program runs from its checkout."""
    found = re.search(r'^version = "(.*)"$', (CHECKOUT / "pyproject.toml").read_text(), re.M)
    return f"softgamma {found[1] if found else 'of unknown version'}"


def parse(words: list[str]) -> Any:
    """The arguments of one command; words that a recipe's overrides may be are kept for them."""

    if "_ARGCOMPLETE" in os.environ:  # the shell asks how the line may go on (README, "Shell")
        import argcomplete

        argcomplete.autocomplete(build_parser(*VERBS))
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    parser = build_parser(*words[:1])
    if words and words[0] in ELSEWHERE:
        parser.error(f"argument VERB: found {words[0]!r}; did you mean {ELSEWHERE[words[0]]!r}?")
    parsed, rest = parser.parse_known_args(words)
    if rest:
        if not hasattr(parsed, "overrides"):
            parsed.parser.refuse(rest)
        parsed.overrides = [*parsed.overrides, *rest]
    return parsed


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and give its exit status; a reader who is gone (`| head`) ends it quietly."""
    refuse_foreign_rooms()
    _open_closed_streams()
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()  # here, not at the interpreter's end, where its failing is told
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return BROKEN_PIPE


def _open_closed_streams() -> None:
    """Standard streams that were closed (`>&-`) lead nowhere: else a file that is opened later, a
    sweep's ledger say, takes their number, and what is said is written into it.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(opened)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))


def _run(words: list[str]) -> int:
    """The user's mistakes, whatever room meets them, end here: a message and status 2."""
    from experiments.errors import refusal, users_errors

    try:
        parsed = parse(words)
        status: int = parsed.run(parsed)
    except users_errors() as error:
        if os.environ.get(DEBUG):
            traceback.print_exception(error)
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        told = refusal(error)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return status


def _nobody_reads() -> bool:
    """Whether a pipe to `head` and the like was closed; then the rest goes nowhere, quietly."""
    closed = False
    for stream in (sys.stdout, sys.stderr):
        asked = select.poll()
        asked.register(stream, select.POLLOUT)
        if any(event & select.POLLERR for _, event in asked.poll(0)):
            closed = True
            # What is still buffered would be written at the interpreter's end, and fail there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return closed


if __name__ == "__main__":
    sys.exit(main())
