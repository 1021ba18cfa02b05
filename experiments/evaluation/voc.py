"""Average precision as PASCAL VOC defines it, in both forms, and as its re-implementations bend it.

Letters: D detections, N objects, K classes, T points of one class's curve. Everything is a fraction
0..1. 11-point: the mean of the best precision at recall >= 0, 0.1 .. 1 (VOC 2007). Area: the area
below the curve made monotone (VOC 2010 and later). Source: Everingham et al. 2010, section 4.2, and
the devkit's VOCevaldet.m.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from experiments.errors import nearest
from experiments.evaluation.match import OVERLAPS, best_object, first_claims, overlaps, pair
from experiments.evaluation.tables import Bools, Dump, EvaluationError, Floats, Ints

# As the devkit's 0:0.1:1; its 0.3 is 0.30000000000000004.
RECALL_LEVELS: Floats = np.arange(11.0) * 0.1
# Of curves. linspace has .7000000000000001, which 7 of 10 hits would not reach.
RECALLS: Floats = np.arange(101.0) / 100


@dataclass(frozen=True, slots=True)
class VocRules:
    """What evaluators disagree about.

    strict: an overlap of exactly `iou` is a miss. plus_one: a box's width counts both end pixels of
    VOC's 1-based corners, which is x2 - x1 as stored here; False drops that pixel, as tools do that
    subtract VOC's corners plainly. difficult: objects so marked are ignored (neither rewarded nor
    punished), counted like others, or dropped (finding them is punished). COCO's crowds are always
    ignored. The rest is applied to detections in this order: rounding (to decimals of 1-based
    corners), score_threshold (scores below it go), top_k (of an image, over all classes).
    """

    iou: float = 0.5
    strict: bool = False
    plus_one: bool = True
    difficult: Literal["ignore", "count", "drop"] = "ignore"
    score_decimals: int | None = None
    box_decimals: int | None = None
    score_threshold: float | None = None
    top_k: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.iou <= 1:
            raise ValueError(f"iou: must be in (0, 1], found {self.iou}")
        if self.difficult not in ("ignore", "count", "drop"):
            raise ValueError(f"difficult: ignore, count or drop, found {self.difficult!r}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k: must be >= 1, found {self.top_k}")


PROTOCOLS: dict[str, VocRules] = {
    # VOCevaldet.m: an overlap of exactly .5 is a hit
    "devkit": VocRules(),
    # pascal_voc_evaluation.py: writes scores with 3 decimals and corners with 1, reads them
    # back, compares by >
    "detectron2": VocRules(strict=True, score_decimals=3, box_decimals=1),
    # eval_map with use_legacy_coordinate, as its VOCMetric calls it: the devkit's rules
    "mmdet": VocRules(),
}


def rules_of(protocol: str, **changes: Any) -> VocRules:
    """A protocol's rules with some of them changed; None changes nothing.

    Raises EvaluationError for an unknown protocol or a value that no rule can have.
    """
    if protocol not in PROTOCOLS:
        known = (*PROTOCOLS, "all")
        raise EvaluationError(f"--protocol: found {protocol!r}{nearest(protocol, known)}")
    given = {key: value for key, value in changes.items() if value is not None}
    try:
        return replace(PROTOCOLS[protocol], **given)
    except ValueError as error:
        raise EvaluationError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Ranked:
    """Detections by class, best score first, with what each is worth at one overlap threshold."""

    class_begins: Ints  # K + 1 positions
    detection_D: Ints  # row in the dump
    hit_D: Bools
    ignored_D: Bools  # found an ignored object: not on the curve
    object_D: Ints  # row of the object it overlaps most, or -1
    overlap_D: Floats
    objects_K: Ints  # that count
    ignored_K: Ints  # objects that do not
    counted_N: Bools  # by row in the dump
    before_D: Ints  # false detections of the class that stand before it and are not here

    def of_class(self, label: int) -> slice:
        """The rows of one class."""
        return slice(int(self.class_begins[label]), int(self.class_begins[label + 1]))


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision and recall after each detection of one class that is not ignored."""

    recall_T: Floats
    precision_T: Floats
    score_T: Floats


