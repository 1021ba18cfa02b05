"""What training, measuring, detecting and the report's pictures see of photos that EXIF turns, and
what is said of JPEGs that only Pillow reads.
"""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image, ImageDraw

from experiments.__main__ import main
from experiments.config.run import load_config
from experiments.report.evidence.pictures import encode
from experiments.run.assembly import batches_from, batches_in_order, build_detector, open_splits

UPRIGHT = (72, 96)  # width, height as labels and people see it; the file's pixels lie on their side
RECIPE: dict[str, Any] = {
    "data": {"name": "voc", "train": "all", "val": None, "test": "all"},
    "detector": {
        "name": "yolov2",
        "backbone": {"name": "darknet19", "width": 0.125},
        **{"head_width": 32, "head_depth": 1, "passthrough": 16, "output_stride": 16},
        "region": {"preset": "modern"},
        "anchors": [[24, 24]],
        "anchor_unit": "pixels",
    },
    "loss": {"name": "focal", "alpha": None, "gamma": 2.0},
    "input": {"fit": {"mode": "letterbox", "height": 96, "width": 96}},
    "optimizer": {"name": "adamw", "lr": 3.0e-3, "weight_decay": 0.0},
    "learning_rate": {"warmup_iterations": 5},
    "train": {"iterations": 2, "batch_size": 4, "workers": 0},
    "evaluate": {"split": "test"},
}


def write(root: Path, number: int, *, turned: bool = True, ending: str = "jpg") -> None:
    """A red square on grey, photographed with the camera upright."""
    rng = np.random.default_rng(number)
    image = Image.new("RGB", UPRIGHT, (90 + number, 100, 110))
    x, y = (int(rng.integers(2, side - 30)) for side in UPRIGHT)
    ImageDraw.Draw(image).rectangle((x, y, x + 23, y + 23), fill=(230, 20, 20))
    options: dict[str, Any] = {}
    if turned:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = 6
        options["exif"] = exif
    for old in root.glob(f"JPEGImages/{number}.*"):
        old.unlink()
    image.save(root / f"JPEGImages/{number}.{ending}", quality=95, **options)
    corners = zip(("xmin", "ymin", "xmax", "ymax"), (x + 1, y + 1, x + 24, y + 24), strict=True)
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners)
    size = f"<size><width>{UPRIGHT[0]}</width><height>{UPRIGHT[1]}</height></size>"
    (root / f"Annotations/{number}.xml").write_text(
        f"<annotation>{size}<object><name>square</name><difficult>0</difficult><bndbox>{box}"
        "</bndbox></object></annotation>"
    )


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOFTGAMMA_CACHE", str(tmp_path / "cache"))  # not the user's own
    root = tmp_path / "photos"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for number in range(8):
        write(root, number)
    (root / "ImageSets/Main/all.txt").write_text("".join(f"{n}\n" for n in range(8)))
    (tmp_path / "recipe.yaml").write_text(
        yaml.safe_dump(RECIPE | {"data": RECIPE["data"] | {"root": str(root)}})
    )
    return root


def is_red(pixels_HWC: Any, box: Any) -> bool:
    """Whether a box holds the square: red inside, grey around it."""
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    inside = pixels_HWC[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].reshape(-1, 3).mean(0)
    rows = [pixels_HWC[max(0, y1 - 2)], pixels_HWC[min(len(pixels_HWC) - 1, y2 + 1)]]
    around = np.concatenate([row[x1:x2] for row in rows]).mean(0)
    return bool(inside[0] > 180 and inside[1] < 70 and around[1] > 70)


def test_boxes_lie_on_the_right_pixels_everywhere(photos: Path) -> None:
    config = load_config(photos.parent / "recipe.yaml")
    splits = open_splits(config)
    detector = build_detector(config, splits.train.classes)
    loaders = (
        batches_from(config, splits.train, detector, 0),
        batches_in_order(config, splits.measured, detector),
    )
    for batches in loaders:
        batch = next(iter(batches))
        for image_CHW, boxes_M4, valid_M in zip(
            batch.images_BCHW, batch.boxes_BM4, batch.valid_BM, strict=True
        ):
            assert is_red(image_CHW.permute(1, 2, 0).numpy(), boxes_M4[valid_M][0])
    labels = splits.train.annotation(0)
    assert labels.turn == 6 and labels.size_hw == UPRIGHT[::-1]
    picture = Image.open(io.BytesIO(base64.b64decode(encode(Path(labels.path), labels.turn))))
    assert picture.size == UPRIGHT and is_red(np.asarray(picture), labels.boxes_N4[0])


def test_a_run_on_turned_photos_is_the_run_on_upright_ones(photos: Path) -> None:
    """Bit by bit: PNG keeps the pixels, so that only the turn could make a difference."""
    losses, found = [], []
    for name in ("turned", "upright"):
        for number in range(8):
            write(photos, number, turned=name == "turned", ending="png")
        run = photos.parent / name
        assert main(["train", str(photos.parent / "recipe.yaml"), "--out", str(run)]) == 0
        curves = (run / "curves.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in curves])
        found.append(pd.read_parquet(run / "detections.parquet"))
        images = pd.read_parquet(run / "images.parquet")  # with a column for turns, if any
        assert set(images.get("turn", [1])) == ({6} if name == "turned" else {1})
    assert losses[0] == losses[1] and len(losses[0]) > 0
    pd.testing.assert_frame_equal(*found)


@pytest.mark.parametrize("workers", [0, 1])
def test_jpegs_that_only_pillow_reads_are_counted_in_the_record(
    photos: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (2, 5):
        write(photos, number, turned=False)
        path = photos / f"JPEGImages/{number}.jpg"
        path.write_bytes(path.read_bytes()[:-2] + bytes(64))  # zeros for the marker of the end
    run = photos.parent / "run"
    words = [f"train.workers={workers}", "--out", str(run)]
    assert main(["train", str(photos.parent / "recipe.yaml"), *words]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "[other_decoder]" in line]
    assert len(said) == 1 and said[0].startswith("image: JPEGImages/2.jpg: 2 such images: a JPEG")
    problems = json.loads((run / "record.json").read_text())["data"]["problems"]
    assert [p for p in problems if "[other_decoder]" in p] == [said[0].removeprefix("image: ")]
    assert main(["doctor", str(photos), "all"]) == 0  # no fault, but said
    assert "2 x other_decoder" in capsys.readouterr().out
