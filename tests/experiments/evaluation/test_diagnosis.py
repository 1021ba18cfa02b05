"""A run's diagnosis: its curves are the ones that the average precisions are taken from."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.evaluation import (
    DetectionCollector,
    EvaluationError,
    Tables,
    TruthCollector,
    check,
    evaluate,
    write_dump,
)
from experiments.evaluation.diagnosis import (
    diagnose,
    diagnose_run,
    from_json,
)
from experiments.evaluation.voc import RECALLS, best_precision, precision_curves

CLASSES = ("cat", "dog", "unseen")


def tables(seed: int, images: int = 20) -> Tables:
    """Objects of two classes, moved and sometimes mistaken; a third class has no object."""
    truth, found, draw = TruthCollector(), DetectionCollector(), np.random.default_rng(seed)
    for image in range(images):
        corner = draw.uniform(0, 60, (4, 2))
        boxes = np.column_stack((corner, corner + draw.uniform(15, 35, (4, 2))))
        labels = draw.integers(0, 2, 4)
        truth.add(str(image), width=99, height=99, path="x", boxes_N4=boxes, labels_N=labels)
        moved = boxes + draw.normal(0, 4, (4, 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
        mistaken = np.where(draw.random(4) < 0.3, 1 - labels, labels)
        found.add(str(image), moved, draw.random(4), mistaken)
    return Tables(found.table(), *truth.tables(), CLASSES)


def test_precision_at_recall_by_hand() -> None:
    recall, precision = np.array([0.25, 0.25, 0.5, 0.75]), np.array([1.0, 0.5, 2 / 3, 0.75])
    found = best_precision(recall, precision, RECALLS)
    assert found[0] == found[25] == 1.0
    assert found[26] == found[75] == 0.75  # the best at that recall or more
    assert found[76] == found[100] == 0.0


def test_seven_of_ten_hits_reach_a_recall_of_70_percent() -> None:
    truth, found = TruthCollector(), DetectionCollector()
    boxes = np.array([[20.0 * place, 0.0, 20.0 * place + 10, 10.0] for place in range(10)])
    truth.add(
        "one", width=200, height=10, path="x", boxes_N4=boxes, labels_N=np.zeros(10, dtype=int)
    )
    scores = np.linspace(0.9, 0.5, 10)
    boxes[7:] += 100.0  # the last three are misses
    found.add("one", boxes, scores, np.zeros(10, dtype=int))
    dump = check(found.table(), *truth.tables(), ("cat",))
    curve = precision_curves(dump)["cat"]
    assert curve[70] == 1.0 and curve[71] == 0.0
    assert diagnose(dump).precision["cat"] == tuple(curve.tolist())


@pytest.mark.parametrize("seed", range(3))
def test_the_11_point_average_precision_is_in_the_curve(seed: int) -> None:
    made = tables(seed)
    inputs = (made.detections, made.truth, made.images, CLASSES)
    numbers = evaluate(*inputs)["per_class"]
    curves = diagnose(check(*inputs)).precision
    assert sorted(curves) == ["cat", "dog"]  # a class without objects has no curve
    for name, curve in curves.items():
        eleven = np.mean([curve[place] for place in range(0, 101, 10)])
        assert 100 * eleven == pytest.approx(numbers[name]["voc07_ap"], abs=1e-3)
        assert len(curve) == len(RECALLS) and list(curve) == sorted(curve, reverse=True)


def test_a_stored_diagnosis_is_the_one_computed_again(tmp_path: Path) -> None:
    write_dump(tmp_path, tables(0))
    made = diagnose_run(tmp_path)
    assert from_json(json.loads(json.dumps(made.to_json()))) == made == diagnose_run(tmp_path)
    assert sum(count for *_, count in made.bins) == 80


def test_a_foreign_dump_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="detections.parquet: no such file"):
        diagnose_run(tmp_path)
