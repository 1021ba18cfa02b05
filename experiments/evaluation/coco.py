"""COCO's average precision and recall from a dump, through hotcoco or pycocotools.

Letters: T 10 overlap thresholds, R 101 recall levels, K classes, A area ranges (all, small, medium,
large), M limits of detections an image (1, 10, 100). Values are fractions 0..1, NaN where COCO says
-1.
"""

import contextlib
import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from experiments.evaluation.tables import Bools, Dump, Floats

Backend = Literal["hotcoco", "pycocotools"]
Difficult = Literal["ignore", "count", "drop"]
STATS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large") + (
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)


@dataclass(frozen=True, slots=True)
class CocoResult:
    """The 12 numbers by name (`STATS`), and what they are means of."""

    stats: dict[str, float]
    precision_TRKAM: Floats
    recall_TKAM: Floats

    @property
    def ap_K(self) -> Floats:
        """AP of each class over all thresholds; NaN for a class without objects."""
        return _mean_per_class(self.precision_TRKAM[:, :, :, 0, -1])

    @property
    def ap50_K(self) -> Floats:
        """AP of each class at an overlap of 0.5."""
        return _mean_per_class(self.precision_TRKAM[:1, :, :, 0, -1])


def coco_average_precision(
    dump: Dump,
    *,
    backend: Backend = "hotcoco",
    difficult: Difficult = "ignore",
) -> CocoResult:
    """COCO's numbers for boxes.

    VOC's difficult objects are handed over as crowds when ignored: it is the only way that COCO's
    evaluator has to ignore an object, and how VOC is commonly converted; any number of detections
    inside it is then forgiven. Both backends give the same bits.
    """
    if backend == "hotcoco":
        evaluator = hotcoco_evaluator(dump, difficult)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summary_lines()
    else:
        evaluator = _with_pycocotools(dump, *_kept_and_crowd(dump, difficult))
    return CocoResult(
        stats=dict(zip(STATS, _defined(evaluator.stats).tolist(), strict=True)),
        precision_TRKAM=_defined(evaluator.eval["precision"]),
        recall_TKAM=_defined(evaluator.eval["recall"]),
    )


def matched(dump: Dump) -> tuple[Bools, Bools]:
    """Of each detection of a whole dump: whether it takes an object at any overlap and size, and
    whether it is passed over at all of them, since an ignored object holds it.
    """
    evaluator = hotcoco_evaluator(dump)
    evaluator.evaluate()
    ignored_N = np.r_[False, dump.crowd_N | dump.difficult_N]  # by id, from 1
    takes_D = np.zeros(len(dump.label_D), np.bool_)
    passed_D = np.zeros(len(dump.label_D), np.int64)
    sizes = len(evaluator.params.area_rng)
    for each in evaluator.eval_imgs:
        if each and each["dtIds"]:
            rows_R = np.array(each["dtIds"]) - 1
            object_TR = np.array(each["dtMatches"])
            takes_D[rows_R] |= (object_TR > 0).any(axis=0)
            passed_D[rows_R] += ignored_N[object_TR].all(axis=0)
    passed_all_D = passed_D == sizes
    return takes_D & ~passed_all_D, passed_all_D


def hotcoco_evaluator(dump: Dump, difficult: Difficult = "ignore") -> Any:
    """hotcoco's evaluator for boxes, loaded; image i and label k have the ids i + 1 and k + 1."""
    from hotcoco import COCO, COCOeval

    kept_N, crowd_N = _kept_and_crowd(dump, difficult)
    truth = COCO.from_arrays(
        _images(dump),
        _categories(dump),
        dump.image_N[kept_N] + 1,
        dump.label_N[kept_N] + 1,
        _xywh(dump.box_N4[kept_N]),
        area=dump.area_N[kept_N],
        iscrowd=crowd_N[kept_N],
    )
    return COCOeval(truth, truth.load_res(_detection_rows(dump)), "bbox")


