"""`export`: a trained detector as an ONNX file."""

import argparse
import sys
from pathlib import Path

from experiments.errors import UsageError

TEACH = """\
Write a detector as ONNX. Its inputs are `images` (uint8, batch x 3 x height x width, RGB, sides
multiples of 32) and `content` (int64, batch x 2: height and width of each image's own pixels, top
left); its outputs `boxes` (x1 y1 x2 y2 in pixels of the input) and `scores` (one a class) of every
prediction. Choosing among them (threshold, NMS) is left to the program that runs it, as 'detect'
does. Recipe and classes are kept in the file.

  python -m experiments export runs/mine --out mine.onnx
  python -m experiments export configs/voc/voc0712_yolov2_focal.yaml \\
      detector.weights=yolov2-voc.weights --out yolov2.onnx
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `export` takes."""
    parser.add_argument(
        "overrides",
        nargs="+",
        metavar="[RECIPE] [RUN] key=value",
        help="a run's folder or a checkpoint; or a recipe (.yaml) and key=value words, to export "
        "the weights that it names; or a recipe and a checkpoint, for the checkpoint's weights "
        "under the recipe's thresholds",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .onnx file")


def run(arguments: argparse.Namespace) -> int:
    """Write the file.

    Raises:
        UsageError: the words name no weights, or those of another network.
    """
    words: list[str] = arguments.overrides
    overrides = [word for word in words if "=" in word]
    named = [Path(word) for word in words if "=" not in word]
    recipes = [path for path in named if path.suffix in (".yaml", ".yml")]
    checkpoints = [path for path in named if path not in recipes]
    if len(recipes) > 1 or len(checkpoints) > 1 or (overrides and not recipes):
        raise UsageError(
            "export: name one checkpoint, or one recipe with key=value words, or both; found "
            + " ".join(words)
        )
    from experiments.run.onnx import write_onnx
    from experiments.run.trained import weights_to_export

    detector, config, classes = weights_to_export(
        recipes[0] if recipes else None, checkpoints[0] if checkpoints else None, overrides
    )
    write_onnx(detector, config, classes, arguments.out)
    print(f"{len(classes)} classes: {arguments.out}", file=sys.stderr)
    return 0
