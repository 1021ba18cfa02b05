"""Other people's numbers: what was published, for which setting, and how.

Values are percent as printed in the source. A setting is what the source varied, as keys of our
recorded configuration; the rest of its recipe is told in `setup`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Value(NamedTuple):
    """One published result. `settings`: dotted keys of the recorded configuration and the value
    each must have; `gamma` and `alpha` are those of an arm, whichever loss it trained with.
    """

    words: str
    settings: Mapping[str, Any]
    percent: float


class Study(NamedTuple):
    """One published table, its values with `digits` decimals. The first value is its baseline."""

    title: str
    source: str
    detector: str
    metric: str  # the record's key
    setup: str
    values: tuple[Value, ...]
    digits: int = 1


_FOCAL = "Lin et al. 2017, arXiv:1708.02002, table "
_MINIVAL = "RetinaNet, ResNet-{}-FPN, 600 px, COCO trainval35k, measured on minival, one run"
_BEST_FOCAL = {"loss.name": "focal", "gamma": 2.0, "alpha": 0.25}
_THREE = (0.5, 1.0, 2.0)  # ratios
_MARVIS = "YOLOv2, Darknet-19, {} px, VOC07+12, focal loss on the class term only, one run"


def _alpha(alpha: float, percent: float) -> Value:
    return Value(f"α {alpha:g}", {"gamma": 0.0, "alpha": alpha}, percent)


def _gamma(gamma: float, alpha: float, percent: float) -> Value:
    return Value(f"γ {gamma:g}, α {alpha:g}", {"gamma": gamma, "alpha": alpha}, percent)


def _anchors(scales: int, ratios: tuple[float, ...], percent: float) -> Value:
    words = f"{scales} scale{'s' if scales > 1 else ''} × {len(ratios)} ratio"
    keys = {"detector.anchors.octave_scales": scales, "detector.anchors.ratios": ratios}
    return Value(words + ("s" if len(ratios) > 1 else ""), _BEST_FOCAL | keys, percent)


def _mined(words: str, negatives_per_positive: float | None, percent: float) -> Value:
    keys = {"loss.name": "ohem_cross_entropy", "loss.keep": 128}
    return Value(words, keys | {"loss.negatives_per_positive": negatives_per_positive}, percent)


def _depth(depth: int, *percents: float) -> tuple[Value, ...]:
    """A network's results at 400, 500 .. 800 px of the shorter side."""
    arch = {"detector.backbone.arch": f"resnet{depth}"}
    return tuple(
        Value(f"R{depth}, {short} px", _BEST_FOCAL | arch | {"input.fit.short": short}, percent)
        for short, percent in zip(range(400, 900, 100), percents, strict=True)
    )


def _gammas(*percents: float) -> tuple[Value, ...]:
    """Results at gamma 0, 1, 2 .. without an alpha: any of ours fits."""
    return tuple(
        Value(f"γ {gamma}", {"gamma": float(gamma)}, percent)
        for gamma, percent in enumerate(percents)
    )


def _side(side: int, percent: float) -> Value:
    keys = {"gamma": 0.0, "input.fit.height": side, "input.fit.width": side}
    return Value(f"{side} px", keys, percent)


STUDIES: dict[str, Study] = {
    "focal-1a": Study(
        "Cross-entropy weighted by α",
        _FOCAL + "1a",
        "retinanet",
        "coco_ap",
        _MINIVAL.format(50),
        (
            _alpha(0.5, 30.2),
            _alpha(0.1, 0.0),
            _alpha(0.25, 10.8),
            _alpha(0.75, 31.1),
            _alpha(0.9, 30.8),
            _alpha(0.99, 28.7),
            _alpha(0.999, 25.1),
        ),
    ),
    "focal-1b": Study(
        "Focal loss over γ, each with its best α",
        _FOCAL + "1b",
        "retinanet",
        "coco_ap",
        _MINIVAL.format(50),
        (
            _gamma(0.0, 0.75, 31.1),
            _gamma(0.1, 0.75, 31.4),
            _gamma(0.2, 0.75, 31.9),
            _gamma(0.5, 0.50, 32.9),
            _gamma(1.0, 0.25, 33.7),
            _gamma(2.0, 0.25, 34.0),
            _gamma(5.0, 0.25, 32.2),
        ),
    ),
    "focal-1c": Study(
        "Anchors of a cell: scales × ratios",
        _FOCAL + "1c",
        "retinanet",
        "coco_ap",
        _MINIVAL.format(50) + ", focal loss",
        (
            _anchors(1, (1.0,), 30.3),
            _anchors(2, (1.0,), 31.9),
            _anchors(3, (1.0,), 31.8),
            _anchors(1, _THREE, 32.4),
            _anchors(2, _THREE, 34.2),
            _anchors(3, _THREE, 34.0),
            _anchors(4, _THREE, 33.8),
        ),
    ),
    "focal-1d": Study(
        "Online hard example mining against focal loss",
        _FOCAL + "1d, the best row of each kind",
        "retinanet",
        "coco_ap",
        _MINIVAL.format(101) + ", mining with non-maximum suppression at 0.5",
        (
            _mined("OHEM, 128 examples", None, 32.8),
            _mined("OHEM 1:3, 128 examples", 3.0, 31.1),
            Value("focal loss, γ 2", _BEST_FOCAL, 36.0),
        ),
    ),
    "focal-1e": Study(
        "Depth of the network and shorter side of the image",
        _FOCAL + "1e",
        "retinanet",
        "coco_ap",
        "RetinaNet, ResNet-50/101-FPN, focal loss, COCO trainval35k, measured on test-dev, one run",
        _depth(50, 30.5, 32.5, 34.3, 35.1, 35.7) + _depth(101, 31.9, 34.4, 36.0, 37.1, 37.8),
    ),
    "yolov2-gamma": Study(
        "Softmax focal loss over γ in YOLOv2, at 416 px",
        "marvis/pytorch-yolo2, README",
        "yolov2",
        "voc07_map",
        _MARVIS.format(416),
        _gammas(73.05, 73.63, 74.08, 73.73, 73.53),
        digits=2,
    ),
    "yolov2-gamma-544": Study(
        "Softmax focal loss over γ in YOLOv2, at 544 px",
        "marvis/pytorch-yolo2, README",
        "yolov2",
        "voc07_map",
        _MARVIS.format(544),
        _gammas(74.69, 75.26, 75.49, 75.20, 74.95),
        digits=2,
    ),
    "yolo9000-3": Study(
        "YOLOv2 over the size of its input",
        "Redmon and Farhadi 2017, arXiv:1612.08242, table 3",
        "yolov2",
        "voc07_map",
        "YOLOv2, Darknet-19, VOC07+12, one network of multi-scale training measured at each size",
        (
            _side(288, 69.0),
            _side(352, 73.7),
            _side(416, 76.8),
            _side(480, 77.8),
            _side(544, 78.6),
        ),
    ),
}
