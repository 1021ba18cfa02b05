"""Arms that differ in several keys at once: `config` as a mapping of `_base_` and what differs."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.config.resolve import parse_words
from experiments.config.run import Recipes
from experiments.config.words import short
from experiments.errors import ConfigError
from experiments.sweep.judging import Judge, judged
from experiments.sweep.space import grid_points
from experiments.sweep.study import report_options
from experiments.sweep.sweep_file import read_sweep
from experiments.verbs.arguments import add_recipe, recipe_of

ARMS = """
method: grid
command: ["${{interpreter}}", -m, experiments, train, "${{args_no_hyphens}}"]
parameters:
  config:  # scientific
    values:
      - {recipe}
      - _base_: {recipe}
        train: {{match_gradient: true}}
        loss: {{name: focal, alpha: 0.25, gamma: 1.0}}
  seed: {{values: [0, 1]}}  # seed
"""


@pytest.fixture
def arms(tmp_path: Path, recipe: Path) -> Path:
    path = tmp_path / "arms.yaml"
    path.write_text(ARMS.format(recipe=recipe))
    return path


def resolved(words: list[str]) -> Any:
    parser = argparse.ArgumentParser()
    add_recipe(parser)
    path, over = recipe_of(parser.parse_args(words))
    return Recipes().resolve(path, parse_words(over)).config


def test_a_point_means_the_same_to_the_sweep_and_to_train(arms: Path) -> None:
    sweep = read_sweep(arms)
    judge = Judge(sweep)
    for point in grid_points(sweep):
        config: Any = judge.config(point)
        recipe = point["config"]
        text = recipe if isinstance(recipe, str) else json.dumps(recipe)
        for words in ([f"config={text}"], [f"--config={text}"], ["--config", text]):
            assert resolved([*words, f"seed={point['seed']}"]) == config
        matched = not isinstance(recipe, str)
        assert config.train.match_gradient is matched
        assert config.loss.gamma == (1.0 if matched else 2.0)


def test_its_keys_are_what_tells_arms_apart_and_words_over_it_may_not_contradict(
    arms: Path, recipe: Path
) -> None:
    keys = ["loss.alpha", "loss.gamma", "loss.name", "train.match_gradient"]
    assert report_options(arms)["scientific"] == keys
    inline = {"_base_": str(recipe), "loss": {"gamma": 1.0}}
    with pytest.raises(ConfigError, match="loss.gamma: is given more than once, as 1 and 3"):
        resolved([f"config={json.dumps(inline)}", "loss.gamma=3"])
    assert short(inline) == f"{recipe.stem}/1"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("{_base_: no/such.yaml, seed: 1}", "no/such.yaml: no such file"),
        ("{loss: {gamma: 1.0}}", "expected a recipe's file, or {_base_: FILE"),
        ("{_base_: RECIPE, loss: {gama: 1.0}}", "loss.gama: unknown key; did you mean 'gamma'"),
    ],
)
def test_a_wrong_one_is_told_with_its_line(arms: Path, recipe: Path, value: str, told: str) -> None:
    values = yaml.safe_load(value.replace("RECIPE", str(recipe)))
    text = arms.read_text()
    arms.write_text(text.replace(f"- {recipe}\n", f"- {json.dumps(values)}\n"))
    events = list(judged(read_sweep(arms), 4))
    (finding,) = [event["finding"] for event in events if "finding" in event]
    assert finding.startswith(f"{arms}:7: ") and told in finding
