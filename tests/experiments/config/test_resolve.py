"""Files, a base and words merge as their users expect, in any order, and know their places."""

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest

from experiments.config.resolve import parse_words, words_of
from experiments.config.run import Recipes, config_text, load_config, plain_config, read_config
from experiments.errors import ConfigError

GLYPHS = Path(__file__).parents[3] / "configs" / "glyphs"
FOCAL, CROSS_ENTROPY = GLYPHS / "retinanet_focal.yaml", GLYPHS / "retinanet_cross_entropy.yaml"
RECIPE = """\
data: {name: voc, root: nowhere}
detector: {name: yolov2, backbone: tiny_darknet}
loss: {name: focal, alpha: .25, gamma: 2}
input: {fit: {mode: stretch, height: 64, width: 96}}
optimizer: {name: adamw, lr: 1.0e-3, weight_decay: .05}
learning_rate: {shape: steps, steps: [.5], step_factor: .2, warmup_iterations: 3}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def plain(path: Path, *words: str) -> dict[str, Any]:
    """What every order of the words resolves to."""
    found = [plain_config(load_config(path, order)) for order in itertools.permutations(words)]
    assert all(other == found[0] for other in found)
    return found[0]


def refused(path: Path, *words: str) -> str:
    """What every order of the words is refused with, the same findings."""
    findings = set()
    for order in itertools.permutations(words):
        with pytest.raises(ConfigError) as error:
            load_config(path, order)
        findings.add(tuple(sorted(error.value.findings)))
    assert len(findings) == 1
    return "\n".join(findings.pop())


def test_child_wins_over_base_and_words_over_both(tmp_path: Path, recipe: Path) -> None:
    child = tmp_path / "child.yaml"
    child.write_text("_base_: recipe.yaml\noptimizer: {lr: 2}\nseed: 3\n")
    found = plain(child, "optimizer.weight_decay=1e-4", "--seed=4")
    assert found["optimizer"]["lr"] == 2
    assert (found["optimizer"]["weight_decay"], found["seed"]) == (1e-4, 4)
    with pytest.raises(ConfigError) as error:
        load_config(child, ["train.iterations=0", "seed=x", "optimizer.lr=x", "loss.alpha=[1, x]"])
    places = [finding.partition(": ")[0] for finding in error.value.findings]
    assert places == ["command line"] * 4
    child.write_text("_base_: recipe.yaml\noptimizer:\n  lr: -2\n")
    with pytest.raises(ConfigError, match=r"child\.yaml:3: optimizer\.lr: must be > 0"):
        load_config(child)
    recipe.write_text(RECIPE.replace("lr: 1.0e-3", "lr: -3"))
    child.write_text("_base_: recipe.yaml\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml:5: optimizer\.lr"):
        load_config(child)


def test_another_choice_replaces_the_base_s_fields(tmp_path: Path, recipe: Path) -> None:
    child = tmp_path / "child.yaml"
    child.write_text("_base_: recipe.yaml\nloss: {name: cross_entropy}\n")
    assert plain(child)["loss"] == {"name": "cross_entropy", "fused": False}
    child.write_text("_base_: recipe.yaml\nloss: {name: focal, gamma: 1}\n")
    loss = plain(child)["loss"]
    assert (loss["alpha"], loss["gamma"]) == (0.25, 1)


def test_no_value_is_dropped_by_a_tag_that_comes_later(recipe: Path) -> None:
    found = plain(recipe, "optimizer.lr=.0003", "optimizer.name=sgd", "optimizer.momentum=.5")
    assert found["optimizer"]["lr"] == 0.0003
    assert (found["optimizer"]["name"], found["optimizer"]["momentum"]) == ("sgd", 0.5)
    found = plain(CROSS_ENTROPY, "loss.alpha=.5", "loss.gamma=5", "loss.name=focal")
    assert (found["loss"]["alpha"], found["loss"]["gamma"]) == (0.5, 5)
    rising = ("loss.gamma.end=2", "loss.gamma.schedule=linear", "loss.gamma.start=0")
    assert plain(recipe, *rising)["loss"]["gamma"]["end"] == 2
    found = plain(
        recipe, "input.fit.short=100", "input.fit.longest=200", "input.fit.mode=short_edge"
    )
    assert found["input"]["fit"] == {"mode": "short_edge", "short": 100, "longest": 200}
    found = plain(recipe, "detector.region.rescore=false", "detector.region.preset=modern")
    assert found["detector"]["region"]["rescore"] is False
    assert found["detector"]["region"]["box"] == "giou"
    deep = ("detector.name=retinanet", "detector.backbone.name=darknet19", "detector.head.depth=1")
    found = plain(recipe, *deep, "detector.backbone.width=.25")
    assert found["detector"]["backbone"]["width"] == 0.25


def test_what_a_tag_of_fit_region_or_shape_leaves_readable_stays(recipe: Path) -> None:
    fit = plain(recipe, "input.fit.mode=letterbox")["input"]["fit"]
    assert fit == {"mode": "letterbox", "height": 64, "width": 96}
    rate = plain(recipe, "learning_rate.shape=cosine")["learning_rate"]
    assert (rate["warmup_iterations"], rate["steps"]) == (3, [])


def test_what_a_word_puts_out_of_force_is_said(recipe: Path) -> None:
    resolved = Recipes().resolve(recipe, parse_words(["optimizer.name=sgd", "seed=1"]))
    assert resolved.notes == (
        "optimizer.name=sgd: the recipe's lr 0.001, weight_decay 0.05 went with adamw; give what "
        "should hold again",
    )
    assert Recipes().resolve(recipe, parse_words(["loss.gamma=1"])).notes == ()
    given = parse_words(["optimizer.name=sgd", "optimizer.lr=1", "optimizer.weight_decay=0"])
    assert Recipes().resolve(recipe, given).notes == ()


def test_a_number_becomes_a_schedule_and_back(recipe: Path) -> None:
    scheduled = "loss.gamma={schedule: linear, start: 0, end: 2}"
    gamma = plain(recipe, scheduled)["loss"]["gamma"]
    assert (gamma["start"], gamma["end"]) == (0, 2)
    soft = GLYPHS / "retinanet_soft_gamma.yaml"
    assert plain(soft, "loss.gamma=1")["loss"]["gamma"] == 1
    assert plain(soft, "loss.gamma.end=1")["loss"]["gamma"]["end"] == 1
    assert plain(soft, "loss.gamma={end: 1}")["loss"]["gamma"]["ramp"] == [0, 0.5]


@pytest.mark.parametrize(
    "word",
    [
        "loss={'gamma': 1.0}",
        '--loss={"gamma": 1.0}',
        "loss={gamma: 1.0}",
        "++loss={gamma: 1}",
        '{"loss": {"gamma": 1.0}}',
        '{"loss.gamma": 1.0}',
    ],
)
def test_a_mapping_gives_its_keys(recipe: Path, word: str) -> None:
    loss = plain(recipe, word)["loss"]
    assert (loss["name"], loss["alpha"], loss["gamma"]) == ("focal", 0.25, 1)


def test_a_mapping_that_names_the_tag_is_the_whole(recipe: Path) -> None:
    loss = plain(recipe, "loss={name: focal, gamma: 1}")["loss"]
    assert loss == plain(CROSS_ENTROPY, "loss={'name': 'focal', 'gamma': 1}")["loss"]
    assert loss["gamma"] == 1
    assert loss["alpha"] == plain(recipe, "loss={name: focal}")["loss"]["alpha"]
    assert plain(recipe, "loss=focal", "loss.gamma=1")["loss"] == loss
    assert plain(recipe, "loss={name: focal}", "loss={gamma: 1}")["loss"] == loss
    nested = {"name": "focal", "gamma": {"schedule": "linear", "start": 0, "end": 2}}
    assert plain(recipe, f"loss={json.dumps(nested)}")["loss"]["gamma"]["end"] == 2


def test_a_choice_that_is_written_as_its_name_has_keys(recipe: Path) -> None:
    backbone = plain(recipe, "detector.backbone.width=.5")["detector"]["backbone"]
    assert (backbone["name"], backbone["width"]) == ("tiny_darknet", 0.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("optimizer.momentum=.95",), "optimizer.momentum: not read where name is 'adamw'"),
        (("optimizer.momentum=.9", "optimizer.name=adamw"), "but where it is sgd; leave it out"),
        (("optimizer.name=sgd", "optimizer.betas=[.9, .99]"), "optimizer.betas: not read where"),
        (("learning_rate.shape=cosine", "learning_rate.steps=[.5]"), "steps: not read where shape"),
        (("learning_rate.final=.1",), "final: not read where shape is 'steps'"),
        (
            ("learning_rate.warmup_iterations=0", "learning_rate.warmup_power=4"),
            "warmup_power: not read where warmup_iterations is 0, but where it is above 0",
        ),
        (
            ("loss.name=cross_entropy", "loss.gamma=2"),
            "loss.gamma: name 'cross_entropy' does not read it; focal does",
        ),
        (("loss.gamma={schedule: constant, value: 1, end: 2}",), "schedule 'constant' does not"),
        (("optimizer.momentum=-3", "optimizer.name=sgd"), "momentum: must lie in [0, 1)"),
        (("optimizer.betas=[2, 2]",), "optimizer.betas: must lie in [0, 1), found [2.0, 2.0]"),
        (("seed=-1",), "seed: must lie in [0, 2**63), found -1"),
        (("optimizer.lr=1e999",), "optimizer.lr: expected a finite number"),
        (("optimizer.lr=nan",), "optimizer.lr: expected a finite number"),
        (("loss.gama=1", "optimizer.name=sgd"), "loss.gama: unknown key; did you mean 'gamma'?"),
        (("Loss.gamma=1",), "Loss: unknown key; did you mean 'loss'?"),
        (("seed=1", "seed=2"), "seed: is given more than once, as 1 and 2"),
        (("loss.name=focal", "loss=cross_entropy"), "loss.name: is given more than once, as"),
        (("loss.gamma=1", "loss={gamma: 2}"), "loss.gamma: is given more than once, as 1 and 2"),
        (("loss.gamma=1", "loss.gamma.end=2"), "loss.gamma: is given as a value, which has"),
        (("loss.gamma.end=2",), "loss.gamma is 2 ("),
        (("input.fit.height.px=2",), "input.fit.height is 64 ("),
        (
            ("data.classes=[a, b, c]", "loss.alpha=[0.5, 0.5]"),
            "loss.alpha: a value for each of 3 classes is needed, found 2",
        ),
        (("loss={}",), "loss: an empty mapping sets nothing"),
        (("loss.gamma={schedule: liner, start: 0, end: 1}",), "did you mean 'linear'?"),
    ],
)
def test_words_that_cannot_be_in_force_are_refused_in_every_order(
    recipe: Path, words: tuple[str, ...], message: str
) -> None:
    assert message in refused(recipe, *words)


def test_the_same_value_twice_is_no_contradiction(recipe: Path) -> None:
    assert plain(recipe, "seed=1", "seed=1.0")["seed"] == 1


@pytest.mark.parametrize("word", ["novalue", "=1", "a=[1", ".loss=1", "loss..gamma=1", "{"])
def test_what_is_no_word_is_refused(recipe: Path, word: str) -> None:
    with pytest.raises(ConfigError, match="command line"):
        load_config(recipe, [word])


def test_all_findings_of_a_command_line_are_told_at_once(recipe: Path) -> None:
    words = [f"{key}=1" for key in ("loss.gama", "optimizer.lrr", "trian", "input.flipp")]
    with pytest.raises(ConfigError) as error:
        load_config(recipe, words)
    assert len(error.value.findings) == 4


def test_a_base_with_a_base_or_of_no_file_is_refused(tmp_path: Path) -> None:
    for name, text in (("a", "x: 1\n"), ("b", "_base_: a.yaml\n"), ("c", "_base_: b.yaml\n")):
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(ConfigError, match="a base has no base"):
        load_config(tmp_path / "c.yaml")
    (tmp_path / "d.yaml").write_text("_base_: [a.yaml, b.yaml]\n")
    with pytest.raises(ConfigError, match=r"d\.yaml:1: _base_: one file name is allowed"):
        load_config(tmp_path / "d.yaml")


def test_what_show_prints_reads_back_and_what_records_keep_does_too(
    tmp_path: Path, recipe: Path
) -> None:
    config = load_config(recipe)
    text = config_text(config)
    assert "betas" in text and "  momentum" not in text
    shown = tmp_path / "shown.yaml"
    shown.write_text(text)
    assert load_config(shown) == config
    kept = plain_config(config)
    assert kept["optimizer"]["momentum"] == 0.9
    assert read_config(kept) == config


def test_the_points_of_a_sweep_are_cheap(recipe: Path) -> None:
    recipes = Recipes()
    gammas = [n / 50 for n in range(100)]
    began = time.process_time()
    for gamma in gammas:
        words = words_of({"loss.gamma": gamma, "optimizer.lr": 1e-3, "seed": 1, "loss": "focal"})
        assert recipes.resolve(FOCAL, words).config.loss.values(1.0)["gamma"] == gamma
    print(f"{1000 * (time.process_time() - began) / len(gammas):.2f} ms a point")
    recipe.unlink()
    assert recipes.resolve(FOCAL).config.seed == 0
