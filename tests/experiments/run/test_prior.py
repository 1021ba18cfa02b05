"""The prior pi of the focal loss paper, section 3.3, in real trainings by plain cross-entropy."""

import math
from pathlib import Path

import pytest
import yaml

from experiments.config.run import load_config
from experiments.record.record import RunRecord
from experiments.run.training import train_run

IMAGES, ANCHORS, CLASSES = 4, 9 * (8 * 8 + 4 * 4 + 2 * 2), 12


def train(glyphs: Path, folder: Path, prior: float, iterations: int) -> RunRecord:
    recipe = {
        "data": {
            "name": "voc",
            "root": str(glyphs),
            "train": "train",
            "val": "val",
            "test": "test",
        },
        "detector": {
            "name": "retinanet",
            "backbone": {"name": "darknet19", "width": 0.125},
            "pyramid": {"width": 16, "levels": 3},
            "head": {"depth": 1, "prior": prior, "norm": "group", "groups": 4},
            "anchors": {"base": 2.0},
        },
        "loss": {"name": "focal", "alpha": None, "gamma": 0.0},
        "input": {"fit": {"mode": "stretch", "height": 64, "width": 64}},
        "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9, "clip_norm": 10.0},
        "learning_rate": {"shape": "constant", "warmup_iterations": 20},
        "train": {"iterations": iterations, "batch_size": IMAGES, "workers": 0},
        "tracking": {"wandb": "off"},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return train_run(load_config(path), folder / "run")


def values(record: RunRecord, name: str) -> list[float]:
    found = [row[name] for row in record.curves]
    assert None not in found
    return [float(value) for value in found if value is not None]


def untrained(prior: float, foreground: float) -> float:
    """Cross-entropy of a network that says `prior` of everything, over the foreground anchors."""
    background = IMAGES * ANCHORS * CLASSES - foreground
    return (background * -math.log(1 - prior) + foreground * -math.log(prior)) / foreground


def test_from_a_hundredth_the_loss_is_small_finite_and_falls(
    small_glyphs: Path, tmp_path: Path
) -> None:
    record = train(small_glyphs, tmp_path, prior=0.01, iterations=50)
    assert record.status == "finished"
    losses = values(record, "loss_classification")
    assert len(losses) == 50 and all(map(math.isfinite, losses))
    assert losses[0] == pytest.approx(untrained(0.01, values(record, "foreground")[0]), rel=0.1)
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_from_a_half_background_alone_makes_the_first_loss(
    small_glyphs: Path, tmp_path: Path
) -> None:
    """ln 2 for each class of each anchor, as the paper warns: here over 300 times an object's."""
    record = train(small_glyphs, tmp_path, prior=0.5, iterations=1)
    first = values(record, "loss_classification")[0]
    assert first == pytest.approx(untrained(0.5, values(record, "foreground")[0]), rel=0.1)
    assert first > 300 * math.log(2)
