"""The verbs `serve` and `reproduce`. Heavy imports wait until one runs."""

import argparse
import signal
import sys
import webbrowser
from pathlib import Path
from typing import Any

from experiments.errors import UsageError

_TEACH_SERVE = """\
Show the runs at or below DIR in a browser while they run: status, progress, loss, and a report of
those that have finished, made again whenever a run ends. It answers this machine only (127.0.0.1)
and changes no run; the report lies in DIR/live. Ctrl-C ends it.

  python -m experiments serve runs/demo
"""
_TEACH_REPRODUCE = """\
Run a study (a sweep file, most of them in configs/studies) and report it. First it prints what
that will cost: trials, iterations, and the time, from runs of this machine on record or from a few
batches timed now. The same command goes on where a stopped one was.

  python -m experiments reproduce sweep.yaml --dry-run            only the cost
  python -m experiments reproduce sweep.yaml --scale tiny --yes   one seed, 20 iterations
  python -m experiments reproduce sweep.yaml --jobs 2

A study may say x-published, x-question and x-baseline for its report.
"""


def add_parsers(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs; each sets `run` to a function of the arguments that gives the exit status."""
    _add_serve(verbs)
    _add_reproduce(verbs)


def _add_serve(verbs: Any) -> None:
    parser = verbs.add_parser(
        "serve",
        help="watch a running sweep in a browser on this machine",
        description=_TEACH_SERVE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="runs at any depth")
    parser.add_argument("--port", type=int, default=8421, help="0 takes a free one (8421)")
    parser.add_argument("--baseline", metavar="ARM", help="of the report")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.set_defaults(run=serve)


def serve(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C.

    Raises:
        UsageError: there is no such folder, or the port cannot be had.
    """
    from experiments.report.live.server import LiveServer

    if not arguments.directory.is_dir():
        raise UsageError(f"{arguments.directory}: no such folder")
    try:
        server = LiveServer(
            arguments.directory, arguments.port, {"baseline": arguments.baseline, "images": 4}
        )
    except (OSError, OverflowError) as error:
        raise UsageError(f"--port {arguments.port}: {error}; 0 takes a free one") from None
    print(f"serving {arguments.directory} at {server.address} (Ctrl-C ends it)", flush=True)
    if arguments.open:
        webbrowser.open(server.address)
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # also where a shell started it in the background
        signal.signal(number, signal.default_int_handler)
    try:
        server.start_watching()
        server.serve_forever()
    except KeyboardInterrupt:
        print("ended")
    finally:
        server.close()
    return 0


def _add_reproduce(verbs: Any) -> None:
    parser = verbs.add_parser(
        "reproduce",
        help="say what a study costs, run it, report it",
        description=_TEACH_REPRODUCE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", metavar="STUDY", type=Path, help="a sweep file")
    parser.add_argument(
        "--scale", choices=("tiny", "full"), default="full", help="tiny rehearses (full)"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trials at a time (1)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/NAME of the study")
    parser.add_argument(
        "--records",
        type=Path,
        action="append",
        metavar="DIR",
        help="where earlier runs tell the pace (runs, results)",
    )
    parser.add_argument("--no-probe", action="store_true", help="time nothing that records lack")
    parser.add_argument("--dry-run", action="store_true", help="print the cost and end")
    parser.add_argument("--yes", action="store_true", help="do not ask before running")
    parser.set_defaults(run=reproduce)


def reproduce(arguments: argparse.Namespace) -> int:
    """Print the cost, ask, run sweep and report; the exit status of the sweep.

    Raises:
        UsageError: nobody can be asked and `--yes` was not given.
    """
    from experiments.reproducing import out_folder, resolved, run_study, study_file
    from experiments.study_costs import paces_on_record, study_cost, told
    from experiments.sweep.space import read_sweep

    if arguments.jobs < 1:
        raise UsageError(f"--jobs: must be at least 1, found {arguments.jobs}")
    out = out_folder(arguments.study, arguments.scale, arguments.out)
    path = study_file(arguments.study, arguments.scale, out)
    sweep = read_sweep(path)
    paces = paces_on_record(arguments.records or [Path("runs"), Path("results")])
    probe = _unknown if arguments.no_probe else _probed
    print(f"study {sweep.name} ({arguments.study}), runs in {out}")
    for line in told(study_cost(resolved(sweep), paces, arguments.jobs, probe), arguments.jobs):
        print(line, flush=True)
    if arguments.dry_run:
        return 0
    if not arguments.yes and not _agreed():
        print("nothing was run")
        return 0
    return run_study(path, arguments.study, out, arguments.jobs)


def _probed(config: Any) -> Any:
    from experiments.pace_probe import probe_pace

    try:
        return probe_pace(config)
    except ValueError as error:  # data that is not there: the sweep will say so of every trial
        print(f"not timed: {error}", file=sys.stderr)
        return None


def _unknown(config: Any) -> None:
    return None


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise UsageError("reproduce: give --yes to run it (nobody can be asked here)")
    return input("Run it? [y/N] ").strip().lower() in ("y", "yes")
