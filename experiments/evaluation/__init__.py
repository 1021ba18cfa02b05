"""Detections and truth to numbers: every protocol from one dump, and if a difference is real.

collect.py   detector and data set -> tables        dump.py      tables <-> Parquet files
tables.py    the tables' columns and checks         match.py     which detection finds which object
voc.py       VOC's average precisions               coco.py      COCO's, by hotcoco or pycocotools
summary.py   the numbers of the record in one call
"""

from experiments.evaluation.collect import DetectionCollector, TruthCollector
from experiments.evaluation.dump import Tables, read_dump, write_dump
from experiments.evaluation.summary import evaluate, evaluate_dump
from experiments.evaluation.tables import Dump, EvaluationError, check
from experiments.evaluation.voc import PROTOCOLS, VocRules

__all__ = [
    "PROTOCOLS",
    "DetectionCollector",
    "Dump",
    "EvaluationError",
    "Tables",
    "TruthCollector",
    "VocRules",
    "check",
    "evaluate",
    "evaluate_dump",
    "read_dump",
    "write_dump",
]
