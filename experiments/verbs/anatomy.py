"""`anatomy`: where the loss of a trained detector is, for any gamma."""

import argparse
from pathlib import Path

from experiments.errors import UsageError
from experiments.verbs.arguments import add_weights, positive, weights_of

TEACH = """\
Where is the loss of a trained detector, and who pulls at its weights? Figure 4 of the focal-loss
paper, for any gamma, from one checkpoint: the cumulative loss of foreground and background, the
hardest last, and the share of the gradient by kind and by output level.

  python -m experiments anatomy runs/mine                              a run's newest checkpoint
  python -m experiments anatomy configs/voc/voc07_yolov2_focal.yaml runs/mine    on other data
  python -m experiments anatomy runs/mine --gamma 0 --gamma 2 --gamma 5 --images 100

RetinaNet: every class of every anchor that counts. YOLOv2: objectness of every prediction that
counts. anatomy.json is written beside the run's record, and `report` draws it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `anatomy` takes."""
    add_weights(parser)
    parser.add_argument(
        "--gamma",
        type=float,
        action="append",
        metavar="G",
        help="repeatable (default: 0, 0.5, 1, 2 and the run's own)",
    )
    parser.add_argument("--split", default="test", help="whose images are looked at")
    parser.add_argument(
        "--images", type=positive, default=200, metavar="N", help="at most so many are looked at"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where anatomy.json goes (default: the run)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Probe the checkpoint, print its table and write anatomy.json.

    Raises:
        UsageError: the arguments name no checkpoint, or nothing in it can be probed.
        EvaluationError: the split holds nothing to look at.
    """
    checkpoint, recipe = weights_of(arguments)
    if any(gamma < 0 for gamma in arguments.gamma or ()):
        raise UsageError(f"--gamma: must be >= 0, found {min(arguments.gamma)}")
    from experiments.evaluation.anatomy import write_anatomy
    from experiments.evaluation.text import anatomy_text
    from experiments.probes.anatomy import anatomise

    anatomy, folder = anatomise(
        checkpoint,
        recipe,
        split=arguments.split,
        most_images=arguments.images,
        gammas=tuple(arguments.gamma) if arguments.gamma else None,
    )
    print(anatomy_text(anatomy))
    print(f"\nwritten to {write_anatomy(arguments.out or folder, anatomy)}")
    return 0