@dataclass(frozen=True, slots=True)
class VocResult:
    """Average precision of each class in both forms; NaN for a class without objects."""

    ap07_K: Floats
    ap_area_K: Floats
    objects_K: Ints
    ignored_K: Ints
    detections_K: Ints

    @property
    def map07(self) -> float:
        """Mean over the classes that have objects; NaN if none has."""
        return mean_defined(self.ap07_K)

    @property
    def map_area(self) -> float:
        """Mean over the classes that have objects; NaN if none has."""
        return mean_defined(self.ap_area_K)


def mean_defined(values_K: Floats) -> float:
    """Mean of what is not NaN; NaN if all is."""
    defined = values_K[~np.isnan(values_K)]
    return float(defined.mean()) if len(defined) else float("nan")


def voc_average_precision(dump: Dump, rules: VocRules = PROTOCOLS["devkit"]) -> VocResult:
    """Average precision of every class under `rules`."""
    return summarise(rank(dump, rules))


def rank(dump: Dump, rules: VocRules) -> Ranked:
    """Order detections by class and score (equal scores keep the dump's order) and judge each."""
    asked = np.isclose(OVERLAPS, rules.iou).any()
    if not asked or rules != replace(PROTOCOLS["devkit"], iou=rules.iou):
        dump.require_whole("other rules than VOC's devkit at COCO's overlaps")
    score_D, box_D4 = _rounded(dump, rules)
    kept = _kept(dump, rules, score_D)
    there_N = ~dump.difficult_N if rules.difficult == "drop" else np.ones_like(dump.difficult_N)
    ignored_N = dump.crowd_N | (dump.difficult_N & (rules.difficult == "ignore"))
    best_D, object_D = _nearest(dump, rules, box_D4, kept, np.flatnonzero(there_N))
    order = np.lexsort((-score_D[kept], dump.label_D[kept]))
    kept, best_D, object_D = kept[order], best_D[order], object_D[order]
    near_D = (object_D >= 0) & (best_D > rules.iou if rules.strict else best_D >= rules.iou)
    ignored_D = near_D & np.r_[ignored_N, False][object_D]
    classes = len(dump.classes)
    return Ranked(
        class_begins=np.searchsorted(dump.label_D[kept], np.arange(classes + 1)),
        detection_D=kept,
        hit_D=first_claims(object_D, near_D & ~ignored_D),
        ignored_D=ignored_D,
        object_D=object_D,
        overlap_D=best_D,
        objects_K=np.bincount(dump.label_N[there_N & ~ignored_N], minlength=classes),
        ignored_K=np.bincount(dump.label_N[there_N & ignored_N], minlength=classes),
        counted_N=there_N & ~ignored_N,
        before_D=_left_before(dump, kept),
    )


def _left_before(dump: Dump, ranked: Ints) -> Ints:
    """How many false detections that are not here stand before each of `ranked`, in its class."""
    if dump.left_D5 is None:
        return np.zeros(len(ranked), np.int64)
    total_D = np.cumsum(dump.left_D5[:, :4].sum(axis=1))
    first_D = np.searchsorted(dump.label_D, dump.label_D[ranked])  # of its class, rows by class
    before_D: Ints = total_D[ranked] - np.r_[0, total_D][first_D]
    return before_D


def _nearest(
    dump: Dump, rules: VocRules, box_D4: Floats, kept: Ints, objects: Ints
) -> tuple[Floats, Ints]:
    """Each kept detection's largest overlap with an object of its class and image, and its row."""
    classes = len(dump.classes)
    pairs = pair(  # in the dump's order, where one image's detections lie together: 3 times faster
        dump.image_D[kept] * classes + dump.label_D[kept],
        dump.image_N[objects] * classes + dump.label_N[objects],
    )
    box_P4 = box_D4[kept[pairs.detection_P]]
    object_P4 = dump.box_N4[objects[pairs.object_P]]
    overlap_P = overlaps(box_P4, object_P4, 0.0 if rules.plus_one else -1.0)
    best_D, choice_D = best_object(pairs, overlap_P, len(kept))
    return best_D, np.where(choice_D >= 0, np.r_[objects, -1][choice_D], -1)


