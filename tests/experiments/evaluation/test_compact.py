"""A compact dump gives the numbers of the whole one, and says what it cannot give."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.evaluation.bootstrap import bootstrap_map
from experiments.evaluation.compact import STEPS, kept_of, write_compacted
from experiments.evaluation.corners import on_grid
from experiments.evaluation.dump import (
    DetectionCollector,
    Tables,
    TruthCollector,
    is_compact,
    read_dump,
    read_table,
    write_compact,
    write_dump,
)
from experiments.evaluation.mistakes import best_cut, error_shares
from experiments.evaluation.summary import evaluate
from experiments.evaluation.tables import CORNERS, LEFT_OUT, EvaluationError, check
from experiments.evaluation.voc import VocRules, voc_average_precision
from experiments.record.record import load_record
from tests.calling import call

CHECKOUT = Path(__file__).parents[3]
CLASSES = ("cat", "dog", "owl")
DEMO = sorted((CHECKOUT / "results/demo").glob("0*"))


def tables(seed: int, images: int = 12, false: int = 40) -> Tables:
    """Many false detections, equal scores, difficult objects and crowds, a class without objects
    or detections in some, boxes that reach out of the image.
    """
    draw = np.random.default_rng(seed)
    truth, found = TruthCollector(), DetectionCollector()
    for image in range(images):
        corners = draw.uniform(0, 300, (4, 2))
        boxes = np.hstack([corners, corners + draw.choice([20, 60, 150], (4, 2))])
        labels = draw.integers(0, 2 if seed % 2 else 3, 4)
        truth.add(
            str(image), width=320, height=240, path=f"{image}.jpg", boxes_N4=boxes,
            labels_N=labels, difficult_N=draw.random(4) < 0.2, crowd_N=draw.random(4) < 0.1,
        )  # fmt: skip
        near = boxes.repeat(3, axis=0) + draw.normal(0, 9, (12, 4))
        corners = draw.uniform(-20, 300, (false, 2))
        far = np.hstack([corners, corners + draw.choice([9, 50, 200], (false, 2))])
        every = np.vstack([near, far])
        every[:, 2:] = np.maximum(every[:, 2:], every[:, :2])
        scores = draw.beta(1, 6, len(every)).round(int(draw.integers(1, 4)))
        kinds = np.r_[labels.repeat(3), draw.integers(0, 3, false)]
        found.add(str(image), every, scores, kinds)
    return Tables(found.table(), *truth.tables(), CLASSES)


def numbers(whole: Tables, detections: pd.DataFrame, backend: str = "hotcoco") -> dict[str, object]:
    return evaluate(
        detections, whole.truth, whole.images, whole.classes, backend=backend,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seed", "false"), [*((seed, 40) for seed in range(6)), (6, 400), (7, 600)]
)
def test_every_number_comes_from_what_is_kept_and_counted(seed: int, false: int) -> None:
    """Of the last two, images have more than the 100 of a class that COCO looks at."""
    whole = tables(seed, false=false)
    kept = kept_of(whole)
    assert 0 < len(kept) < len(whole.detections)
    assert len(kept) + kept[list(LEFT_OUT)[:4]].to_numpy().sum() == len(whole.detections)
    for backend in ("hotcoco", "pycocotools"):
        assert flat(numbers(whole, kept, backend)) == pytest.approx(
            flat(numbers(whole, whole.detections, backend)), abs=1e-9, nan_ok=True
        )


def flat(values: dict[str, object], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        elif not isinstance(value, str):
            found[prefix + name] = float("nan") if value is None else float(value)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("folder", (DEMO[0], DEMO[3]), ids=("yolov2", "retinanet"))
def test_a_real_run_measures_the_same_in_a_twentieth_of_the_bytes(
    folder: Path, tmp_path: Path
) -> None:
    metrics = load_record(folder).to_json()["metrics"]
    done = write_compacted(folder, metrics, tmp_path, _truth_in(tmp_path, folder))
    assert done.step in STEPS and is_compact(done.path) and not is_compact(folder / done.path.name)
    assert done.path.stat().st_size < 0.05 * (folder / done.path.name).stat().st_size
    again, classes = read_table(done.path, "detections")
    whole = read_dump(folder)
    assert classes == whole.classes
    assert flat(numbers(whole, again)) == pytest.approx(flat(metrics), abs=1e-9, nan_ok=True)
    for overlap in (0.55, 0.75, 0.9):
        both = [
            voc_average_precision(
                check(found, whole.truth, whole.images, classes), VocRules(iou=overlap)
            )
            for found in (again, whole.detections)
        ]
        assert both[0].map07 == pytest.approx(both[1].map07, abs=1e-12)
        assert both[0].map_area == pytest.approx(both[1].map_area, abs=1e-12)


def _truth_in(place: Path, folder: Path) -> str:
    """The folder with a run's truth and images, from one below `place`."""
    (place / "truth").mkdir(parents=True)
    for name in ("truth.parquet", "images.parquet"):
        shutil.copy(folder / name, place / "truth" / name)
    return "truth"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("step", (1.0, 0.5, 0.25))
