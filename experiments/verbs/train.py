"""`train`: one run from recipe to record."""

import argparse
import gc
import os
import shlex
import sys
from pathlib import Path

from experiments.errors import UsageError
from experiments.verbs.arguments import add_recipe, add_tape, recipe_of

TEACH = """\
Train one run and measure it. Its folder then holds record.json, curves, checkpoints, detections
and an offline W&B run. The same command goes on where a stopped run was; a finished run is not
trained again.

  python -m experiments train configs/glyphs/retinanet_focal.yaml loss.gamma=1.5 seed=1
"""
INTERRUPTED = 75  # EX_TEMPFAIL: stopped by a signal with a checkpoint; the same command goes on


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `train` takes."""
    add_recipe(parser)
    parser.add_argument(
        "--out",
        metavar="RUN",
        type=Path,
        help="the run's folder (default: runs/<folder>-<recipe>-<hash>-seed<n>; a sweep names its "
        "own)",
    )
    add_tape(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train; 0 where the run is finished, 75 where it was stopped and can go on, 1 where it failed.

    Raises:
        UsageError: the recipe, the data or the folder is the user's to mend.
    """
    path, overrides = recipe_of(arguments)
    from experiments.importing import uncollected, without

    with uncollected(), without("wandb"):  # timm's log would open it, .6 s
        from experiments.config.resolve import parse_words
        from experiments.config.run import Recipes
        from experiments.engine.distributed import is_first
        from experiments.run.progress import outliving_its_log
        from experiments.run.training import default_folder, train_run
        from experiments.sweep.ledger import FILE as LEDGER
        from experiments.tracking.agent import ended_with_agent
        from experiments.tracking.settings import in_sweep
    gc.freeze()  # or the first collection would go through all that was imported, .35 s

    resolved = Recipes().resolve(path, parse_words(overrides))
    config = resolved.config
    for note in resolved.notes:
        print(f"note: {note}", file=sys.stderr)
    named = os.environ.get("SOFTGAMMA_RUN_DIR")
    folder = arguments.out or (Path(named) if named else default_folder(path, config))
    if (folder / LEDGER).is_file():
        raise UsageError(f"{folder}: holds a sweep; name another folder for a run of its own")
    with ended_with_agent(), outliving_its_log():
        record = train_run(config, folder, overrides, tape_gib=arguments.tape_gib)
    if record.status == "interrupted":
        print(f"stopped; the same command goes on from the checkpoint in {folder}", file=sys.stderr)
        # wandb agent counts other statuses as failures, and leaves a sweep after a few of them.
        return 0 if in_sweep() else INTERRUPTED
    if record.status != "finished":
        return 1
    if named is None and is_first():  # a sweep tells its own, the first rank tells for all
        run = shlex.quote(str(folder))
        print(f"its errors:  python -m experiments errors {run}", file=sys.stderr)
        print(f"use it:      python -m experiments detect {run} PHOTOS", file=sys.stderr)
    return 0
