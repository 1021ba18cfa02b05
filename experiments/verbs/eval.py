"""The verbs that measure and compare: eval, compare, errors. Heavy imports wait for a verb."""

import argparse
import json
from pathlib import Path
from typing import Any

from experiments.errors import UsageError, nearest

_TEACH_EVAL = """\
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


def add_parsers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs; each sets `run` to a function of the arguments that gives the exit status."""
    _add_eval(subparsers)
    _add_compare(subparsers)
    _add_errors(subparsers)


_TEACH_COMPARE = """\
Is one arm better than another, or was it luck? The first arm is the baseline; every other is
compared with it. An arm is a run, a folder with its seeds, or a name below --runs:

  python -m experiments compare runs/plain runs/focal
  python -m experiments compare "yolov2 cross-entropy" "yolov2 focal gamma 2" --runs runs/sweep

With several seeds an arm: means, SD, Welch's t interval of the difference (it decides), bootstrap
and permutation beside it, Holm's correction for several arms, and how many more seeds would be
needed. With one run an arm: a paired bootstrap over the test images, which speaks of these two
sets of weights only. One seed never makes a winner.
"""
_TEACH_ERRORS = """\
What kind of errors a detector makes, what mending each would gain, how far its scores can be
believed, which classes it confuses, and what a cut on the score costs. From a dump alone:

  python -m experiments errors runs/mine
  python -m experiments errors --detections results.json --truth instances.json
"""


