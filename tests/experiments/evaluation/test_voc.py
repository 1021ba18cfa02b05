"""VOC average precision against the devkit's rules in plain loops, and against real figures."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.evaluation import PROTOCOLS, VocRules
from experiments.evaluation.dump import Tables
from experiments.evaluation.tables import Dump, check
from experiments.evaluation.voc import curve, rank, voc_average_precision
from experiments.run.truth import load

DATA = Path(__file__).parents[3].parent / "shared/data"
needs_real_detections = pytest.mark.skipif(
    not (DATA / "yolov2_voc2007_test").is_dir(),
    reason="needs ../shared/data/yolov2_voc2007_test and VOCdevkit",
)
# per class, 11-point, as two independent evaluators of the same files agree
YOLOV2_11_POINT = {
    **{"aeroplane": 76.31, "bicycle": 77.96, "bird": 71.49, "boat": 62.61, "bottle": 44.43},
    **{"bus": 77.87, "car": 79.03, "cat": 86.85, "chair": 51.67, "cow": 79.11},
    **{"diningtable": 71.76, "dog": 81.46, "horse": 80.03, "motorbike": 79.80, "person": 74.39},
    **{"pottedplant": 46.60, "sheep": 74.13, "sofa": 72.64, "train": 81.79, "tvmonitor": 72.84},
}


def make_dump(
    detections: list[tuple[int, int, float, list[float]]],
    objects: list[tuple[int, int, list[float], bool]],
    *,
    images: int = 1,
    classes: int = 1,
) -> Dump:
    """Detections (image, label, score, box), objects (image, label, box, difficult)."""
    boxes = np.array([row[3] for row in detections], dtype=float).reshape(-1, 4)
    truth = np.array([row[2] for row in objects], dtype=float).reshape(-1, 4)
    return Dump(
        classes=tuple(f"class {label}" for label in range(classes)),
        image_ids=tuple(str(image) for image in range(images)),
        size_I2=np.full((images, 2), 100),
        image_D=np.array([row[0] for row in detections], dtype=np.int64),
        label_D=np.array([row[1] for row in detections], dtype=np.int64),
        score_D=np.array([row[2] for row in detections], dtype=float),
        box_D4=boxes,
        image_N=np.array([row[0] for row in objects], dtype=np.int64),
        label_N=np.array([row[1] for row in objects], dtype=np.int64),
        box_N4=truth,
        difficult_N=np.array([row[3] for row in objects], dtype=bool),
        crowd_N=np.zeros(len(objects), dtype=bool),
        area_N=(truth[:, 2] - truth[:, 0]) * (truth[:, 3] - truth[:, 1]),
    )


def random_dump(seed: int) -> Dump:
    """A small problem with many near misses, duplicates, equal scores and difficult objects."""
    random = np.random.default_rng(seed)
    images, classes = int(random.integers(1, 4)), int(random.integers(1, 4))
    objects, detections = [], []
    for _ in range(int(random.integers(0, 9))):
        corner, size = random.integers(0, 20, 2), random.integers(1, 16, 2)
        box = [*corner.tolist(), *(corner + size).tolist()]
        row = (int(random.integers(images)), int(random.integers(classes)))
        objects.append((*row, box, bool(random.random() < 0.3)))
        for _ in range(int(random.integers(0, 4))):
            moved = np.array(box) + random.integers(-2, 3, 4) * random.choice([0.0, 0.5, 1.0])
            moved[2:] = np.maximum(moved[2:], moved[:2])
            score = round(float(random.random()), int(random.integers(1, 5)))
            detections.append((*row, score, moved.tolist()))
    for _ in range(int(random.integers(0, 5))):
        row = (int(random.integers(images)), int(random.integers(classes)))
        detections.append((*row, float(random.random()), [0.0, 0.0, *random.integers(0, 20, 2)]))
    order = random.permutation(len(detections))
    return make_dump([detections[i] for i in order], objects, images=images, classes=classes)


def overlap_in_loops(a: Any, b: Any, pixel: float) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + pixel
    height = min(a[3], b[3]) - max(a[1], b[1]) + pixel
    if width <= 0 or height <= 0:
        return 0.0
    one = (a[2] - a[0] + pixel) * (a[3] - a[1] + pixel)
    two = (b[2] - b[0] + pixel) * (b[3] - b[1] + pixel)
    return float(width * height / (one + two - width * height))


def devkit_in_loops(dump: Dump, rules: VocRules, label: int) -> tuple[float, float]:
    """VOCevaldet's rules, one detection after the other: 11-point and area average precision."""
    scores = [float(s) for s in dump.score_D]
    boxes = [[float(v) for v in box] for box in dump.box_D4]
    if rules.score_decimals is not None:
        scores = [float(np.round(s, rules.score_decimals)) for s in scores]
    if rules.box_decimals is not None:
        shift = (1, 1, 0, 0)
        boxes = [
            [float(np.round(v + s, rules.box_decimals)) - s for v, s in zip(b, shift, strict=True)]
            for b in boxes
        ]
    rows = list(range(len(scores)))
    if rules.score_threshold is not None:
        rows = [row for row in rows if scores[row] >= rules.score_threshold]
    if rules.top_k is not None:
        best: list[int] = []
        for image in range(len(dump.image_ids)):
            here = [row for row in rows if dump.image_D[row] == image]
            best += sorted(here, key=lambda row: -scores[row])[: rules.top_k]
        rows = sorted(best)
    rows = sorted((row for row in rows if dump.label_D[row] == label), key=lambda row: -scores[row])
    pixel = 0.0 if rules.plus_one else -1.0
    objects = [i for i in range(len(dump.label_N)) if dump.label_N[i] == label]
    if rules.difficult == "drop":
        objects = [i for i in objects if not dump.difficult_N[i]]
    ignored = {i for i in objects if dump.difficult_N[i] and rules.difficult == "ignore"}
    count = len(objects) - len(ignored)
    if count == 0:
        return float("nan"), float("nan")
    found: set[int] = set()
    hits = misses = 0
    recall, precision = [], []
    for row in rows:
        best_overlap, best_object = 0.0, -1
        for i in objects:
            if dump.image_N[i] != dump.image_D[row]:
                continue
            overlap = overlap_in_loops(boxes[row], dump.box_N4[i], pixel)
            if overlap > best_overlap:
                best_overlap, best_object = overlap, i
        near = best_overlap > rules.iou if rules.strict else best_overlap >= rules.iou
        if near and best_object in ignored:
            continue
        if near and best_object not in found:
            found.add(best_object)
            hits += 1
        else:
            misses += 1
        recall.append(hits / count)
        precision.append(hits / (hits + misses))
    eleven = 0.0
    for k in range(11):
        reached = [p for r, p in zip(recall, precision, strict=True) if r >= k * 0.1]
        eleven += max(reached, default=0.0) / 11
    area = 0.0
    for i in range(len(recall)):
        before = recall[i - 1] if i else 0.0
        area += (recall[i] - before) * max(precision[i:])
    return eleven, area


