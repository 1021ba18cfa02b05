"""Every shipped recipe reads strictly, comes back unchanged, and builds its detector."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.config.run import arm_of, load_config, plain_config, read_config
from experiments.run.assembly import without_weights

CHECKOUT = Path(__file__).parents[2]
RECIPES = sorted(
    path for path in (CHECKOUT / "configs").rglob("*.yaml") if path.parent.name != "studies"
)
FULL = [f"{data}_{kind}" for data in ("voc07", "voc0712") for kind in ("yolov2", "retinanet")]
FAMILIES = [
    *(f"{data}/{kind}" for data in ("glyphs", "bccd", "coco") for kind in ("yolov2", "retinanet")),
    *(f"voc/{name}" for name in FULL),
    *(f"voc/animals_{kind}_lite0" for kind in ("yolov2", "retinanet")),
]


@cache
def built(detector: Any) -> torch.nn.Module:
    module: torch.nn.Module = detector.build(3)
    return module


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_reads_round_trips_and_builds(path: Path) -> None:
    config = load_config(path)
    assert read_config(plain_config(config)) == config
    detector = built(without_weights(config).detector)
    assert sum(parameter.numel() for parameter in detector.parameters()) > 100_000


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_is_a_card(path: Path) -> None:
    lines = path.read_text().splitlines()
    card = "\n".join(line for line in lines if line.startswith("#"))
    assert f"--config {path.relative_to(CHECKOUT)}" in card
    assert len(lines) < 60
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("family", FAMILIES)
def test_the_three_arms_of_a_family_differ_in_the_loss_alone(family: str) -> None:
    arms = {}
    for loss in ("cross_entropy", "focal", "soft_gamma"):
        plain = plain_config(load_config(CHECKOUT / f"configs/{family}_{loss}.yaml"))
        arms[loss] = plain.pop("loss")
        arms.setdefault("rest", plain)
        assert plain == arms["rest"]
    assert arms["cross_entropy"]["name"] == "cross_entropy"
    assert arms["focal"]["gamma"] == 2.0
    assert arms["soft_gamma"]["gamma"]["schedule"] == "linear"


def test_an_arm_is_named_for_what_it_is() -> None:
    soft = load_config(CHECKOUT / "configs/glyphs/retinanet_soft_gamma.yaml")
    assert arm_of(soft) == "retinanet focal alpha 0.25 soft-gamma 0→2, linear to 50 %"
    plain = load_config(CHECKOUT / "configs/glyphs/yolov2_cross_entropy.yaml")
    assert arm_of(plain) == "yolov2 cross-entropy"
    assert arm_of(load_config(CHECKOUT / "configs/glyphs/yolov2_focal.yaml", ["arm=mine"])) == (
        "mine"
    )
