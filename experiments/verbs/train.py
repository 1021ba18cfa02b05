"""The verbs of a single run: train and show, and through detect_verbs what is done with its
weights.

Heavy imports wait until a verb runs.
"""

import argparse
import gc
import os
import sys
from pathlib import Path
from typing import Any

from experiments.verbs import detect as detect_verbs

INTERRUPTED = 75  # EX_TEMPFAIL: stopped by a signal with a checkpoint; the same command goes on


def add_parsers(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs to the program's parser."""
    _add_train(verbs)
    _add_show(verbs)
    detect_verbs.add_parsers(verbs)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="the recipe, a YAML file below configs/")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="values over the recipe's, for example loss.gamma=1.5 train.iterations=200 "
        "'loss={name: cross_entropy}'; 'show' lists every key",
    )


def _add_train(verbs: Any) -> None:
    parser = verbs.add_parser(
        "train",
        help="train one run, measure it on its test split, write its record",
        description="Train one run and measure it. Its folder then holds record.json, curves, "
        "checkpoints, detections and an offline W&B run. The same command goes on where a stopped "
        "run was; a finished run is not trained again.",
        epilog="Example: python -m experiments train --config configs/glyphs/retinanet_focal.yaml "
        "loss.gamma=1.5 seed=1",
    )
    _add_config(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="the run's folder (default: runs/<config>-<hash>; a sweep names its own)",
    )
    parser.set_defaults(run=_train)


def _add_show(verbs: Any) -> None:
    parser = verbs.add_parser(
        "show",
        help="print the whole resolved run, its parameters and FLOPs",
        description="Print the run that a recipe and overrides describe: every key with its value, "
        "then the number of parameters and of floating-point operations of one image.",
    )
    _add_config(parser)
    parser.add_argument(
        "--classes", type=int, default=20, help="classes to count with (default 20)"
    )
    parser.set_defaults(run=_show)


def config_argument(arguments: argparse.Namespace) -> tuple[Path, list[str]]:
    """The recipe and the overrides; W&B's agents give the recipe as `config=FILE` or
    `--config=FILE`.
    """
    from experiments.errors import UsageError

    overrides = [word for word in arguments.overrides if not _is_config(word)]
    named = [word.partition("=")[2] for word in arguments.overrides if _is_config(word)]
    config = named[-1] if named else arguments.config
    if config is None:
        raise UsageError("--config FILE is needed: a recipe below configs/")
    return Path(config), overrides


def _is_config(word: str) -> bool:
    return word.lstrip("-+").startswith("config=")


def _train(arguments: argparse.Namespace) -> int:
    path, overrides = config_argument(arguments)
    from experiments.importing import uncollected, without

    with uncollected(), without("wandb"):  # timm's log would open it, .6 s
        from experiments.config.resolve import parse_words
        from experiments.config.run import Recipes
        from experiments.run.training import default_folder, train_run
        from experiments.tracking.agent import ended_with_agent
    gc.freeze()  # or the first collection would go through all that was imported, .35 s

    resolved = Recipes().resolve(path, parse_words(overrides))
    config = resolved.config
    for note in resolved.notes:
        print(f"note: {note}", file=sys.stderr)
    named = os.environ.get("SOFTGAMMA_RUN_DIR")
    folder = arguments.out or (Path(named) if named else default_folder(path, config))
    with ended_with_agent():
        record = train_run(config, folder, overrides)
    if record.status == "interrupted":
        print(f"stopped; the same command goes on from the checkpoint in {folder}", file=sys.stderr)
        # wandb agent counts other statuses as failures, and leaves a sweep after a few of them.
        return 0 if "WANDB_SWEEP_ID" in os.environ else INTERRUPTED
    return 0 if record.status == "finished" else 1


def _show(arguments: argparse.Namespace) -> int:
    path, overrides = config_argument(arguments)
    from experiments.config.resolve import parse_words
    from experiments.config.run import Recipes, config_text
    from experiments.probes.cost import describe_costs

    resolved = Recipes().resolve(path, parse_words(overrides))
    print(config_text(resolved.config), end="")
    for note in resolved.notes:
        print(f"# note: {note}")
    print(describe_costs(resolved.config, arguments.classes))
    return 0
