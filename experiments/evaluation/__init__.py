"""Detections and truth to numbers: every protocol from one dump, and if a difference is real.

collect.py       detector and data set -> tables     dump.py     tables <-> Parquet files
tables.py        the tables' columns and checks      match.py    which detection finds what
voc.py           VOC's average precisions            coco.py     COCO's, by either library
summary.py       the record's numbers, in one call   text.py     as tables in a terminal
interchange/     others' detections
bootstrap.py     two runs, over their images         errors.py   what kind of errors
significance.py  tests, intervals, Holm, power   referee.py  what may be said of arms
verdict.py       the words of it                 anatomy.py  where the loss is
"""

from experiments.evaluation.dump import (
    DetectionCollector,
    Tables,
    TruthCollector,
    read_dump,
    write_dump,
)
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
