"""Which detection finds which object. Letters: D detections, N objects, P pairs.

PASCAL VOC's rule lets every detection choose the object it overlaps most, whether or not that is
taken; so the choice of one detection does not depend on the others, and all of them are made at
once, without a loop.
"""

from dataclasses import dataclass

import numpy as np

from experiments.evaluation.tables import Bools, Floats, Ints

OVERLAPS: Floats = np.linspace(0.5, 0.95, 10)  # COCO's; the least that any protocol calls found
AREAS = (32.0**2, 96.0**2)  # square pixels: COCO's bounds of small and medium


@dataclass(frozen=True, slots=True)
class Pairs:
    """Detections and objects that share a group, say a class in an image; by detection."""

    detection_P: Ints
    object_P: Ints


def pair(group_D: Ints, group_N: Ints) -> Pairs:
    """All pairs of equal group; within a detection the objects keep their order."""
    order_N = np.argsort(group_N, kind="stable")
    sorted_N = group_N[order_N]
    first_D = np.searchsorted(sorted_N, group_D, side="left")
    count_D = np.searchsorted(sorted_N, group_D, side="right") - first_D
    detection_P = np.repeat(np.arange(len(group_D)), count_D)
    begin_D = np.cumsum(count_D) - count_D
    step_P = np.arange(len(detection_P)) - begin_D[detection_P]
    return Pairs(detection_P, order_N[first_D[detection_P] + step_P])


def overlaps(a_P4: Floats, b_P4: Floats, pixel: float = 0.0) -> Floats:
    """Intersection over union of boxes, row by row; `pixel` is added to every width and height.

    Boxes of which neither has an area have an overlap of 0.
    """
    inside_P = shared(a_P4, b_P4, pixel)
    union_P = areas(a_P4, pixel) + areas(b_P4, pixel) - inside_P
    overlap_P: Floats = np.zeros_like(inside_P)
    np.divide(inside_P, union_P, out=overlap_P, where=union_P > 0)
    return overlap_P


def shared(a_P4: Floats, b_P4: Floats, pixel: float = 0.0) -> Floats:
    """The areas that boxes share, row by row."""
    low_P2 = np.maximum(a_P4[:, :2], b_P4[:, :2])
    high_P2 = np.minimum(a_P4[:, 2:], b_P4[:, 2:])
    inside_P2 = np.maximum(high_P2 - low_P2 + pixel, 0.0)
    shared_P: Floats = inside_P2[:, 0] * inside_P2[:, 1]
    return shared_P


def areas(box_P4: Floats, pixel: float = 0.0) -> Floats:
    """Width times height with `pixel` added to both; a negative width or height counts as 0."""
    width_height_P2 = np.maximum(box_P4[:, 2:] - box_P4[:, :2] + pixel, 0.0)
    area_P: Floats = width_height_P2[:, 0] * width_height_P2[:, 1]
    return area_P


def best_object(pairs: Pairs, overlap_P: Floats, detections: int) -> tuple[Floats, Ints]:
    """Each detection's largest overlap and the (first) object it is with; (0, -1) without one."""
    best_D = np.zeros(detections)
    object_D = np.full(detections, -1, dtype=np.int64)
    if len(overlap_P) == 0:
        return best_D, object_D
    detection_P = pairs.detection_P
    begins = np.flatnonzero(np.r_[True, detection_P[1:] != detection_P[:-1]])
    best_D[detection_P[begins]] = np.maximum.reduceat(overlap_P, begins)
    is_best_P = (overlap_P == best_D[detection_P]) & (overlap_P > 0)
    where_P = np.flatnonzero(is_best_P)[::-1]  # the first of equals is written last
    object_D[detection_P[where_P]] = pairs.object_P[where_P]
    return best_D, object_D


def first_claims(object_D: Ints, claims_D: Bools) -> Bools:
    """Of detections in order of score, the first one to claim each object."""
    first_D = np.zeros(len(object_D), dtype=np.bool_)
    claiming_D = np.flatnonzero(claims_D)
    _, first = np.unique(object_D[claiming_D], return_index=True)
    first_D[claiming_D[first]] = True
    return first_D
