"""The verbs that use trained weights on images: detect and export. Heavy imports wait until a verb
runs.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.errors import UsageError

if TYPE_CHECKING:
    from detectors.base import AnyDetector
    from experiments.config.run import RunConfig

BACKENDS = {"torch": "a checkpoint or a run's folder", "onnxruntime": "a file of the verb export"}


def add_parsers(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs to the program's parser."""
    _add_detect(verbs)
    _add_export(verbs)


def _add_detect(verbs: Any) -> None:
    parser = verbs.add_parser(
        "detect",
        help="find objects in images with a trained checkpoint or an exported model",
        description="Run a checkpoint, or an ONNX file that 'export' wrote, over images; writes "
        "each image with its boxes drawn, and all detections as detections.json (boxes in pixels, "
        "x1 y1 x2 y2), with --voc also as text files of VOC's devkit.",
        epilog="Example: python -m experiments detect runs/mine/checkpoints/iteration_00001000.pt "
        "photos/ 'more/**/*.jpg' --out found/",
    )
    parser.add_argument(
        "model", type=Path, help="a checkpoint, the folder of a run, or an ONNX file"
    )
    parser.add_argument(
        "images", nargs="+", type=Path, help="image files, folders of them, or quoted patterns"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/detect"), help="where to write")
    parser.add_argument("--score", type=float, default=0.3, help="least score drawn (default .3)")
    parser.add_argument("--batch", type=int, default=1, help="images a forward pass (default 1)")
    parser.add_argument(
        "--voc", action="store_true", help="also write voc/<class>.txt: image score x1 y1 x2 y2"
    )
    parser.add_argument(
        "--backend", choices=tuple(BACKENDS), help="what runs the network (told from the file)"
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="torch.compile the network: a minute before the first image, less for each of many",
    )
    parser.set_defaults(run=_detect)


def _add_export(verbs: Any) -> None:
    parser = verbs.add_parser(
        "export",
        help="write a trained detector as an ONNX file, boxes decoded inside",
        description="Write a detector as ONNX. Its inputs are `images` (uint8, batch x 3 x height "
        "x width, RGB, sides multiples of 32) and `content` (int64, batch x 2: height and width of "
        "each image's own pixels, top left); its outputs `boxes` (x1 y1 x2 y2 in pixels of the "
        "input) and `scores` (one a class) of every prediction. Choosing among them (threshold, "
        "NMS) is left to the program that runs it, as 'detect' does. Recipe and classes are kept "
        "in the file.",
        epilog="Examples: python -m experiments export runs/mine --out mine.onnx; "
        "python -m experiments export configs/voc/voc0712_yolov2_focal.yaml "
        "detector.weights=yolov2-voc.weights --out yolov2.onnx",
    )
    parser.add_argument(
        "overrides",
        nargs="+",
        metavar="WORD",
        help="a checkpoint or the folder of a run; or a recipe (.yaml) and key=value words, to "
        "export the weights that it names; or a recipe and a checkpoint, for the checkpoint's "
        "weights under the recipe's thresholds",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .onnx file")
    parser.set_defaults(run=_export)


def _detect(arguments: argparse.Namespace) -> int:
    from experiments.run.detecting import ONNX_SUFFIX, detect_files

    if arguments.batch < 1:
        raise UsageError(f"--batch: must be >= 1, found {arguments.batch}")
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


def _export(arguments: argparse.Namespace) -> int:
    from experiments.run.onnx import write_onnx

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
    detector, config, classes = _weights(recipes, checkpoints, overrides)
    write_onnx(detector, config, classes, arguments.out)
    print(f"{len(classes)} classes: {arguments.out}", file=sys.stderr)
    return 0


def _weights(
    recipes: list[Path], checkpoints: list[Path], overrides: list[str]
) -> "tuple[AnyDetector, RunConfig, tuple[str, ...]]":
    """The detector with its weights, from a checkpoint, a recipe, or one under the other."""
    from experiments.config.run import load_config
    from experiments.run.assembly import build_detector, open_splits, without_weights
    from experiments.run.trained import load_trained

    if not recipes:
        found = load_trained(checkpoints[0])
        return found.detector, found.config, found.classes
    config = load_config(recipes[0], overrides)
    if checkpoints:
        trained = load_trained(checkpoints[0])
        classes = trained.classes
        detector = build_detector(without_weights(config), classes)
        try:
            detector.load_state_dict(trained.detector.state_dict())
        except RuntimeError as error:
            raise UsageError(
                f"{checkpoints[0]}: not of the network in {recipes[0]}: {error}"
            ) from (error)
        return detector, config, classes
    classes = getattr(config.data, "classes", None) or open_splits(config).train.classes
    return build_detector(config, classes), config, classes
