"""Nothing is chosen by the images that measure a run; both splits' numbers are on record."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.calling import call, refused

RECIPE = """
data: {{name: voc, root: {root}, train: {train}, val: {val}, test: {test}}}
detector:
  name: yolov2
  backbone: {{name: darknet19, width: 0.125}}
  head_width: 32
  head_depth: 1
  passthrough: 16
loss: {{name: focal, alpha: null, gamma: {{schedule: linear, start: 0.0, end: 2.0}}}}
input: {{fit: {{mode: stretch, height: 64, width: 64}}}}
train: {{iterations: 4, batch_size: 2, log_every: 1, workers: 0, threads: 1}}
tracking: {{wandb: "off"}}
"""
TRAIN, BEST = "train.validate_every=2", "train.measure=best"


def recipe(folder: Path, root: Path, val: str, train: str = "train", test: str = "test") -> Path:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(root=root, val=val, train=train, test=test))
    return path


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "record.json").read_text())
    return found


@pytest.mark.parametrize("words", [(TRAIN, BEST), (TRAIN, "train.patience=3")])
def test_a_choice_by_the_test_images_is_refused(
    small_glyphs: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    file = recipe(tmp_path, small_glyphs, "test")
    out = tmp_path / "run"
    setting = words[1].replace("=", ": ")
    refused(
        f"{setting} chooses by val: 8 of the 8 images of val are among the test images",
        *("train", "--config", file, "--out", out, *words),
    )
    assert record(out)["status"] == "failed"


def test_contents_decide_and_not_names(small_glyphs: Path, tmp_path: Path) -> None:
    root = shutil.copytree(small_glyphs, tmp_path / "glyphs")
    names = (root / "ImageSets/Main/test.txt").read_text().split()
    for folder, suffix in (("Annotations", ".xml"), ("JPEGImages", None)):
        for file in (root / folder).iterdir():
            if file.stem == names[0]:
                shutil.copyfile(file, file.with_name(f"another{suffix or file.suffix}"))
    with (root / "ImageSets/Main/val.txt").open("a") as file:
        file.write("another\n")
    refused(
        "1 of the 7 images of val are among the test images",
        *("train", "--config", recipe(tmp_path, root, "val"), "--out", tmp_path / "run"),
        *(TRAIN, BEST),
    )


def test_patience_on_the_measured_val_is_refused(small_glyphs: Path, tmp_path: Path) -> None:
    refused(
        "train.patience: 2 chooses by val, which measures this run",
        *("train", "--config", recipe(tmp_path, small_glyphs, "val")),
        *("--out", tmp_path / "run", TRAIN, "train.patience=2", "evaluate.split=val"),
    )


def test_a_part_of_train_may_choose_and_both_splits_are_on_record(
    small_glyphs: Path, tmp_path: Path
) -> None:
    file, out = recipe(tmp_path, small_glyphs, "null"), tmp_path / "run"
    words = ("train", "--config", file, "--out", out, TRAIN, BEST)
    refused("data.val: null, so there is nothing to choose or validate by", *words)
    assert call(*words[:4], tmp_path / "other", *words[5:], "data.val={part: 0.25, of: train}") == 0
    out = tmp_path / "other"
    found = record(out)
    data = found["data"]
    assert [data[name]["images"] for name in ("train", "val", "test")] == [18, 6, 8]
    assert len({data[name]["hash"] for name in ("train", "val", "test")}) == 3
    assert (found["metrics"]["split"], found["val_metrics"]["split"]) == ("test", "val")
    assert data["shared"] == {}


def test_images_of_train_among_the_test_s_are_on_record(
    small_glyphs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    file = recipe(tmp_path, small_glyphs, "test", train="train+test")
    assert call("train", "--config", file, "--out", out, TRAIN) == 0
    found = record(out)
    assert found["data"]["shared"] == {"train/val": 8, "train/test": 8, "val/test": 8}
    assert found["val_metrics"] is None
    told = capsys.readouterr().err
    assert "8 images of val are among the test images" in told
    assert "8 of 32 training images are among the test images" in told
