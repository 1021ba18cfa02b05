"""What kind of errors a detector makes, and how far its scores can be believed.

Error shares, calibration and confusion are hotcoco's, from COCO's matching at an overlap of .5
(each detection takes the best object still free, at most 100 detections an image). Curves are
VOC's. Difficult objects are ignored. Fractions 0..1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.evaluation.coco import hotcoco_evaluator
from experiments.evaluation.tables import Dump, no_formula
from experiments.evaluation.voc import (
    PROTOCOLS,
    Curve,
    Ranked,
    VocResult,
    VocRules,
    curve,
    rank,
    summarise,
)

ERRORS = {
    "Cls": ("class", "the place is right, the class is wrong"),
    "Loc": ("location", "the class is right, the overlap is between .1 and .5"),
    "Both": ("both", "wrong class and an overlap between .1 and .5"),
    "Dupe": ("duplicate", "another detection has found the object with a better score"),
    "Bkg": ("background", "no object there: no overlap above .1"),
    "Miss": ("missed", "an object that no detection, right or mistaken, accounts for"),
}


@dataclass(frozen=True, slots=True)
class ErrorShares:
    """Errors by kind (names of `ERRORS`): how many, and the AP50 that mending them all would add.

    The gains are each against the detections as they are; they don't add up.
    Source: Bolya et al. 2020 (TIDE, arXiv:2008.08115).
    """

    ap50: float
    counts: dict[str, int]
    gains: dict[str, float]


@dataclass(frozen=True, slots=True)
class ScoreBin:
    """Detections of one range of scores: what they promised and how many of them were right."""

    low: float
    high: float
    mean_score: float
    precision: float
    detections: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error: the mean gap between score and precision over all detections."""

    expected_error: float
    largest_error: float
    bins: tuple[ScoreBin, ...]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Objects by class (rows) and what they were taken for (columns).

    The last row holds detections of nothing, the last column objects that were not found.
    """

    classes: tuple[str, ...]
    matrix: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cut:
    """mAP when detections below `score` are left out, and how many are left."""

    score: float
    map07: float
    map_area: float
    detections: int


def error_shares(dump: Dump, matched: Any = None) -> ErrorShares:
    """Count errors by kind, and what each kind costs; `matched` is what `match_all` gave before."""
    found: dict[str, Any] = (matched or match_all(dump)).tide_errors(pos_thr=0.5, bg_thr=0.1)
    return ErrorShares(
        ap50=_defined(found["ap_base"]),
        counts={name: int(found["counts"][key]) for key, (name, _) in ERRORS.items()},
        gains={name: _defined(found["delta_ap"][key]) for key, (name, _) in ERRORS.items()},
    )


def calibration(dump: Dump, matched: Any = None, *, bins: int = 10) -> Calibration:
    """Compare scores with the share of right detections, in bins of equal width."""
    found: dict[str, Any] = (matched or match_all(dump)).calibration(n_bins=bins, iou_threshold=0.5)
    return Calibration(
        expected_error=float(found["ece"]),
        largest_error=float(found["mce"]),
        bins=tuple(
            ScoreBin(
                low=row["bin_lower"],
                high=row["bin_upper"],
                mean_score=row["avg_confidence"],
                precision=row["avg_accuracy"],
                detections=row["count"],
            )
            for row in found["bins"]
        ),
    )


def confusion(dump: Dump, matched: Any = None, *, least_score: float = 0.3) -> Confusion:
    """Match detections of at least `least_score` with objects of any class and count the pairs."""
    dump.require_whole("the confusion of classes")
    found: dict[str, Any] = (matched or hotcoco_evaluator(dump)).confusion_matrix(
        iou_thr=0.5, min_score=least_score
    )
    return Confusion(dump.classes, found["matrix"].astype(np.int64))


def best_cut(dump: Dump, ranked: Ranked | None = None) -> float:
    """The score at which F1 over all classes is highest: each run at its own best working point,
    for a larger gamma lowers scores. 0.5 where there is nothing to find or nothing found. `ranked`
    is what `rank` gave before, by the devkit's rules.
    """
    dump.require_whole("the best cut on scores")
    ranked = ranked or rank(dump, PROTOCOLS["devkit"])
    shown_D = ~ranked.ignored_D
    score_D = dump.score_D[ranked.detection_D[shown_D]]
    wanted = int(ranked.objects_K.sum())
    if not len(score_D) or not wanted:
        return 0.5
    order = np.argsort(-score_D, kind="stable")
    hits_D = np.cumsum(ranked.hit_D[shown_D][order])
    f1_D = 2 * hits_D / (np.arange(1, len(order) + 1) + wanted)
    last_D = np.append(np.diff(score_D[order]) != 0, True)  # equal scores are kept together
    return float(score_D[order][np.argmax(np.where(last_D, f1_D, -1.0))])


def curves(dump: Dump, rules: VocRules = PROTOCOLS["devkit"]) -> dict[str, Curve]:
    """The precision-recall curve of each class that has objects."""
    ranked = rank(dump, rules)
    labels = np.flatnonzero(ranked.objects_K).tolist()
    return {dump.classes[label]: curve(dump, ranked, label) for label in labels}


def curves_csv(dump: Dump, rules: VocRules = PROTOCOLS["devkit"]) -> str:
    """One line a class and point of its curve: score, recall, precision."""
    parts = [
        pd.DataFrame(
            {
                "class": no_formula(name),
                "score": one.score_T,
                "recall": one.recall_T,
                "precision": one.precision_T,
            }
        )
        for name, one in curves(dump, rules).items()
    ]
    if not parts:
        return ""
    text: str = pd.concat(parts).to_csv(index=False, float_format="%.6f")
    return text


def cuts(dump: Dump, scores: Sequence[float], rules: VocRules = PROTOCOLS["devkit"]) -> list[Cut]:
    """What a cut on the score costs: large gammas lower scores, so one cut is not fair to all."""
    results = [summarise(rank(dump, replace(rules, score_threshold=score))) for score in scores]
    return [
        Cut(score, result.map07, result.map_area, _total(result))
        for score, result in zip(scores, results, strict=True)
    ]


def _total(result: VocResult) -> int:
    return int(result.detections_K.sum())


def match_all(dump: Dump) -> Any:
    """hotcoco's evaluator with every detection matched, for those who ask it more than once."""
    dump.require_whole("what each detection is worth")
    evaluator = hotcoco_evaluator(dump)
    evaluator.evaluate()
    return evaluator


def _defined(value: Any) -> float:
    number = float(value)
    return float("nan") if number == -1 else number
