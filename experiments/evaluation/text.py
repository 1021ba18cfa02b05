"""Numbers as plain text tables for a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.evaluation.dump import Tables
from experiments.evaluation.tables import check
from experiments.evaluation.voc import PROTOCOLS, VocRules, voc_average_precision

_HEADS = {
    "voc07_map": "VOC07 mAP",
    "voc_area_map": "VOC area mAP",
    "coco_ap": "COCO AP",
    "coco_ap50": "AP50",
    "coco_ap75": "AP75",
    "coco_ap_small": "small",
    "coco_ap_medium": "medium",
    "coco_ap_large": "large",
}
_CLASS_HEADS = {
    "voc07_ap": "VOC07",
    "voc_area_ap": "area",
    "coco_ap": "COCO",
    "coco_ap50": "AP50",
    "objects": "objects",
    "difficult": "ignored",
    "detections": "detections",
}


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """The record's metrics: one line for all classes, one for each."""
    total = aligned([list(_HEADS.values()), [number(metrics[key]) for key in _HEADS]])
    rows = [["class", *_CLASS_HEADS.values()]]
    for name, values in metrics["per_class"].items():
        rows.append([name, *(number(values[key]) for key in _CLASS_HEADS)])
    return f"{total}\n\n{aligned(rows)}"


def protocols_text(tables: Tables) -> str:
    """What every named protocol, and every rule changed by itself, makes of the same detections."""
    dump = check(tables.detections, tables.truth, tables.images, tables.classes)
    plain = PROTOCOLS["devkit"]
    variants: dict[str, VocRules] = {
        "devkit": plain,
        "mmdet": PROTOCOLS["mmdet"],
        "detectron2": PROTOCOLS["detectron2"],
        "one pixel less": replace(plain, plus_one=False),
        "overlap > .5": replace(plain, strict=True),
        "difficult counted": replace(plain, difficult="count"),
        "difficult dropped": replace(plain, difficult="drop"),
        "scores to 3 decimals": replace(plain, score_decimals=3),
        "scores >= .05": replace(plain, score_threshold=0.05),
        "100 an image": replace(plain, top_k=100),
    }
    rows = [["rules", "VOC07 mAP", "VOC area mAP"]]
    for name, rules in variants.items():
        result = voc_average_precision(dump, rules)
        rows.append([name, number(100 * result.map07), number(100 * result.map_area)])
    return aligned(rows)


def number(value: float | int | None) -> str:
    """Two decimals, whole numbers as they are, a dash for what is undefined."""
    if value is None or value != value:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as columns: the first flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
    return "\n".join(lines)
