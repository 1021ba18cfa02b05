"""Numbers as plain text tables for a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.evaluation.anatomy import KINDS, Anatomy
from experiments.evaluation.dump import Tables
from experiments.evaluation.measures import measure_name
from experiments.evaluation.mistakes import (
    ERRORS,
    calibration,
    confusion,
    cuts,
    error_shares,
)
from experiments.evaluation.tables import Dump, check
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
    more = metrics.get("more", {})
    heads = [*_HEADS.values(), *map(measure_name, more)]
    values = [*(metrics[key] for key in _HEADS), *more.values()]
    total = aligned([heads, [number(value) for value in values]])
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


def errors_text(dump: Dump) -> str:
    """What kind of errors there are and what they cost, and how far scores can be believed."""
    shares = error_shares(dump)
    rows = [["error", "count", "AP50 gained if mended", "meaning"]]
    for name, meaning in ERRORS.values():
        gain = number(100 * shares.gains[name])
        rows.append([name, str(shares.counts[name]), gain, meaning])
    result = calibration(dump)
    bins = [["scores", "detections", "mean score %", "right %"]]
    for row in result.bins:
        cells = [number(100 * row.mean_score), number(100 * row.precision)]
        cells = cells if row.detections else ["-", "-"]
        bins.append([f"{row.low:.1f} to {row.high:.1f}", str(row.detections), *cells])
    told = number(100 * result.expected_error)
    return (
        f"AP50 {number(100 * shares.ap50)}\n\n{aligned(rows, left=(0, 3))}\n\n"
        f"Calibration: expected error {told} %\n{aligned(bins)}"
    )


def confusions_text(dump: Dump, *, least_score: float, most: int = 10) -> str:
    """The most frequent confusions of one class with another."""
    result = confusion(dump, least_score=least_score)
    count = len(result.classes)
    matrix = result.matrix[:count, :count]
    pairs = [(int(matrix[i, k]), i, k) for i in range(count) for k in range(count) if i != k]
    rows = [["object", "taken for", "times", "of its objects %"]]
    for times, i, k in sorted(pairs, reverse=True)[:most]:
        if times:
            share = number(100 * times / max(1, int(result.matrix[i].sum())))
            rows.append([result.classes[i], result.classes[k], str(times), share])
    head = f"Confusions at scores from {least_score}"
    return f"{head}\n{aligned(rows, left=(0, 1))}" if len(rows) > 1 else f"{head}: none"


def cuts_text(dump: Dump) -> str:
    """mAP with detections below a score left out."""
    rows = [["scores from", "detections", "VOC07 mAP", "VOC area mAP"]]
    for cut in cuts(dump, (0.0, 0.005, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5)):
        means = [number(100 * cut.map07), number(100 * cut.map_area)]
        rows.append([f"{cut.score:g}", str(cut.detections), *means])
    return aligned(rows)


def number(value: float | int | None) -> str:
    """Two decimals, whole numbers as they are, a dash for what is undefined."""
    if value is None or value != value:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def aligned(rows: Sequence[Sequence[str]], *, left: tuple[int, ...] = (0,)) -> str:
    """Rows as columns, flush left in the columns named, flush right in the others."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = ["<" if column in left else ">" for column in range(len(widths))]
    return "\n".join(
        "  ".join(f"{c:{s}{w}}" for c, s, w in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    )


def anatomy_text(anatomy: Anatomy) -> str:
    """How concentrated the loss of each kind is, and who makes the gradient, gamma by gamma."""
    counted = ", ".join(f"{anatomy.counts[kind]:,} {kind}" for kind in KINDS)
    lines = [f"{anatomy.of}, {anatomy.images} images of {anatomy.split}: {counted}"]
    lines += ["", "Half of a kind's loss lies on this share of it, the hardest:"]
    head = ["gamma", *(f"{kind} %" for kind in KINDS), "gradient from foreground %"]
    rows = [head]
    for one in anatomy.shares:
        halves = [percent(one.half_share[kind]) for kind in KINDS]
        rows.append([f"{one.gamma:g}", *halves, percent(one.of_gradient("foreground"))])
    lines.append(aligned(rows))
    if len(anatomy.levels) > 1:
        lines += ["", "Share of the gradient by level, foreground + background, %:"]
        lines.append(aligned(_levels(anatomy)))
    return "\n".join(lines)


def percent(share: float) -> str:
    """A share 0..1 as percent with three digits that count, however small it is."""
    return "-" if share != share else f"{100 * share:.3g}"


def _levels(anatomy: Anatomy) -> list[list[str]]:
    rows = [["level", *(f"gamma {one.gamma:g}" for one in anatomy.shares)]]
    for level, name in enumerate(anatomy.levels):
        cells = [
            " + ".join(percent(one.of_gradient(kind, level)) for kind in KINDS)
            for one in anatomy.shares
        ]
        rows.append([name, *cells])
    return rows
