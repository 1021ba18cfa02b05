"""COCO's numbers: both backends give the same bits, on real crowds and on random problems."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.evaluation.coco import STATS, CocoResult, coco_average_precision
from experiments.evaluation.interchange.results import write_results
from experiments.evaluation.tables import CORNERS, Dump, check
from experiments.run.truth import load, read_truth

COCO128 = Path(__file__).parents[3].parent / "shared/data/coco128/annotations"
INSTANCES = COCO128 / "instances_train2017.json"


def same_bits(one: CocoResult, two: CocoResult) -> None:
    assert [one.stats[name] for name in STATS] == pytest.approx(
        [two.stats[name] for name in STATS], abs=0, rel=0, nan_ok=True
    )
    np.testing.assert_array_equal(one.precision_TRKAM, two.precision_TRKAM)
    np.testing.assert_array_equal(one.recall_TKAM, two.recall_TKAM)


def noisy_detections(truth: pd.DataFrame, labels: int, seed: int) -> pd.DataFrame:
    """Moved, doubled, mislabelled and invented boxes with many equal scores."""
    random = np.random.default_rng(seed)
    rows = truth.iloc[random.integers(0, len(truth), 3 * len(truth))].reset_index(drop=True)
    box_D4 = rows[CORNERS].to_numpy(np.float64, copy=True)
    size_D2 = box_D4[:, 2:] - box_D4[:, :2]
    box_D4 += np.tile(size_D2, 2) * random.normal(0, 0.1, box_D4.shape)
    box_D4[:, 2:] = np.maximum(box_D4[:, 2:], box_D4[:, :2])
    wrong = random.random(len(rows)) < 0.2
    label = np.where(wrong, random.integers(0, labels, len(rows)), rows["label"])
    columns = {"image_id": rows["image_id"], "label": label}
    columns["score"] = np.round(random.random(len(rows)), 2)
    return pd.DataFrame(columns | {name: box_D4[:, i] for i, name in enumerate(CORNERS)})


@pytest.mark.skipif(not INSTANCES.is_file(), reason="needs ../shared/data/coco128")
@pytest.mark.parametrize("seed", range(3))
def test_on_real_coco_with_crowds_both_backends_give_the_same_bits(seed: int) -> None:
    truth = read_truth(INSTANCES, "test")
    assert truth.objects["crowd"].sum() > 0
    found = noisy_detections(truth.objects, len(truth.classes), seed)
    dump = check(found, truth.objects, truth.images, truth.classes)
    ours = coco_average_precision(dump)
    assert 0.05 < ours.stats["ap"] < 0.95
    same_bits(ours, coco_average_precision(dump, backend="pycocotools"))


@pytest.mark.skipif(not INSTANCES.is_file(), reason="needs ../shared/data/coco128")
def test_a_results_file_gives_what_pycocotools_reads_from_it(tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = read_truth(INSTANCES, "test")
    found = noisy_detections(truth.objects, len(truth.classes), 7)
    path = write_results(tmp_path / "results.json", found, list(truth.label_by_category))
    tables = load(path, INSTANCES)
    dump = check(tables.detections, tables.truth, tables.images, tables.classes)
    original = COCO(str(INSTANCES))
    evaluator = COCOeval(original, original.loadRes(str(path)), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    ours = list(coco_average_precision(dump).stats.values())
    assert ours == pytest.approx(evaluator.stats.tolist(), abs=1e-12)


def random_problem(seed: int) -> Dump:
    random = np.random.default_rng(seed)
    images, classes = int(random.integers(1, 6)), int(random.integers(1, 5))
    count = int(random.integers(1, 30))
    corner = random.integers(0, 200, (count, 2)).astype(float)
    size = random.integers(1, 2 ** random.integers(2, 9), (count, 2)).astype(float)
    ids = np.array([f"image {i}" for i in range(images)])
    columns: dict[str, Any] = {
        "image_id": ids[random.integers(0, images, count)],
        "label": random.integers(0, classes, count),
        "difficult": random.random(count) < 0.1,
        "crowd": random.random(count) < 0.2,
        "area": size.prod(1) * random.uniform(0.3, 1, count),
    }
    box_N4 = np.column_stack((corner, corner + size))
    truth = pd.DataFrame(columns | {name: box_N4[:, i] for i, name in enumerate(CORNERS)})
    names = tuple(f"class {label}" for label in range(classes))
    table = pd.DataFrame({"image_id": ids, "width": 400, "height": 400, "path": ""})
    return check(noisy_detections(truth, classes, seed), truth, table, names)


@pytest.mark.parametrize(
    "start", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(20, 200, 20))]
)
def test_on_random_problems_both_backends_give_the_same_bits(start: int) -> None:
    for seed in range(start, start + 20):
        dump = random_problem(seed)
        for difficult in ("ignore", "count", "drop"):
            same_bits(
                coco_average_precision(dump, difficult=difficult),  # type: ignore[arg-type]
                coco_average_precision(dump, difficult=difficult, backend="pycocotools"),  # type: ignore[arg-type]
            )


def test_a_perfect_detector_has_100_percent_of_what_is_there() -> None:
    dump = random_problem(3)
    keep = ~(dump.crowd_N | dump.difficult_N)
    perfect = Dump(
        dump.classes,
        dump.image_ids,
        dump.size_I2,
        dump.image_N[keep],
        dump.label_N[keep],
        np.full(keep.sum(), 0.5),
        dump.box_N4[keep],
        dump.image_N,
        dump.label_N,
        dump.box_N4,
        dump.difficult_N,
        dump.crowd_N,
        dump.area_N,
    )
    result = coco_average_precision(perfect)
    assert result.stats["ap"] == pytest.approx(1.0)
    present = np.isin(np.arange(len(dump.classes)), dump.label_N[keep])
    np.testing.assert_array_equal(np.isnan(result.ap_K), ~present)
    assert result.ap50_K[present] == pytest.approx(1.0)
