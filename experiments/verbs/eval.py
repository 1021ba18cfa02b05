"""`eval`: the metrics of a run, a checkpoint, or of detections that are there already."""

import argparse
import json
from pathlib import Path
from typing import Any

from experiments.errors import UsageError
from experiments.verbs.arguments import add_detections, add_weights, weights_of

TEACH = """\
Measure detections: VOC's average precision in both forms and COCO's, for all classes and for each.

  python -m experiments eval runs/mine                           a trained run, once more
  python -m experiments eval runs/mine/best                      its best validation's weights
  python -m experiments eval runs/mine/checkpoints/NAME.pt       one of its checkpoints
  python -m experiments eval configs/bccd/yolov2_focal.yaml runs/mine            on other data
  python -m experiments eval --detections runs/mine --protocol all       its dump, without model
  python -m experiments eval --detections results.json --truth instances.json    COCO's files
  python -m experiments eval --detections FOLDER --truth VOC2007 --split test
      FOLDER holds a text file a class, as the devkit's comp4_det_test_CLASS.txt or those of
      'detect --voc', or one an image, as Padilla's and Cartucho's tools write them; VOC2007 holds
      Annotations and ImageSets

Evaluators disagree on details. --protocol names whose rules apply; 'all' also shows what each of
them, and each rule by itself, makes of the same detections. All numbers are percentages.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `eval` takes."""
    add_weights(parser, optional=True)
    add_detections(parser, "of a VOC folder or a recipe's data")
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        default=[],
        help="measure these, in this order (default: the truth's); one without a file has no "
        "detections",
    )
    parser.add_argument(
        "--backend",
        choices=("hotcoco", "pycocotools"),
        default="hotcoco",
        help="of COCO's numbers: pycocotools is the slow reference, both give the same bits",
    )
    parser.add_argument(
        "--protocol", default="devkit", help="devkit, detectron2, mmdet, or all (default: devkit)"
    )
    parser.add_argument(
        "--iou", type=float, help="least overlap of a hit in VOC's AP (default: 0.5)"
    )
    parser.add_argument(
        "--difficult",
        choices=("ignore", "count", "drop"),
        help="VOC's objects (default: as the protocol says)",
    )
    parser.add_argument(
        "--no-pixel", action="store_true", help="boxes one pixel less wide and high"
    )
    parser.add_argument(
        "--score", type=float, help="leave out detections below this score (default: none)"
    )
    parser.add_argument(
        "--top", type=int, metavar="N", help="only the N best of each image (default: all)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write dump and numbers")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and write where `--out` says.

    Raises:
        UsageError: the arguments name nothing to measure, or rules that nobody has.
        EvaluationError, DataError: the files cannot be measured.
    """
    rules = _rules(arguments)
    tables = _tables(arguments)
    from experiments.evaluation.dump import write_dump
    from experiments.evaluation.summary import evaluate
    from experiments.evaluation.text import metrics_text, protocols_text
    from experiments.record.files import write_text

    inputs = (tables.detections, tables.truth, tables.images, tables.classes)
    metrics = evaluate(*inputs, split=arguments.split, rules=rules, backend=arguments.backend)
    print(metrics_text(metrics))
    if arguments.protocol == "all":
        print("\n" + protocols_text(tables))
    if arguments.out is not None:
        write_dump(arguments.out, tables)
        write_text(arguments.out / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        print(f"\nwritten to {arguments.out}")
    return 0


def _tables(arguments: argparse.Namespace) -> Any:
    if arguments.detections is not None:
        if arguments.model:
            raise UsageError("eval: a run or --detections, not both")
        from experiments.run.truth import load

        return load(
            arguments.detections, arguments.truth, arguments.split, tuple(arguments.classes)
        )
    if not arguments.model:
        raise UsageError("eval: name a run or a checkpoint (a recipe before it), or --detections")
    checkpoint, recipe = weights_of(arguments)
    from experiments.run.trained import detect_split

    return detect_split(checkpoint, recipe, arguments.split)


def _rules(arguments: argparse.Namespace) -> Any:
    from experiments.evaluation.voc import rules_of

    return rules_of(
        "devkit" if arguments.protocol == "all" else arguments.protocol,
        iou=arguments.iou,
        difficult=arguments.difficult,
        plus_one=False if arguments.no_pixel else None,
        score_threshold=arguments.score,
        top_k=arguments.top,
    )
