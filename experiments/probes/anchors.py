"""Anchors for a data set, and how well the published ones fit it. Shapes: N boxes.

Sizes are (width, height) in pixels of the network input, as the fit brings them there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from datasets.dataset import Dataset
from datasets.errors import DataError
from detectors.yolov2.anchors import Priors, Sizes, average_iou, cluster
from detectors.yolov2.detector import ANCHOR_CELL, ANCHORS

Fit = Literal["stretch", "letterbox", "none"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """Anchors in pixels of the input, and average IoUs in [0, 1] on the boxes they came from."""

    priors: Priors
    published: dict[str, float]  # of Darknet's anchors on the same boxes, by name
    boxes: int
    images: int
    left_out: int  # difficult and crowd


def fit_anchors(
    splits: Mapping[str, Dataset],
    anchors: int,
    input_hw: tuple[int, int],
    fit: Fit,
    *,
    seed: int = 0,
    report: Callable[[str, int, int | None], None] = lambda what, done, total: None,
) -> Fitted:
    """Cluster the boxes of all `splits` by IoU; difficult objects and crowds are left out.

    Raises DataError where there are no boxes, or fewer distinct sizes than anchors.
    """
    sizes, left_out = [], 0
    for data in splits.values():
        found_N2, ignored = box_sizes(data, input_hw, fit)
        sizes.append(found_N2)
        left_out += ignored
    sizes_N2 = np.concatenate(sizes)
    if not len(sizes_N2):
        raise DataError(f"{', '.join(splits)}: no boxes to cluster ({left_out} are ignored)")
    try:
        priors = cluster(
            sizes_N2, anchors, seed=seed, report=lambda done, total: report("k-means", done, total)
        )
    except ValueError as error:
        raise DataError(str(error)) from error
    published = {
        name: average_iou(sizes_N2, np.array(shapes) * ANCHOR_CELL)
        for name, shapes in ANCHORS.items()
    }
    images = sum(len(data) for data in splits.values())
    return Fitted(priors, published, len(sizes_N2), images, left_out)


def box_sizes(data: Dataset, input_hw: tuple[int, int], fit: Fit) -> tuple[Sizes, int]:
    """Sizes [N, 2] of the boxes that train, in pixels of the input, and how many were left out.

    `stretch` is Darknet's own frame for anchors: sizes relative to the image, times the input's.
    """
    columns = data.columns
    sizes_I2 = data.sizes_I2.astype(np.float64)
    image_N = np.repeat(np.arange(len(data)), np.diff(columns["first"]))
    boxes_N4 = columns["boxes"].astype(np.float64)
    ratio_I2 = np.array(input_hw, np.float64) / sizes_I2  # (height, width)
    scale_I2 = {
        "stretch": ratio_I2,
        "letterbox": np.repeat(ratio_I2.min(1, keepdims=True), 2, axis=1),
        "none": np.ones_like(sizes_I2),
    }[fit]
    sides_N2 = (boxes_N4[:, 2:] - boxes_N4[:, :2]) * scale_I2[image_N][:, ::-1]
    ignored_N = columns["difficult"].astype(bool) | columns["crowd"].astype(bool)
    kept_N = ~ignored_N & (sides_N2 > 0).all(1)
    return sides_N2[kept_N], int(ignored_N.sum())


def anchor_lines(fitted: Fitted, unit: Literal["cells", "pixels"]) -> str:
    """What to paste below `detector:` in a recipe, and how good it is, as YAML with comments."""
    cell = ANCHOR_CELL if unit == "cells" else 1
    shapes = [[float(f"{side / cell:.4g}") for side in anchor] for anchor in fitted.priors.anchors]
    published = ", ".join(f"yolov2-{name} {share:.2%}" for name, share in fitted.published.items())
    return (
        f"# {fitted.boxes:,} boxes of {fitted.images:,} images; "
        f"{fitted.left_out:,} difficult or crowd left out\n"
        f"# average IoU {fitted.priors.average_iou:.2%} with these {len(shapes)} anchors; "
        f"with Darknet's 5 on the same boxes: {published}\n"
        f"anchors: {shapes}\n"
        f"anchor_unit: {unit}\n"
    )