def _kept_and_crowd(dump: Dump, difficult: Difficult) -> tuple[Bools, Bools]:
    kept_N = ~dump.difficult_N if difficult == "drop" else np.ones(len(dump.label_N), dtype=bool)
    return kept_N, dump.crowd_N | (dump.difficult_N & (difficult == "ignore"))


def _with_pycocotools(dump: Dump, kept_N: Bools, crowd_N: Bools) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    box_N4 = _xywh(dump.box_N4)
    annotations = [
        {
            "id": int(row) + 1,
            "image_id": int(dump.image_N[row]) + 1,
            "category_id": int(dump.label_N[row]) + 1,
            "bbox": box_N4[row].tolist(),
            "area": float(dump.area_N[row]),
            "iscrowd": int(crowd_N[row]),
        }
        for row in np.flatnonzero(kept_N)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": _images(dump),
            "categories": _categories(dump),
            "annotations": annotations,
        }
        truth.createIndex()
        rows = _detection_rows(dump)
        found = truth.loadRes(rows) if len(rows) else COCO()
        evaluator = COCOeval(truth, found, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def _images(dump: Dump) -> list[dict[str, Any]]:
    return [
        {"id": i, "file_name": name, "width": int(width), "height": int(height)}
        for i, (name, (width, height)) in enumerate(
            zip(dump.image_ids, dump.size_I2, strict=True), start=1
        )
    ]


def _categories(dump: Dump) -> list[dict[str, Any]]:
    return [{"id": i, "name": name} for i, name in enumerate(dump.classes, start=1)]


def _detection_rows(dump: Dump) -> Floats:
    columns = (dump.image_D + 1, _xywh(dump.box_D4), dump.score_D, dump.label_D + 1)
    rows = np.column_stack(columns).astype(np.float64)
    return rows if dump.left_D5 is None else _with_left_out(dump, rows)


def _with_left_out(dump: Dump, row_D7: Floats) -> Floats:
    """The rows with one for each false detection that a compact dump counts: it is the only way
    that COCO's evaluator has to know of them.

    They lie outside of the images, in a size of their own, and in images that have not reached 100
    of the class. Scores become ranks; COCO looks at nothing else of them.
    """
    assert dump.left_D5 is not None
    repeat_D4 = np.column_stack((dump.left_D5[:, :3], 1 - dump.left_D5[:, 4]))
    kind_R = np.repeat(np.tile([0, 1, 2, 3], len(row_D7)), repeat_D4.ravel())
    row_R7 = np.repeat(row_D7, repeat_D4.sum(axis=1), axis=0)
    left_R = kind_R < 3
    for label in np.unique(row_R7[left_R, 6]):
        rows = np.flatnonzero(left_R & (row_R7[:, 6] == label))
        here = row_R7[~left_R & (row_R7[:, 6] == label), 0].astype(np.int64) - 1
        free_I = np.maximum(0, 100 - np.bincount(here, minlength=len(dump.image_ids)))
        row_R7[rows, 0] = np.resize(np.repeat(np.arange(len(free_I)), free_I), len(rows)) + 1
    side_R = np.array([16.0, 64.0, 128.0])[kind_R[left_R]]
    row_R7[left_R, 1:5] = np.column_stack((-2 * side_R, -2 * side_R, side_R, side_R))
    row_R7[:, 5] = np.linspace(1.0, 0.0, len(row_R7))
    return row_R7


def _xywh(box_R4: Floats) -> Floats:
    return np.column_stack((box_R4[:, :2], box_R4[:, 2:] - box_R4[:, :2]))


def _defined(values: Any) -> Floats:
    array = np.array(values, dtype=np.float64)
    array[array == -1] = np.nan
    return array


def _mean_per_class(precision_TRK: Floats) -> Floats:
    flat = precision_TRK.reshape(-1, precision_TRK.shape[-1])
    defined = ~np.isnan(flat).all(0)
    mean_K = np.full(flat.shape[1], np.nan)
    mean_K[defined] = np.nanmean(flat[:, defined], axis=0)
    return mean_K
