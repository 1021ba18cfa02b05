"""The verbs `serve` and `reproduce`. Heavy imports wait until one runs."""

import argparse
import signal
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from experiments.errors import ConfigError, UsageError
from experiments.record.files import write_text
from experiments.sweep.command import fixed_arguments, written
from experiments.sweep.proposals import first_points
from experiments.sweep.space import Sweep, grid_points, read_sweep
from experiments.sweep.study import study_mapping
from experiments.verbs import report as report_verbs
from experiments.verbs import sweep as sweep_verbs

# `--scale tiny` shows that a study's path is sound; it says nothing of its question.
TINY: dict[str, Any] = {
    "train.iterations": 20,
    "train.batch_size": 2,
    "train.checkpoint_every": 20,
    "train.validate_every": None,
    "learning_rate.warmup_iterations": 0,
    "tracking.wandb": "off",
}


def study_file(study: Path, scale: str, out: Path) -> Path:
    """The sweep file to run: the study itself, or its tiny form, written below `out`.

    Tiny: the values of TINY in place of the study's own, and the first seed only.
    """
    if scale == "full":
        return study
    values = study_mapping(study)
    parameters = dict(values.get("parameters") or {})
    for name, knob in parameters.items():
        if name == "seed" and isinstance(knob, Mapping) and knob.get("values"):
            parameters[name] = {"value": knob["values"][0]}
    parameters |= {name: {"value": value} for name, value in TINY.items()}
    values |= {"name": f"{values.get('name') or study.stem}-tiny", "parameters": parameters}
    values.pop("early_terminate", None)
    path = out / "study.yaml"
    write_text(path, yaml.safe_dump(values, sort_keys=False, width=100))
    return path


def out_folder(study: Path, scale: str, named: Path | None) -> Path:
    """Where the study's runs go: `named`, else runs/NAME, with `-tiny` for the tiny scale."""
    return named or Path("runs") / (read_sweep(study).name + ("-tiny" if scale == "tiny" else ""))


def resolved(sweep: Sweep) -> list[dict[str, Any]]:
    """The whole configuration of each trial; raises ConfigError for one that cannot be run.

    Of a sweep that proposes its points, the first `run_cap` ones.
    """
    from experiments.config.run import load_config, plain_config

    points = (
        list(grid_points(sweep))
        if sweep.method == "grid"
        else first_points(sweep, sweep.run_cap or 1)
    )
    found = []
    for point in points:
        values = {**fixed_arguments(sweep.command), **point}
        recipe = values.pop("config", None)
        if not isinstance(recipe, str):
            raise ConfigError(f"{sweep.path}: a trial has no recipe: give a parameter 'config'")
        words = [f"{name}={written(value)}" for name, value in values.items()]
        found.append(plain_config(load_config(Path(recipe), words)))
    return found


def run_study(path: Path, study: Path, out: Path, jobs: int) -> int:
    """Run the sweep in `path` to its end, then report it; the sweep's status where it stopped."""
    status = _call(sweep_verbs, ["sweep", str(path), "--out", str(out), "--jobs", str(jobs)])
    if status not in (0, 1):
        return status
    words = ["report", str(out), "--out", str(out / "report"), "--study", str(study)]
    reported = _call(report_verbs, words)
    return reported or status


def _call(verbs: Any, words: list[str]) -> int:
    parser = argparse.ArgumentParser()
    verbs.add_parsers(parser.add_subparsers())
    arguments = parser.parse_args(words)
    status: int = arguments.run(arguments)
    return status


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
    from experiments.sweep.space import read_sweep
    from experiments.sweep.study_costs import paces_on_record, study_cost, told
    from experiments.verbs.reproduce import out_folder, resolved, run_study, study_file

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
    from experiments.probes.pace import probe_pace

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
