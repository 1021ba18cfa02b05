"""`show`: the whole run that a recipe and overrides describe."""

import argparse
from pathlib import Path

from experiments.verbs.arguments import add_recipe, positive, recipe_of

TEACH = """\
Print the run that a recipe and overrides describe: every key with its value, then the number of
parameters and of floating-point operations of one image.

  python -m experiments show configs/glyphs/yolov2_focal.yaml loss.gamma=1.5
  python -m experiments show --cfg yolov2-voc.cfg > recipe.yaml     (a Darknet network as a recipe)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `show` takes."""
    add_recipe(parser)
    parser.add_argument("--cfg", type=Path, help="a Darknet .cfg of YOLOv2, printed as a recipe")
    parser.add_argument(
        "--classes", type=positive, metavar="K", help="classes to count with (default: the data's)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the run; raises ConfigError where there is none."""
    if arguments.cfg is not None:
        from experiments.config.darknet import cfg_recipe

        print(cfg_recipe(arguments.cfg), end="")
        return 0
    path, overrides = recipe_of(arguments)
    from experiments.config.resolve import parse_words
    from experiments.config.run import Recipes, config_text
    from experiments.probes.cost import describe_costs

    resolved = Recipes().resolve(path, parse_words(overrides))
    print(config_text(resolved.config), end="")
    for note in resolved.notes:
        print(f"# note: {note}")
    print(describe_costs(resolved.config, arguments.classes))
    return 0
