"""One run's detections, diagnosed: precision against recall, kinds of errors, what was taken for
what, believable scores.

Everything is a fraction 0..1 at an overlap of .5. Numbers are rounded to DIGITS when they are made,
so that what is stored and what is computed again are the same.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.evaluation.dump import read_dump
from experiments.evaluation.mistakes import (
    best_cut,
    calibration,
    confusion,
    error_shares,
    match_all,
)
from experiments.evaluation.tables import Dump, EvaluationError, Floats, check
from experiments.evaluation.voc import PROTOCOLS, precision_curves, rank
from experiments.record.files import write_text

KEPT = "diagnosis.json"  # of a run whose detections are not all kept, beside its record
FORMAT = 2  # of the stored form; a change of any number below is a new one
DIGITS = 5
Number = float | None  # None: undefined, as a gain is without objects


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The numbers of one run.

    precision: class -> the best precision at each of `voc.RECALLS` or more (0 beyond the highest).
    errors, gains: kind of error (`errors.ERRORS`) -> count, and the AP50 that mending it would add.
    bins: detections by score in equal bins: (mean score, share that is right, detections).
    confusion: `mistakes.Confusion` of `classes` with detections of at least the score `cut`.
    """

    precision: dict[str, tuple[float, ...]]
    ap50: Number
    errors: dict[str, int]
    gains: dict[str, Number]
    calibration_error: float
    bins: tuple[tuple[float, float, int], ...]
    classes: tuple[str, ...]
    cut: float
    confusion: tuple[tuple[int, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    def mean_precision(self) -> Floats:
        """The curve of all classes: the mean of theirs at each recall, as in mAP."""
        curves = [self.precision[name] for name in sorted(self.precision)]
        mean: Floats = np.mean(curves, axis=0)
        return mean


def diagnose(dump: Dump) -> Diagnosis:
    """Diagnose a checked dump."""
    matched, ranked = match_all(dump), rank(dump, PROTOCOLS["devkit"])
    cut = best_cut(dump, ranked)
    shares, scores = error_shares(dump, matched), calibration(dump, matched)
    return Diagnosis(
        precision={
            name: tuple(precision_R.round(DIGITS).tolist())
            for name, precision_R in precision_curves(dump, ranked).items()
        },
        ap50=_number(shares.ap50),
        errors=dict(shares.counts),
        gains={name: _number(gain) for name, gain in shares.gains.items()},
        calibration_error=round(scores.expected_error, DIGITS),
        bins=tuple(
            (round(row.mean_score, DIGITS), round(row.precision, DIGITS), row.detections)
            for row in scores.bins
        ),
        classes=dump.classes,
        cut=round(cut, DIGITS),
        confusion=tuple(map(tuple, confusion(dump, matched, least_score=cut).matrix.tolist())),
    )


def diagnose_run(folder: Path) -> Diagnosis:
    """Diagnose the dump in a run's folder; raises EvaluationError where it cannot be read."""
    tables = read_dump(folder)
    return diagnose(check(tables.detections, tables.truth, tables.images, tables.classes))


def write_diagnosis(folder: Path, found: Diagnosis) -> Path:
    """Keep a diagnosis beside a record whose detections do not give it again."""
    write_text(folder / KEPT, json.dumps({"format": FORMAT, **found.to_json()}) + "\n")
    return folder / KEPT


def kept_diagnosis(path: Path) -> Diagnosis:
    """What `write_diagnosis` kept; raises EvaluationError for any other file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise EvaluationError(
                f"{path}: of format {values['format']}, this version's is {FORMAT}"
            )
        return from_json(values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{path}: no diagnosis of a run ({error})") from None


def from_json(values: Mapping[str, Any]) -> Diagnosis:
    """A diagnosis as `to_json` gave it; raises KeyError, TypeError or ValueError for another."""
    return Diagnosis(
        precision={name: tuple(map(float, row)) for name, row in values["precision"].items()},
        ap50=values["ap50"],
        errors={name: int(count) for name, count in values["errors"].items()},
        gains=dict(values["gains"]),
        calibration_error=float(values["calibration_error"]),
        bins=tuple((float(score), float(right), int(n)) for score, right, n in values["bins"]),
        classes=tuple(map(str, values["classes"])),
        cut=float(values["cut"]),
        confusion=tuple(tuple(map(int, row)) for row in values["confusion"]),
    )


def _number(value: float) -> Number:
    return None if math.isnan(value) else round(float(value), DIGITS)
