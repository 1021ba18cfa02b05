"""Corners on a coarse grid, each box where the protocols judge it as before.

Rounded plainly, one box of a hundred crosses an overlap that COCO or VOC asks for, or one of COCO's
sizes. Such a one goes to the nearest place on the grid where it crosses none, so that every number
stays what it was, and not only as printed.

Letters: K detections, P pairs of a detection and an object of its class and image.
"""

from itertools import product

import numpy as np

from experiments.evaluation.match import AREAS, OVERLAPS, Pairs, areas, overlaps, pair, shared
from experiments.evaluation.tables import Bools, Dump, Floats, Ints

FAR = 2  # steps that a corner may be moved beside its rounding
APART = 1e-9  # from a bound, so that no evaluator's last bit decides


def on_grid(dump: Dump, step: float) -> Floats | None:
    """The dump's boxes with corners in whole steps of pixels, [K, 4]; None where a box has no place
    near its own in which it is judged as it was.
    """
    box_K4: Floats = np.round(dump.box_D4 / step) * step
    unlike_K = np.flatnonzero(~_judged_alike(dump, box_K4))
    moves = sorted(product(range(-FAR, FAR + 1), repeat=4), key=lambda move: np.square(move).sum())
    for move in moves:
        if not len(unlike_K):
            return box_K4
        rounded_K4 = np.round(dump.box_D4[unlike_K] / step) + np.array(move)
        alike_K = _judged_alike(dump.picked(unlike_K), rounded_K4 * step)
        box_K4[unlike_K[alike_K]] = rounded_K4[alike_K] * step
        unlike_K = unlike_K[~alike_K]
    return None if len(unlike_K) else box_K4


def _judged_alike(dump: Dump, box_K4: Floats) -> Bools:
    """Which of these boxes overlap the objects as the dump's own do, and have their size."""
    classes = len(dump.classes)
    pairs = pair(dump.image_D * classes + dump.label_D, dump.image_N * classes + dump.label_N)
    object_P4 = dump.box_N4[pairs.object_P]
    ours_P4, theirs_P4 = dump.box_D4[pairs.detection_P], box_K4[pairs.detection_P]
    before_P, now_P = overlaps(ours_P4, object_P4), overlaps(theirs_P4, object_P4)
    ignored_P = (dump.difficult_N | dump.crowd_N)[pairs.object_P]
    same_P = _in_one_step(before_P, now_P, OVERLAPS) & (
        ~ignored_P
        | _in_one_step(_inside(ours_P4, object_P4), _inside(theirs_P4, object_P4), OVERLAPS)
    )
    alike_K = _in_one_step(areas(dump.box_D4), areas(box_K4), np.array(AREAS))
    alike_K &= (box_K4[:, :2] <= box_K4[:, 2:]).all(axis=1)
    alike_K[pairs.detection_P[~same_P]] = False
    alike_K[_out_of_order(pairs, before_P, now_P)] = False
    return alike_K


def _in_one_step(before_P: Floats, now_P: Floats, bounds: Floats) -> Bools:
    """Whether both lie between the same bounds, the latter at some distance of them."""
    step_P = np.searchsorted(bounds, before_P, side="right")
    low_P, high_P = (np.searchsorted(bounds, now_P + by, side="right") for by in (-APART, APART))
    same_P: Bools = (low_P == step_P) & (high_P == step_P)
    return same_P


def _inside(a_P4: Floats, b_P4: Floats) -> Floats:
    """The part of each box that lies in the other, by which COCO forgives: 0 without an area."""
    area_P = areas(a_P4)
    part_P: Floats = np.divide(
        shared(a_P4, b_P4), area_P, out=np.zeros_like(area_P), where=area_P > 0
    )
    return part_P


def _out_of_order(pairs: Pairs, before_P: Floats, now_P: Floats) -> Ints:
    """Detections that overlap several objects by half, if now another one most."""
    several_P = np.flatnonzero(before_P >= OVERLAPS[0])
    order_P = several_P[np.lexsort((-before_P[several_P], pairs.detection_P[several_P]))]
    first_P, second_P = order_P[:-1], order_P[1:]
    one_P = pairs.detection_P[first_P] == pairs.detection_P[second_P]
    tie_P = before_P[first_P] == before_P[second_P]
    kept_P = np.where(tie_P, now_P[first_P] == now_P[second_P], now_P[first_P] > now_P[second_P])
    found: Ints = pairs.detection_P[first_P[one_P & ~kept_P]]
    return found