ALL_RULES = [
    VocRules(
        iou=0.5 if rounded else 0.3,
        strict=strict,
        plus_one=plus_one,
        difficult=difficult,
        score_decimals=1 if rounded else None,
        box_decimals=0 if rounded else None,
        score_threshold=0.3 if cut else None,
        top_k=3 if cut else None,
    )
    for strict, plus_one, difficult, rounded, cut in itertools.product(
        (False, True), (False, True), ("ignore", "count", "drop"), (False, True), (False, True)
    )
]


@pytest.mark.parametrize(
    "start", [0, 50, *(pytest.param(n, marks=pytest.mark.slow) for n in range(100, 1000, 50))]
)
def test_equals_the_devkits_rules_in_plain_loops_under_every_rule(start: int) -> None:
    seen = 0
    for seed in range(start, start + 50):
        dump = random_dump(seed)
        for rules in ALL_RULES:
            result = voc_average_precision(dump, rules)
            for label in range(len(dump.classes)):
                eleven, area = devkit_in_loops(dump, rules, label)
                np.testing.assert_allclose(result.ap07_K[label], eleven, atol=1e-9, rtol=0)
                np.testing.assert_allclose(result.ap_area_K[label], area, atol=1e-9, rtol=0)
                seen += 0 < area < 1
    assert seen > 1000  # the problems are not all trivial


def test_by_hand_three_detections_of_two_objects() -> None:
    box, other, nowhere = [0.0, 0, 10, 10], [20.0, 20, 30, 30], [50.0, 50, 60, 60]
    dump = make_dump(
        [(0, 0, 0.9, box), (0, 0, 0.8, nowhere), (0, 0, 0.7, other)],
        [(0, 0, box, False), (0, 0, other, False)],
    )
    result = voc_average_precision(dump)
    # precision 1 up to recall .5, then 2/3: six levels (0 .. .5) at 1, five at 2/3
    assert result.ap07_K[0] == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert result.ap_area_K[0] == pytest.approx(0.5 + 0.5 * 2 / 3)
    shown = curve(dump, rank(dump, VocRules()), 0)
    assert shown.score_T.tolist() == [0.9, 0.8, 0.7]
    assert shown.recall_T.tolist() == [0.5, 0.5, 1.0]


