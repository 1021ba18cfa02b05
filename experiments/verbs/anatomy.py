"""The `anatomy` verb: where the loss of a checkpoint is, for any gamma. Heavy imports wait."""

import argparse
from pathlib import Path
from typing import Any

from experiments.errors import UsageError

GAMMAS = (0.0, 0.5, 1.0, 2.0)  # as Figure 4 of the paper draws them

_TEACH = """\
Where is the loss of a trained detector, and who pulls at its weights? Figure 4 of the focal-loss
paper, for any gamma, from one checkpoint: the cumulative loss of foreground and background, the
hardest last, and the share of the gradient by kind and by output level.

  python -m experiments anatomy runs/mine                              a run's newest checkpoint
  python -m experiments anatomy configs/voc/voc07_yolov2_focal.yaml runs/mine    on other data
  python -m experiments anatomy runs/mine --gamma 0 --gamma 2 --gamma 5 --images 100

RetinaNet: every class of every anchor that counts. YOLOv2: objectness of every prediction that
counts. anatomy.json is written beside the run's record, and `report` draws it.
"""


def add_parsers(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb; its `run` is a function of the arguments that gives the exit status."""
    parser = verbs.add_parser(
        "anatomy",
        help="show where a checkpoint's loss is, for any gamma (the paper's Figure 4)",
        description=_TEACH,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        nargs="+",
        type=Path,
        metavar="[CONFIG] CHECKPOINT",
        help="a checkpoint or a run's folder; a recipe before it replaces its data",
    )
    parser.add_argument(
        "--gamma",
        type=float,
        action="append",
        metavar="G",
        help="repeatable (0, 0.5, 1, 2 and the run's own)",
    )
    parser.add_argument("--split", default="test", help="whose images are looked at (test)")
    parser.add_argument("--images", type=int, default=200, metavar="N", help="at most (200)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where anatomy.json goes (default: the run)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Probe the checkpoint, print its table and write anatomy.json.

    Raises:
        UsageError: the arguments name no checkpoint, or nothing in it can be probed.
    """
    if len(arguments.model) > 2:
        raise UsageError("anatomy: name a checkpoint, or a recipe and a checkpoint")
    if arguments.images < 1:
        raise UsageError(f"--images: must be at least 1, found {arguments.images}")
    if any(gamma < 0 for gamma in arguments.gamma or ()):
        raise UsageError(f"--gamma: must be >= 0, found {min(arguments.gamma)}")
    from experiments.evaluation.anatomy import write_anatomy
    from experiments.evaluation.tables import EvaluationError
    from experiments.evaluation.text import anatomy_text

    try:
        anatomy, folder = _anatomy(arguments)
    except (EvaluationError, TypeError) as error:
        raise UsageError(str(error)) from error
    print(anatomy_text(anatomy))
    print(f"\nwritten to {write_anatomy(arguments.out or folder, anatomy)}")
    return 0


def _anatomy(arguments: argparse.Namespace) -> tuple[Any, Path]:
    """The anatomy, and the folder of the run that it is of."""
    from experiments.probes.anatomy import anatomise

    recipe = arguments.model[0] if len(arguments.model) == 2 else None
    return anatomise(
        arguments.model[-1],
        recipe,
        split=arguments.split,
        most_images=arguments.images,
        gammas=tuple(arguments.gamma) if arguments.gamma else None,
        usual=GAMMAS,
    )
