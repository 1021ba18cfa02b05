"""One call for the numbers of the record, from tables or from a dump already checked."""

from typing import Any

import numpy as np
import pandas as pd

from experiments.evaluation.coco import Backend, CocoResult, coco_average_precision
from experiments.evaluation.measures import measure, measure_keys
from experiments.evaluation.tables import Dump, Floats, check
from experiments.evaluation.voc import PROTOCOLS, VocResult, VocRules, voc_average_precision


def evaluate(
    detections: pd.DataFrame,
    truth: pd.DataFrame,
    images: pd.DataFrame,
    classes: tuple[str, ...],
    *,
    split: str = "test",
    rules: VocRules = PROTOCOLS["devkit"],
    backend: Backend = "hotcoco",
) -> dict[str, Any]:
    """The record's metrics of three tables: VOC and COCO, in percent, None where undefined.

    Raises EvaluationError for tables that do not fit together (`tables.check`).
    """
    return evaluate_dump(
        check(detections, truth, images, classes), split=split, rules=rules, backend=backend
    )


def evaluate_dump(
    dump: Dump,
    *,
    split: str = "test",
    rules: VocRules = PROTOCOLS["devkit"],
    backend: Backend = "hotcoco",
) -> dict[str, Any]:
    """The same of a checked dump."""
    voc = voc_average_precision(dump, rules)
    coco = coco_average_precision(dump, backend=backend, difficult=rules.difficult)
    metrics: dict[str, Any] = {"split": split}
    metrics |= {"voc07_map": percent(voc.map07), "voc_area_map": percent(voc.map_area)}
    metrics |= {f"coco_{name}": percent(coco.stats[name]) for name in _COCO_KEYS}
    metrics["more"] = {key: percent(measure(key).of(dump, voc, coco)) for key in measure_keys()}
    return metrics | {"per_class": _per_class(dump, voc, coco)}


def percent(fraction: float) -> float | None:
    """0..1 to 0..100; NaN, an undefined value, to None."""
    return None if np.isnan(fraction) else 100.0 * float(fraction)


_COCO_KEYS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


def _per_class(dump: Dump, voc: VocResult, coco: CocoResult) -> dict[str, dict[str, Any]]:
    columns: dict[str, Floats] = {
        "voc07_ap": voc.ap07_K,
        "voc_area_ap": voc.ap_area_K,
        "coco_ap": coco.ap_K,
        "coco_ap50": coco.ap50_K,
    }
    counts = {
        "objects": voc.objects_K,
        "difficult": voc.ignored_K,
        "detections": voc.detections_K,
    }
    return {
        name: {key: percent(values[label]) for key, values in columns.items()}
        | {key: int(values[label]) for key, values in counts.items()}
        for label, name in enumerate(dump.classes)
    }
