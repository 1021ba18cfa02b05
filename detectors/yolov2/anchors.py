"""Anchors from the boxes of a data set. Shapes: N boxes, A anchors; sizes are (width, height) in
any one unit.

Source: k-means with the distance 1 - IoU (Redmon & Farhadi 2016, arXiv:1612.08242, section 2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sizes = NDArray[np.float64]

RESTARTS = 4  # on VOC07+12, k = 5, the best of 4 starts and of 64 differ by .02 points of IoU
ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Priors:
    """Anchors by rising area, and the mean over all boxes of the IoU with the best anchor."""

    anchors: tuple[tuple[float, float], ...]
    average_iou: float


def overlaps(sizes_N2: Sizes, anchors_A2: Sizes) -> Sizes:
    """IoU [N, A] of boxes and anchors that share a centre."""
    common = np.minimum(sizes_N2[:, None, 0], anchors_A2[None, :, 0])
    common *= np.minimum(sizes_N2[:, None, 1], anchors_A2[None, :, 1])
    shares: Sizes = common / (sizes_N2.prod(1)[:, None] + anchors_A2.prod(1)[None] - common)
    return shares


def average_iou(sizes_N2: Sizes, anchors_A2: Sizes) -> float:
    """Mean over the boxes of the IoU with the best anchor, in [0, 1]."""
    return float(overlaps(_checked(sizes_N2), np.asarray(anchors_A2, float)).max(1).mean())


def cluster(
    sizes_N2: Sizes,
    anchors: int,
    *,
    seed: int = 0,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Priors:
    """The best of several k-means runs under 1 - IoU; the same answer for the same boxes and seed.

    A cluster's centre is its mean or its median width and height, whichever run ends with the
    higher average IoU. `report` is told rounds done, and the most there may be. Raises
    ValueError for fewer distinct sizes than anchors, or sides that are not > 0.
    """
    sizes_N2 = _checked(sizes_N2)
    distinct = np.unique(sizes_N2, axis=0)
    if not 1 <= anchors <= len(distinct):
        raise ValueError(
            f"anchors: must be 1 to {len(distinct)} (the distinct sizes), found {anchors}"
        )
    random = np.random.default_rng(seed)
    best, best_iou = distinct[:anchors], -1.0
    for start in range(RESTARTS):
        middle = np.mean if start % 2 else np.median
        before = start * ROUNDS
        found = _lloyd(
            sizes_N2,
            _spread(sizes_N2, anchors, random),
            middle,
            lambda done, before=before: report(before + done, RESTARTS * ROUNDS),  # type: ignore[misc]
        )
        reached = float(overlaps(sizes_N2, found).max(1).mean())
        if reached > best_iou:
            best, best_iou = found, reached
    report(RESTARTS * ROUNDS, RESTARTS * ROUNDS)
    best = best[np.argsort(best.prod(1), kind="stable")]
    return Priors(tuple((float(w), float(h)) for w, h in best), best_iou)


def _checked(sizes_N2: Sizes) -> Sizes:
    sizes = np.asarray(sizes_N2, float)
    if sizes.ndim != 2 or sizes.shape[1] != 2 or not len(sizes) or not (sizes > 0).all():
        raise ValueError(f"sizes: need rows of (width, height) > 0, found shape {sizes.shape}")
    return sizes


def _spread(sizes_N2: Sizes, anchors: int, random: np.random.Generator) -> Sizes:
    """k-means++ starts: each next one drawn with probability (1 - best IoU so far) squared."""
    chosen: Sizes = sizes_N2[random.integers(len(sizes_N2))][None]
    while len(chosen) < anchors:
        distance = (1 - overlaps(sizes_N2, chosen).max(1)) ** 2
        chosen = np.vstack(
            (chosen, sizes_N2[random.choice(len(sizes_N2), p=distance / distance.sum())])
        )
    return chosen


def _lloyd(
    sizes_N2: Sizes, anchors_A2: Sizes, middle: Callable[..., Any], report: Callable[[int], None]
) -> Sizes:
    nearest = np.full(len(sizes_N2), -1)
    for done in range(ROUNDS):
        report(done)
        before, nearest = nearest, overlaps(sizes_N2, anchors_A2).argmax(1)
        if (before == nearest).all():
            break
        anchors_A2 = anchors_A2.copy()
        for a in np.unique(nearest):
            anchors_A2[a] = middle(sizes_N2[nearest == a], axis=0)
    return anchors_A2
