"""COCO's average recall with 100 detections an image, over overlaps from .5 to .95 and classes."""

from experiments.evaluation.coco import CocoResult
from experiments.evaluation.measures import Measure
from experiments.evaluation.tables import Dump
from experiments.evaluation.voc import VocResult


def average_recall(dump: Dump, voc: VocResult, coco: CocoResult) -> float:
    """A fraction; NaN without objects."""
    return coco.stats["ar100"]


MEASURE = Measure("COCO AR100", average_recall)
