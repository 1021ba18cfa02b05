"""`detect`: objects in images, by trained weights."""

import argparse
from pathlib import Path

from experiments.errors import UsageError
from experiments.verbs.arguments import fraction, positive

TEACH = """\
Run a checkpoint, or an ONNX file that 'export' wrote, over images; writes each image with its
boxes drawn, and all detections as detections.json (boxes in pixels, x1 y1 x2 y2), with --voc also
as text files of VOC's devkit.

  python -m experiments detect runs/mine photos/ 'more/**/*.jpg' --out found/
  python -m experiments detect runs/mine/checkpoints/iteration_00001000.pt photos/
"""
BACKENDS = {"torch": "a checkpoint or a run's folder", "onnxruntime": "a file of the verb export"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `detect` takes."""
    parser.add_argument(
        "model", type=Path, metavar="RUN", help="a run's folder, a checkpoint, or an ONNX file"
    )
    parser.add_argument(
        "images", nargs="+", type=Path, help="image files, folders of them, or quoted patterns"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/detect"), help="where to write")
    parser.add_argument("--score", type=fraction, default=0.3, help="least score drawn")
    parser.add_argument("--batch", type=positive, default=1, help="images a forward pass")
    parser.add_argument(
        "--voc", action="store_true", help="also write voc/<class>.txt: image score x1 y1 x2 y2"
    )
    parser.add_argument(
        "--backend",
        choices=tuple(BACKENDS),
        help="what runs the network (default: told from the file)",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="torch.compile the network: a minute before the first image, less for each of many",
    )


def run(arguments: argparse.Namespace) -> int:
    """Detect and write.

    Raises:
        UsageError: the file and the options do not go together, or there are no images.
    """
    from experiments.run.detecting import detect_files
    from experiments.run.finder import ONNX_SUFFIX

    backend = "onnxruntime" if arguments.model.suffix == ONNX_SUFFIX else "torch"
    wanted = arguments.backend or backend
    if wanted != backend:
        raise UsageError(
            f"{arguments.model}: --backend {wanted} runs {BACKENDS[wanted]}"
            + ("; 'export' writes one" if wanted == "onnxruntime" else "")
        )
    if arguments.compile and backend != "torch":
        raise UsageError(f"{arguments.model}: --compile is for checkpoints, not for an ONNX file")
    return detect_files(
        arguments.model,
        arguments.images,
        arguments.out,
        least_score=arguments.score,
        batch=arguments.batch,
        voc=arguments.voc,
        compiled=arguments.compile,
    )
