"""The Python API: the same numbers as the verbs and the files, from a script or a notebook."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from experiments.api import Run, TrainingError, load_detector, load_runs, train
from experiments.errors import UserError
from tests.calling import call

CHECKOUT = Path(__file__).parents[3]
DEMO = CHECKOUT / "results/demo"
SETTINGS = {
    "detector.backbone": {"name": "darknet19", "width": 0.125},
    "detector.anchors": [[8, 8], [16, 16]],
    "detector.output_stride": 32,
    "detector.passthrough": 16,
    "detector.head_width": 32,
    "detector.objectness_prior": 0.5,
    "detector.score_threshold": 0.001,
    "input.fit": {"mode": "stretch", "height": 64, "width": 64},
    "train.iterations": 3,
    "train.batch_size": 2,
    "train.validate_every": 2,
    "train.workers": 0,
    "tracking.wandb": "off",
}


def trained(glyphs: Path, out: Path, **plain: Any) -> Run:
    recipe = CHECKOUT / "configs/glyphs/yolov2_focal.yaml"
    return train(recipe, out=out, overrides={**SETTINGS, "data.root": str(glyphs)}, **plain)


@pytest.fixture(scope="module")
def run(small_glyphs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(small_glyphs, tmp_path_factory.mktemp("api") / "mine", seed=3)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return load_runs(DEMO).report(folder, images=0, diagnose=False).parent


def test_a_frame_holds_what_the_report_says_of_each_run(report: Path) -> None:
    filed = rows_of(report / "runs.csv")
    table = load_runs(DEMO).frame("optimizer.lr")
    assert list(filed[0]) == list(table.columns)[: len(filed[0])]
    assert len(table) == len(filed) == len(list(DEMO.glob("*/record.json")))
    for row, (_, ours) in zip(filed, table.iterrows(), strict=True):
        assert (row["run"], row["arm"]) == (ours["run"], ours["arm"])
        assert float(row["voc07_map"]) == pytest.approx(ours["voc07_map"], abs=1e-6)
    for column in ("voc07_map", "coco_ap_large", "process_mib", "train_seconds", "optimizer.lr"):
        assert pd.api.types.is_numeric_dtype(table[column]), column
    assert set(table["data"]) == {"glyphs"}


def test_comparing_gives_the_reports_table(report: Path) -> None:
    filed = rows_of(report / "table.csv")
    table = load_runs(DEMO).compare()
    assert len(table) == len(filed)
    for row, (_, ours) in zip(filed, table.iterrows(), strict=True):
        assert float(row["voc07_map_mean"]) == pytest.approx(ours["mean"], abs=1e-6)
        assert (row["voc07_map_verdict"] or "baseline") == ours["verdict"]
        for key, name in (("diff", "points"), ("low", "low"), ("p_holm", "p")):
            told = row[f"voc07_map_{key}"]
            assert (float(told) if told else None) == (
                None if np.isnan(ours[name]) else pytest.approx(ours[name], abs=1e-6)
            )


def test_a_run_gives_its_tables(run: Run) -> None:
    record = json.loads((run.folder / "record.json").read_text())
    assert run.status == "finished" and run.seed == 3 and run.config == record["config"]
    assert run.metrics["coco_ap"] == record["metrics"]["coco_ap"]
    assert list(run.curves.index) == [1, 2, 3]
    assert run.curves.loc[3, "loss"] == record["curves"][-1]["loss"]
    assert list(run.validations.index) == [2] and "voc07_map" in run.validations
    assert list(run.per_class.index) == list(run.classes)
    assert run.per_class["objects"].sum() == (~run.truth["difficult"]).sum()
    assert len(run.images) == 8 and set(run.truth["class"]) <= set(run.classes)
    found = run.detections
    assert len(found) == run.per_class["detections"].sum() > 0
    assert list(found["class"]) == [run.classes[label] for label in found["label"]]


def test_all_rows_of_a_long_curve_are_given(run: Run, tmp_path: Path) -> None:
    """A record keeps at most 2,000 of them, curves.jsonl has all."""
    folder = shutil.copytree(run.folder, tmp_path / "long")
    lines = [json.dumps({"iteration": i, "loss": 1 / i}) for i in range(1, 5001)]
    (folder / "curves.jsonl").write_text("\n".join(lines) + "\n")
    assert len(load_runs(folder)[0].curves) == 5000
    (folder / "curves.jsonl").unlink()
    assert len(load_runs(folder)[0].curves) == 3


def test_training_again_gives_the_finished_run_back(run: Run, small_glyphs: Path) -> None:
    before = (run.folder / "record.json").read_bytes()
    assert trained(small_glyphs, run.folder, seed=3).metrics == run.metrics
    assert (run.folder / "record.json").read_bytes() == before


def test_a_runs_configuration_trains_again(run: Run, tmp_path: Path) -> None:
    again = train(run.config, out=tmp_path / "again")
    pd.testing.assert_series_equal(again.curves["loss"], run.curves["loss"])


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"loss": {"name": "focal", "gama": 1}}, r"recipe: loss\.gama: .*did you mean 'gamma'"),
        ("nowhere.yaml", r"nowhere\.yaml: no such file"),
    ],
)
def test_a_mistake_in_a_recipe_is_told(config: Any, match: str) -> None:
    with pytest.raises(UserError, match=match):
        train(config, seed=1)


def test_a_failure_is_raised(
    small_glyphs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.run import training

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("none of the caller's")

    monkeypatch.setattr(training, "build_detector", broken)
    with pytest.raises(TrainingError, match="none of the caller's"):
        trained(small_glyphs, tmp_path / "failed")
    assert load_runs(tmp_path)[0].status == "failed"
    with pytest.raises(UserError, match="this one is failed"):
        load_runs(tmp_path)[0].detections  # noqa: B018


def test_a_detector_finds_the_same_in_a_file_its_pixels_and_a_picture(
    run: Run, small_glyphs: Path, tmp_path: Path
) -> None:
    files = sorted((small_glyphs / "JPEGImages").glob("test_*"))[:3]
    detector = run.detector()
    assert detector.classes == run.classes
    found = detector.predict(files[0], score=0.0)
    assert list(found.columns) == ["class", "score", "x1", "y1", "x2", "y2"]
    assert len(found) and found["score"].is_monotonic_decreasing
    with Image.open(files[0]) as image:
        # Pillow and the faster decoder may differ by a step of 255 in a JPEG; PNG has none.
        image.save(tmp_path / "same.png")
        pixels = np.asarray(image.convert("RGB"))
    same = detector.predict(tmp_path / "same.png", score=0.0)
    pd.testing.assert_frame_equal(detector.predict(pixels, score=0.0), same)
    pd.testing.assert_frame_equal(detector.predict(Image.fromarray(pixels), score=0.0), same)
    many = detector.predict_all(files, score=0.0, batch_size=2)
    assert list(many["image"].unique()) == [0, 1, 2]
    assert len(detector.predict_all(iter([]))) == 0
    one = many[many["image"] == 0].drop(columns="image").reset_index(drop=True)
    pd.testing.assert_frame_equal(one, found, rtol=1e-3, atol=1e-2)


def test_it_finds_what_the_verb_finds(run: Run, small_glyphs: Path, tmp_path: Path) -> None:
    file = next((small_glyphs / "JPEGImages").glob("test_*"))
    assert call("detect", run.folder, file, "--out", tmp_path, "--score", "0") == 0
    told = json.loads((tmp_path / "detections.json").read_text())[0]["detections"]
    found = load_detector(run.folder).predict(file, score=0.0)
    assert sorted(round(score, 4) for score in found["score"]) == pytest.approx(
        sorted(row["score"] for row in told), abs=1e-4
    )


def test_a_turned_photo_is_seen_upright(run: Run, tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:10, :20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    detector = load_detector(run.folder)
    upright = detector.predict(np.ascontiguousarray(np.rot90(pixels, -1)), score=0.0)
    pd.testing.assert_frame_equal(detector.predict(tmp_path / "turned.png", score=0.0), upright)
    with Image.open(tmp_path / "turned.png") as image:
        pd.testing.assert_frame_equal(detector.predict(image, score=0.0), upright)


@pytest.mark.parametrize(
    ("photo", "kind", "match"),
    [
        ("nowhere.jpg", UserError, r"nowhere\.jpg: can't be read: No such file"),
        (__file__, UserError, "not a readable image"),
        (np.zeros((3, 8, 8), np.uint8), ValueError, r"found uint8 of shape \[3, 8, 8\]"),
        (np.zeros((8, 8, 3)), ValueError, r"found float64 of shape \[8, 8, 3\]"),
        (np.zeros((0, 8, 3), np.uint8), ValueError, "no pixels"),
    ],
)
def test_what_is_no_photo_is_told(run: Run, photo: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        load_detector(run.folder).predict(photo)


def test_unknown_names_are_told_with_the_nearest() -> None:
    runs = load_runs(DEMO)
    with pytest.raises(UserError, match=r"frame: no run has a setting 'optimiser\.lr'.*optimizer"):
        runs.frame("optimiser.lr")
    with pytest.raises(UserError, match="unknown 'map'"):
        runs.compare(metric="map")
    with pytest.raises(UserError, match="no arm is called"):
        runs.compare(baseline="mine")
    with pytest.raises(UserError, match="no such folder"):
        load_runs("nowhere")


def test_records_that_cannot_be_read_are_told(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/record.json").write_text("{")
    runs = load_runs(tmp_path)
    assert len(runs) == len(runs[:1]) == 1 and "broken JSON" in runs.lost[0]


def test_tables_need_no_torch() -> None:
    code = "import sys; from experiments.api import load_runs\n"
    code += "assert not {'torch', 'pandas'} & {*sys.modules}\n"
    code += f"load_runs({str(DEMO)!r}).compare(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT).returncode == 0
