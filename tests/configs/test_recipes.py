"""Every shipped recipe reads strictly, comes back unchanged, builds its detector, and its head says
what it is, what to expect and what it costs.
"""

import re
from functools import cache, lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from detectors.retinanet.detector import RetinaNet
from experiments.config.run import (
    RunConfig,
    arm_of,
    deciding,
    load_config,
    plain_config,
    read_config,
)
from experiments.record.record import RunRecord, find_records, load_record
from experiments.run.assembly import without_weights
from losses.normalise import Image as PerImage

CHECKOUT = Path(__file__).parents[2]
RECIPES = sorted(
    path for path in (CHECKOUT / "configs").rglob("*.yaml") if path.parent.name != "studies"
)
FULL = [f"{data}_{kind}" for data in ("voc07", "voc0712") for kind in ("yolov2", "retinanet")]
FAMILIES = [
    *(f"{data}/{kind}" for data in ("glyphs", "bccd", "coco") for kind in ("yolov2", "retinanet")),
    *(f"voc/{name}" for name in FULL),
    *(
        f"{data}{kind}_lite0"
        for data in ("voc/animals_", "bccd/")
        for kind in ("yolov2", "retinanet")
    ),
]


@lru_cache(maxsize=4)  # recipes of a family lie beside each other; all at once take 4 GB
def built(detector: Any) -> torch.nn.Module:
    module: torch.nn.Module = detector.build(3)
    return module


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_reads_round_trips_and_builds(path: Path) -> None:
    config = load_config(path)
    assert read_config(plain_config(config)) == config
    detector = built(without_weights(config).detector)
    assert sum(parameter.numel() for parameter in detector.parameters()) > 100_000


def card_of(path: Path) -> str:
    """The comment at the head of a recipe, as one line."""
    head = takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
    return " ".join(line.removeprefix("# ") for line in head)


def with_base(path: Path) -> list[Path]:
    named = yaml.safe_load(path.read_text()).get("_base_")
    return [path, *([] if named is None else [path.parent / named])]


def metric_of(path: Path) -> str:
    return "coco_ap" if path.parent.name == "coco" else "voc07_map"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_is_a_card(path: Path) -> None:
    lines, card = path.read_text().splitlines(), card_of(path)
    assert f"python -m experiments train {path.relative_to(CHECKOUT)}" in card
    assert card.count(" Expect: ") == card.count(" Cost: ") == 1
    assert "alpha" in card, "each arm states its alpha, or that it has none"
    assert len(lines) < 60
    assert max(map(len, lines)) <= 120


def decided(config: RunConfig) -> dict[str, Any]:
    """What decided the result, but for what `auto` chose and for a val that chose nothing."""
    apart = ("seed", "train.precision", "train.channels_last", "data.val")
    return {key: value for key, value in deciding(config).items() if not key.startswith(apart)}


@cache
def filed() -> list[tuple[str, RunRecord]]:
    folders = find_records(CHECKOUT / "results")
    return [(folder.parent.name, load_record(folder)) for folder in folders]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_a_card_expects_is_what_records_say(path: Path) -> None:
    """Measured: the mean of the records, and their seconds. Else: published, or not run."""
    expect, cost = card_of(path).partition(" Expect: ")[2].split(" Cost: ")
    named = re.findall(r"results/(\w+)", expect)
    if not named:
        assert expect.startswith("not run") and cost.startswith("not run")
        assert " published" not in expect.lower() or re.search(
            r"arXiv|table|mmdet|val2017|README", expect
        )
        return
    wanted = decided(load_config(path))
    runs = [
        record
        for folder, record in filed()
        if folder in named and decided(read_config(record.config)) == wanted
    ]
    assert runs, f"no record of this recipe under results/{named[0]}"
    values = [getattr(record.metrics, metric_of(path)) for record in runs]
    assert expect.startswith(f"{sum(values) / len(values):.1f} mAP")
    assert ("one seed" in expect) == (len(runs) == 1)
    seconds = {f"{record.seconds.train:,.0f}" for record in runs}
    assert set(re.findall(r"[\d,]*\d(?= (?:s|to|and) )", cost.partition(", results")[0])) <= seconds


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_card_says_where_the_paper_divides_otherwise(path: Path) -> None:
    config = load_config(path)
    if isinstance(config.detector, RetinaNet) and config.detector.normaliser != PerImage():
        told = " ".join(map(card_of, with_base(path)))
        assert re.search(r"the paper(:| divides) each image by its own", told)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_names_its_limits_its_metric_and_its_own_milestones(path: Path) -> None:
    config, text = load_config(path), "".join(each.read_text() for each in with_base(path))
    retinanet = isinstance(config.detector, RetinaNet)
    wanted = ("score", "per_level", "nms_iou", "most")
    if not retinanet:
        wanted = ("score_threshold", "nms_iou", "candidates", "max_detections")
    assert not [key for key in wanted if not re.search(rf"\b{key}: ", text)]
    assert config.train.best_metric == metric_of(path)
    steps = config.learning_rate.steps if config.learning_rate.shape == "steps" else ()
    total = config.train.iterations
    places = [f"{round(step * total):,}" for step in steps]
    if places:
        assert f"# {' and '.join(places)} of {total:,}" in text


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


@pytest.mark.parametrize("family", FAMILIES)
def test_soft_gamma_starts_where_cross_entropy_is_good_and_ends_as_the_fixed_arm(
    family: str,
) -> None:
    """alpha .25 at gamma 0 is the paper's 10.8 AP, .5 its 30.2, .75 its 31.1 (table 1a)."""
    soft = load_config(CHECKOUT / f"configs/{family}_soft_gamma.yaml").loss
    fixed = load_config(CHECKOUT / f"configs/{family}_focal.yaml").loss
    begins, ends = soft.values(0.0), soft.values(1.0)
    assert begins["gamma"] == 0.0 and begins.get("alpha", 0.5) >= 0.5
    assert ends == fixed.values(1.0)


def test_an_arm_is_named_for_what_it_is() -> None:
    soft = load_config(CHECKOUT / "configs/glyphs/retinanet_soft_gamma.yaml")
    assert arm_of(soft) == "retinanet focal α of the paper soft 0→2, linear to 50 %"
    plain = load_config(CHECKOUT / "configs/glyphs/yolov2_cross_entropy.yaml")
    assert arm_of(plain) == "yolov2 cross-entropy"
    assert arm_of(load_config(CHECKOUT / "configs/glyphs/yolov2_focal.yaml", ["arm=mine"])) == (
        "mine"
    )