def _add_compare(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "compare",
        help="tell whether the difference between arms is real",
        description=_TEACH_COMPARE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("arms", nargs="+", metavar="ARM", help="the baseline, then others")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="where arms are looked up by name")
    parser.add_argument("--metric", default="voc07_map", help="of the record (voc07_map)")
    parser.add_argument("--resamples", type=int, default=1000, help="of the images (1000)")
    parser.set_defaults(run=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from experiments.evaluation.tables import EvaluationError
    from experiments.record.record import RecordError
    from experiments.report.compare import compare, comparison_text, load_arm

    if len(arguments.arms) < 2:
        raise UsageError("compare: name two arms or more, the baseline first")
    try:
        arms = [load_arm(source, arguments.runs) for source in arguments.arms]
        print(comparison_text(compare(arms, arguments.metric, resamples=arguments.resamples)))
    except (EvaluationError, RecordError) as error:
        raise UsageError(str(error)) from error
    return 0


def _add_errors(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "errors",
        help="show what kind of errors a detector makes",
        description=_TEACH_ERRORS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dump", nargs="?", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("--detections", type=Path, metavar="PATH", help="a dump, or others' files")
    parser.add_argument("--truth", type=Path, metavar="PATH", help="default: beside the detections")
    parser.add_argument("--split", default="test", help="of a VOC folder (test)")
    parser.add_argument("--score", type=float, default=0.3, help="least for a confusion (.3)")
    parser.add_argument("--curves", type=Path, metavar="CSV", help="write precision and recall")
    parser.set_defaults(run=_errors)


def _errors(arguments: argparse.Namespace) -> int:
    from datasets.errors import DataError
    from experiments.evaluation.tables import EvaluationError, check
    from experiments.evaluation.text import confusions_text, cuts_text, errors_text
    from experiments.run.truth import load

    source = arguments.dump or arguments.detections
    if source is None or (arguments.dump and arguments.detections):
        raise UsageError("errors: name a run's folder or --detections")
    try:
        tables = load(source, arguments.truth, arguments.split)
        dump = check(tables.detections, tables.truth, tables.images, tables.classes)
    except (DataError, EvaluationError) as error:
        raise UsageError(str(error)) from error
    print(errors_text(dump))
    print("\n" + confusions_text(dump, least_score=arguments.score))
    print("\n" + cuts_text(dump))
    if arguments.curves is not None:
        _write_curves(arguments.curves, dump)
    return 0


def _write_curves(path: Path, dump: Any) -> None:
    import pandas as pd

    from experiments.evaluation.mistakes import curves
    from experiments.record.files import write_text

    parts = [
        pd.DataFrame(
            {
                "class": name,
                "score": one.score_T,
                "recall": one.recall_T,
                "precision": one.precision_T,
            }
        )
        for name, one in curves(dump).items()
    ]
    write_text(path, pd.concat(parts).to_csv(index=False, float_format="%.6f") if parts else "")
    print(f"\ncurves written to {path}")


def _add_eval(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "eval",
        help="measure a checkpoint, or detections that are already there",
        description=_TEACH_EVAL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        nargs="*",
        type=Path,
        metavar="[CONFIG] CHECKPOINT",
        help="a checkpoint or a run's folder; a recipe before it replaces its data",
    )
    _add_source(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write dump and numbers")
    parser.set_defaults(run=_eval)


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--detections", type=Path, metavar="PATH", help="a dump, or others' files")
    parser.add_argument("--truth", type=Path, metavar="PATH", help="default: beside the detections")
    parser.add_argument("--split", default="test", help="of a VOC folder or a recipe's data")
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        default=(),
        help="measure these, in this order (the truth's); one without a file has no detections",
    )
    parser.add_argument(
        "--backend",
        choices=("hotcoco", "pycocotools"),
        default="hotcoco",
        help="of COCO's numbers: pycocotools is the slow reference, both give the same bits",
    )
    parser.add_argument(
        "--protocol", default="devkit", help="devkit (default), detectron2, mmdet, or all"
    )
    parser.add_argument("--iou", type=float, help="least overlap of a hit in VOC's AP (.5)")
    parser.add_argument("--difficult", choices=("ignore", "count", "drop"), help="VOC's objects")
    parser.add_argument(
        "--no-pixel", action="store_true", help="boxes one pixel less wide and high"
    )
    parser.add_argument("--score", type=float, help="leave out detections below this score")
    parser.add_argument("--top", type=int, metavar="N", help="only the N best of each image")


def _eval(arguments: argparse.Namespace) -> int:
    from datasets.errors import DataError
    from experiments.evaluation.tables import EvaluationError

    try:
        tables = _tables(arguments)
        return _measure(arguments, tables)
    except (DataError, EvaluationError) as error:
        raise UsageError(str(error)) from error


def _tables(arguments: argparse.Namespace) -> Any:
    if arguments.detections is not None:
        if arguments.model:
            raise UsageError("eval: a checkpoint or --detections, not both")
        from experiments.run.truth import load

        return load(
            arguments.detections, arguments.truth, arguments.split, tuple(arguments.classes)
        )
    if len(arguments.model) not in (1, 2):
        raise UsageError("eval: name a checkpoint (or a recipe and a checkpoint), or --detections")
    from experiments.run.trained import detect_split

    recipe = arguments.model[0] if len(arguments.model) == 2 else None
    return detect_split(arguments.model[-1], recipe, arguments.split)


def _measure(arguments: argparse.Namespace, tables: Any) -> int:
    from experiments.evaluation.dump import write_dump
    from experiments.evaluation.summary import evaluate
    from experiments.evaluation.text import metrics_text, protocols_text
    from experiments.record.files import write_text

    rules = _rules(arguments)
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


def _rules(arguments: argparse.Namespace) -> Any:
    import dataclasses

    from experiments.evaluation.voc import PROTOCOLS

    name = "devkit" if arguments.protocol == "all" else arguments.protocol
    if name not in PROTOCOLS:
        known = (*PROTOCOLS, "all")
        raise UsageError(f"--protocol: found {name!r}{nearest(name, known)}")
    changes = {
        "iou": arguments.iou,
        "difficult": arguments.difficult,
        "plus_one": False if arguments.no_pixel else None,
        "score_threshold": arguments.score,
        "top_k": arguments.top,
    }
    given = {key: value for key, value in changes.items() if value is not None}
    try:
        return dataclasses.replace(PROTOCOLS[name], **given)
    except ValueError as error:
        raise UsageError(str(error)) from error
