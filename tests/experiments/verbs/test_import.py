"""From a folder of XML files and photos to mAP: two commands, no edit by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from experiments.__main__ import main
from experiments.config.run import load_config


@pytest.fixture
def kangaroo(tmp_path: Path) -> Path:
    """images/*.jpg and annots/*.xml, no lists."""
    root = tmp_path / "kangaroo"
    (root / "images").mkdir(parents=True)
    (root / "annots").mkdir()
    random = np.random.default_rng(0)
    for row in range(20):
        noise = random.integers(0, 255, (6, 8, 3)).astype(np.uint8)
        image = Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC)
        x, y = random.integers(5, 90), random.integers(5, 60)
        width, height = random.integers(30, 60, 2)
        ImageDraw.Draw(image).ellipse((x, y, x + width, y + height), fill=(200, 120, 40))
        image.save(root / f"images/{row:05d}.jpg", quality=90)
        box = f"<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + width}</xmax><ymax>{y + height}</ymax>"
        (root / f"annots/{row:05d}.xml").write_text(
            f"<annotation><object><name>kangaroo</name><bndbox>{box}</bndbox></object></annotation>"
        )
    return root


def test_two_commands_from_a_folder_to_map(
    kangaroo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "import", str(kangaroo)]) == 0
    told = capsys.readouterr().out
    assert (
        "20 images with VOC labels, 1 classes" in told
        and "images        14       3       3" in told
    )
    command = next(line.split() for line in told.splitlines() if "experiments train " in line)
    recipe = command[command.index("train") + 1]
    run = tmp_path / "run"
    short = ["train.iterations=2", "train.batch_size=2", "learning_rate.warmup_iterations=0"]
    assert main(["train", "--config", recipe, "--out", str(run), *short]) == 0
    metrics = json.loads((run / "record.json").read_text())["metrics"]
    assert metrics["split"] == "test" and list(metrics["per_class"]) == ["kangaroo"]


@pytest.mark.parametrize("detector", ["yolov2", "retinanet"])
def test_the_recipe_fits_the_boxes(kangaroo: Path, detector: str) -> None:
    assert main(["data", "import", str(kangaroo), "--detector", detector, "--val", ".2"]) == 0
    config = load_config(kangaroo / f"splits/{detector}.yaml")
    assert config.evaluate.split == "test"
    fit = config.input.fit
    assert (fit.height, fit.width) == (128, 160)  # type: ignore[union-attr]  # the images' own
    assert 50 <= config.train.iterations <= 300
    assert dict.fromkeys(config.data.classes or ()) == {"kangaroo": None}


def test_a_folder_without_labels_ends_with_2_and_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "import", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "no image with labels" in error and "Traceback" not in error
