"""Whatever words are given over whatever recipe: their order decides nothing, and none is lost."""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.config.located import Located
from experiments.config.resolve import Word, parse_words
from experiments.config.run import Recipes, plain_config
from experiments.errors import ConfigError

CONFIGS = Path(__file__).parents[3] / "configs"
RECIPE_FILES = sorted(
    path for path in CONFIGS.rglob("*.yaml") if path.parent.name in ("glyphs", "bccd", "voc")
)
RECIPES = Recipes()
LINEAR = "{schedule: linear, start: 0, end: 2}"
VALUES = {
    "loss": ["focal", "cross_entropy", "{name: focal, gamma: 1}", "{'gamma': 1.5}", "{}", "x"],
    "loss.name": ["focal", "cross_entropy", "quality_focal", "focall"],
    "loss.gamma": ["0", "1e-1", "2", "-1", "None", LINEAR, "{end: 1}", '{"schedule": "cosine"}'],
    "loss.gamma.schedule": ["linear", "cosine", "staged"],
    "loss.gamma.start": ["0", "1"],
    "loss.gamma.end": ["2", "[2]"],
    "loss.gamma.rate": ["3"],
    "loss.alpha": ["0.25", "null", "[0.1, 0.9]", "{schedule: paper}"],
    "loss.beta": ["2"],
    "optimizer": ["{lr: 3e-4}", "{name: sgd, lr: 1}", "adamw"],
    "optimizer.name": ["sgd", "adamw", "adam"],
    "optimizer.lr": ["1e-3", "0.5", "1e-05"],
    "optimizer.momentum": ["0.5", "0.9"],
    "optimizer.betas": ["[0.9, 0.99]", "[2, 2]"],
    "learning_rate.shape": ["cosine", "steps", "constant"],
    "learning_rate.steps": ["[0.5]", "[0.5, 0.9]"],
    "learning_rate.final": ["0.1"],
    "learning_rate.warmup_iterations": ["0", "5"],
    "learning_rate.warmup_power": ["4"],
    "input.fit": ["{mode: letterbox, height: 64, width: 64}", "{height: 96}"],
    "input.fit.mode": ["stretch", "letterbox", "short_edge"],
    "input.fit.height": ["64"],
    "input.fit.short": ["64"],
    "input.jitter": ["null", "{aspect: 0.1}"],
    "input.jitter.aspect": ["0.3"],
    "detector.name": ["yolov2", "retinanet"],
    "detector.backbone": ["darknet19", "{width: 0.5}"],
    "detector.backbone.name": ["darknet19", "tiny_darknet"],
    "detector.backbone.width": ["0.25"],
    "detector.region.preset": ["modern", "darknet"],
    "detector.region.rescore": ["false"],
    "detector.head.depth": ["1"],
    "detector.normaliser.name": ["image", "ema"],
    "train.iterations": ["5", "1.5"],
    "train.ema": ["null", "0.9"],
    "seed": ["1", "2", "-1"],
    "sead": ["1"],
}
PAIRS = st.sampled_from([f"{key}={value}" for key, values in VALUES.items() for value in values])
SOME_WORDS = st.lists(PAIRS, min_size=1, max_size=6, unique=True)


def outcome(recipe: Path, words: list[Word]) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """The resolved values, or what is wrong."""
    try:
        return plain_config(RECIPES.resolve(recipe, words).config), ()
    except ConfigError as error:
        return None, tuple(sorted(error.findings))


@settings(deadline=None, max_examples=500)
@given(st.sampled_from(RECIPE_FILES), SOME_WORDS, st.randoms(use_true_random=False))
def test_order_decides_nothing_and_no_word_is_lost(
    recipe: Path, texts: list[str], random: Any
) -> None:
    words = parse_words(texts)
    found = outcome(recipe, words)
    random.shuffle(words)
    assert outcome(recipe, words) == found
    values, findings = found
    assert values is not None or findings
    if values is not None:
        for key, node in words:
            assert is_in(node, at(values, key)), f"{key}={node.value} is not in force"


def at(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values[name]
    return values


def is_in(word: Located, value: Any) -> bool:
    """Whether what a word says is what holds: a mapping gives its keys, a name a choice."""
    if isinstance(word.value, dict):
        return bool(word.keys) and all(is_in(kid, value[name]) for name, kid in word.keys.items())
    if isinstance(value, dict):
        return word.value in (value.get("name"), value.get("mode"), value.get("preset"))
    return bool(value == (None if word.value == "None" else word.value))


def test_the_words_tried_are_of_every_kind() -> None:
    """Among single words some hold and some are refused, for each key that has both."""
    recipe = CONFIGS / "glyphs" / "yolov2_focal.yaml"
    held = [text for key in VALUES for text in fits(recipe, key)]
    assert 30 < len(held) < sum(map(len, VALUES.values())) - 20


def fits(recipe: Path, key: str) -> list[str]:
    texts = [f"{key}={value}" for value in VALUES[key]]
    return [text for text in texts if outcome(recipe, parse_words([text]))[0] is not None]