def test_a_second_detection_of_an_object_is_wrong_even_if_it_fits_better() -> None:
    dump = make_dump(
        [(0, 0, 0.9, [0.0, 0, 10, 8]), (0, 0, 0.8, [0.0, 0, 10, 10])],
        [(0, 0, [0.0, 0, 10, 10], False)],
    )
    assert rank(dump, VocRules()).hit_D.tolist() == [True, False]


def test_a_taken_object_is_still_the_best_one_to_claim() -> None:
    near, far = [0.0, 0, 10, 10], [4.0, 0, 14, 10]
    # the second detection overlaps the taken object more, so it is wrong though `far` is free
    dump = make_dump(
        [(0, 0, 0.9, near), (0, 0, 0.8, [1.0, 0, 11, 10])],
        [(0, 0, near, False), (0, 0, far, False)],
    )
    assert rank(dump, VocRules(iou=0.3)).hit_D.tolist() == [True, False]


def test_an_overlap_of_exactly_one_half_is_a_hit_unless_strict() -> None:
    dump = make_dump([(0, 0, 0.9, [0.0, 0, 10, 5])], [(0, 0, [0.0, 0, 10, 10], False)])
    assert voc_average_precision(dump, PROTOCOLS["devkit"]).map_area == 1.0
    assert voc_average_precision(dump, PROTOCOLS["detectron2"]).map_area == 0.0


def test_difficult_objects_are_ignored_counted_or_dropped() -> None:
    easy, hard = [0.0, 0, 10, 10], [20.0, 20, 30, 30]
    dump = make_dump(
        [(0, 0, 0.9, hard), (0, 0, 0.8, easy)], [(0, 0, easy, False), (0, 0, hard, True)]
    )
    by_rule = {
        rule: voc_average_precision(dump, VocRules(difficult=rule)).map_area
        for rule in ("ignore", "count", "drop")
    }
    assert by_rule == {"ignore": 1.0, "count": 1.0, "drop": 0.5}
    unseen = make_dump([(0, 0, 0.8, easy)], [(0, 0, easy, False), (0, 0, hard, True)])
    assert voc_average_precision(unseen, VocRules(difficult="count")).map_area == 0.5


def test_without_detections_zero_and_without_objects_undefined() -> None:
    box = [0.0, 0, 10, 10]
    none_found = voc_average_precision(make_dump([], [(0, 0, box, False)]))
    assert (none_found.map07, none_found.map_area) == (0.0, 0.0)
    nothing_there = voc_average_precision(make_dump([(0, 0, 0.9, box)], []))
    assert np.isnan(nothing_there.map07) and np.isnan(nothing_there.map_area)
    one_of_two = make_dump([(0, 1, 0.9, box)], [(0, 0, box, False)], classes=2)
    assert voc_average_precision(one_of_two).map07 == 0.0  # the class without objects has no say


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iou": 0.0}, "iou: must be in"),
        ({"difficult": "skip"}, "difficult: ignore, count or drop"),
        ({"top_k": 0}, "top_k: must be >= 1"),
    ],
)
def test_impossible_rules_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VocRules(**change)


@pytest.fixture(scope="module")
def yolov2() -> Tables:
    return load(DATA / "yolov2_voc2007_test", DATA / "VOCdevkit/VOC2007", "test")


@needs_real_detections
def test_a_real_yolov2_has_its_known_figures_in_every_class(yolov2: Tables) -> None:
    assert len(yolov2.detections) == 101_139
    dump = check(yolov2.detections, yolov2.truth, yolov2.images, yolov2.classes)
    result = voc_average_precision(dump, PROTOCOLS["devkit"])
    assert 100 * result.map07 == pytest.approx(72.14, abs=0.01)
    assert 100 * result.map_area == pytest.approx(74.52, abs=0.01)
    found = dict(zip(yolov2.classes, 100 * result.ap07_K, strict=True))
    for name, expected in YOLOV2_11_POINT.items():
        assert found[name] == pytest.approx(expected, abs=0.01), name


@needs_real_detections
def test_what_evaluators_disagree_about_moves_the_real_figure(yolov2: Tables) -> None:
    dump = check(yolov2.detections, yolov2.truth, yolov2.images, yolov2.classes)
    plain = voc_average_precision(dump).map07
    counted = voc_average_precision(dump, VocRules(difficult="count")).map07
    no_pixel = voc_average_precision(dump, VocRules(plus_one=False)).map07
    cut = voc_average_precision(dump, VocRules(score_threshold=0.25)).map07
    assert counted < plain - 0.03  # counting difficult objects costs points
    assert 0 < abs(no_pixel - plain) < 0.01  # a pixel is worth a little
    assert cut < plain - 0.01