def test_boxes_on_a_grid_are_judged_as_they_were(seed: int, step: float) -> None:
    """Rounded plainly, some of these numbers differ."""
    whole = tables(seed)
    dump = check(*three(whole), CLASSES)
    box_D4 = on_grid(dump, step)
    if box_D4 is None:  # its neighbours on the grid are all judged otherwise
        assert step == 1.0
        return
    assert np.array_equal(np.round(box_D4 / step) * step, box_D4)
    assert np.abs(box_D4 - dump.box_D4).max() <= 2.5 * step
    moved = whole.detections.assign(**dict(zip(CORNERS, box_D4.T, strict=True)))
    for backend in ("hotcoco", "pycocotools"):
        assert flat(numbers(whole, moved, backend)) == pytest.approx(
            flat(numbers(whole, whole.detections, backend)), abs=1e-9, nan_ok=True
        )


def test_no_place_on_the_grid_is_said() -> None:
    truth, found = TruthCollector(), DetectionCollector()
    box = [[10.0, 10.0, 14.0, 14.0]]
    truth.add("a", width=32, height=32, path="a.jpg", boxes_N4=box, labels_N=[0])
    found.add("a", box, [0.9], [0])
    whole = Tables(found.table(), *truth.tables(), CLASSES)
    assert on_grid(check(*three(whole), CLASSES), 16.0) is None


def three(whole: Tables) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    return whole.detections, whole.truth, whole.images


def test_what_needs_every_detection_says_so(tmp_path: Path) -> None:
    whole = tables(0)
    dump = check(kept_of(whole), whole.truth, whole.images, CLASSES)
    for ask in (best_cut, error_shares, bootstrap_map, kept_again):
        with pytest.raises(EvaluationError, match="needs every detection"):
            ask(dump)
    for rules in (
        *(VocRules(iou=0.4), VocRules(iou=0.77), VocRules(difficult="count")),
        *(VocRules(score_threshold=0.1), VocRules(score_decimals=3)),
    ):
        with pytest.raises(EvaluationError, match="other rules than VOC's devkit"):
            voc_average_precision(dump, rules)
    mixed = kept_of(whole).iloc[::-1].reset_index(drop=True)
    with pytest.raises(EvaluationError, match="order: .* allowed: by class and score"):
        check(mixed, whole.truth, whole.images, CLASSES)


def kept_again(dump: object) -> None:
    dump.require_whole("a compact dump")  # type: ignore[attr-defined]


def test_eval_measures_a_compact_run_with_the_truth_that_it_shares(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tables(3)
    write_dump(tmp_path / "whole", whole)
    kept = kept_of(whole)
    kept.attrs["of"] = "whole"
    _truth_in(tmp_path / "runs", tmp_path / "whole")
    write_compact(tmp_path / "runs/one", kept, CLASSES, None, "../truth")
    for name in ("truth.parquet", "images.parquet"):
        (tmp_path / "whole" / name).unlink()
    assert len(read_dump(tmp_path / "runs/one").truth) == len(whole.truth)
    assert call("eval", "--detections", tmp_path / "runs/one") == 0
    one = capsys.readouterr().out
    write_dump(tmp_path / "whole", whole)
    assert call("eval", "--detections", tmp_path / "whole") == 0
    assert capsys.readouterr().out == one
    assert call("eval", "--detections", tmp_path / "runs/one", "--classes", "dog", "cat") == 0


def test_scores_that_are_no_fractions_are_refused(tmp_path: Path) -> None:
    whole = tables(1)
    whole.detections["score"] *= 3
    kept = kept_of(whole)
    kept.attrs["of"] = "whole"
    write_dump(tmp_path, whole)
    with pytest.raises(EvaluationError, match="not 0 to 1"):
        write_compact(tmp_path, kept, CLASSES, 0.125, ".")


def test_images_of_another_data_set_are_refused(tmp_path: Path) -> None:
    """Compact detections name an image by its row alone."""
    whole, other = tables(2), tables(4, images=13)
    write_dump(tmp_path / "truth", whole)
    kept = kept_of(whole)
    kept.attrs["of"] = "whole"
    write_compact(tmp_path / "run", kept, CLASSES, None, "../truth")
    again, _ = read_table(tmp_path / "run/detections.parquet", "detections")
    assert again["image_id"].tolist() == kept["image_id"].tolist()
    assert np.allclose(again["score"], kept["score"], atol=1 / 65535)
    write_dump(tmp_path / "truth", other)
    with pytest.raises(EvaluationError, match="images.parquet: is not the file that"):
        read_table(tmp_path / "run/detections.parquet", "detections")
    shutil.rmtree(tmp_path / "truth")
    with pytest.raises(EvaluationError, match="images.parquet: no such file"):
        read_table(tmp_path / "run/detections.parquet", "detections")