def summarise(ranked: Ranked) -> VocResult:
    """Both average precisions of every class from judged detections."""
    classes = len(ranked.objects_K)
    ap07_K, ap_area_K = np.full(classes, np.nan), np.full(classes, np.nan)
    for label in np.flatnonzero(ranked.objects_K).tolist():
        recall_T, precision_T = _recall_precision(ranked, label)
        ap07_K[label] = eleven_point(recall_T, precision_T)
        ap_area_K[label] = area(recall_T, precision_T)
    left_K = [
        int(ranked.before_D[ranked.of_class(label)].max(initial=0)) for label in range(classes)
    ]
    found_K = np.diff(ranked.class_begins) + np.array(left_K, np.int64)
    return VocResult(ap07_K, ap_area_K, ranked.objects_K, ranked.ignored_K, found_K)


def curve(dump: Dump, ranked: Ranked, label: int) -> Curve:
    """The precision-recall curve of one class; recall is NaN where the class has no objects."""
    rows = ranked.of_class(label)
    shown = ranked.detection_D[rows][~ranked.ignored_D[rows]]
    return Curve(*_recall_precision(ranked, label), dump.score_D[shown])


def precision_curves(dump: Dump, ranked: Ranked | None = None) -> dict[str, Floats]:
    """The best precision at each of RECALLS or more, by class; classes without objects are left
    out. The one curve that W&B, report and diagnosis show. `ranked` is what `rank` gave before, by
    the devkit's rules.
    """
    ranked = ranked or rank(dump, PROTOCOLS["devkit"])
    return {
        dump.classes[label]: best_precision(*_recall_precision(ranked, label), RECALLS)
        for label in np.flatnonzero(ranked.objects_K).tolist()
    }


def best_precision(recall_T: Floats, precision_T: Floats, recalls_R: Floats) -> Floats:
    """The best precision at each of these recalls or more, 0 beyond the highest that is reached."""
    best_T = np.r_[np.maximum.accumulate(precision_T[::-1])[::-1], 0.0]
    found_R: Floats = best_T[np.searchsorted(recall_T, recalls_R, side="left")]
    return found_R


def eleven_point(recall_T: Floats, precision_T: Floats) -> float:
    """VOC 2007: mean over 11 recall levels of the best precision at that recall or more."""
    return float(best_precision(recall_T, precision_T, RECALL_LEVELS).sum() / 11)


def area(recall_T: Floats, precision_T: Floats) -> float:
    """VOC 2010: area below the curve of the best precision at each recall or more."""
    best_T = np.maximum.accumulate(precision_T[::-1])[::-1]
    return float((np.diff(recall_T, prepend=0.0) * best_T).sum())


def _recall_precision(ranked: Ranked, label: int) -> tuple[Floats, Floats]:
    rows = ranked.of_class(label)
    shown_T = ~ranked.ignored_D[rows]
    hit_T, before_T = ranked.hit_D[rows][shown_T], ranked.before_D[rows][shown_T]
    hits_T = np.cumsum(hit_T)
    count = ranked.objects_K[label]
    recall_T = hits_T / count if count else np.full(len(hit_T), np.nan)
    return recall_T, hits_T / (np.arange(1, len(hit_T) + 1) + before_T)


def _rounded(dump: Dump, rules: VocRules) -> tuple[Floats, Floats]:
    score_D, box_D4 = dump.score_D, dump.box_D4
    if rules.score_decimals is not None:
        score_D = np.round(score_D, rules.score_decimals)
    if rules.box_decimals is not None:
        one_based = np.array([1.0, 1.0, 0.0, 0.0])
        box_D4 = np.round(box_D4 + one_based, rules.box_decimals) - one_based
    return score_D, box_D4


def _kept(dump: Dump, rules: VocRules, score_D: Floats) -> Ints:
    kept = np.arange(len(score_D))
    if rules.score_threshold is not None:
        kept = kept[score_D >= rules.score_threshold]
    if rules.top_k is None:
        return kept
    kept = kept[np.lexsort((-score_D[kept], dump.image_D[kept]))]
    image_R = dump.image_D[kept]
    place_R = np.arange(len(kept)) - np.searchsorted(image_R, image_R)
    return np.sort(kept[place_R < rules.top_k])
