"""`bench`: where the time of a training step goes."""

import argparse
from pathlib import Path
from typing import Any

from experiments.verbs.arguments import add_recipe, natural, positive, recipe_of

TEACH_TRAIN = """\
Where does the time of a training step go? Takes the recipe's own images, network and loss, and
times the wait for data, forward pass, loss, backward pass and the optimiser's update:

  python -m experiments bench train configs/glyphs/retinanet_focal.yaml
  python -m experiments bench train configs/glyphs/yolov2_focal.yaml train.workers=2

A long wait for data asks for train.workers, train.cache_images or smaller images; nothing is
trained or written. Run it on a quiet machine.
"""
TEACH = "Time what a run does.\n\n" + TEACH_TRAIN


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `bench` takes."""
    kinds: Any = parser.add_subparsers(title="what", dest="what", metavar="WHAT", required=True)
    train = kinds.add_parser(
        "train", help="data wait, forward, loss, backward, optimiser", description=TEACH_TRAIN
    )
    add_recipe(train)
    train.add_argument("--steps", type=positive, default=30, help="to time")
    train.add_argument("--warmup", type=natural, default=5, help="before them")
    train.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")


def run(arguments: argparse.Namespace) -> int:
    """Time and print; raises ConfigError where there is no such run."""
    path, overrides = recipe_of(arguments)
    from experiments.config.run import load_config
    from experiments.probes.pace import profile, profile_text, write_profile

    found = profile(load_config(path, overrides), arguments.steps, arguments.warmup)
    print(profile_text(found))
    if arguments.json is not None:
        write_profile(found, arguments.json)
    return 0
