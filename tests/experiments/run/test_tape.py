"""Which runs share a tape: those that agree in all that comes before the first trained weight."""

import shutil
from pathlib import Path

import pytest
import torch

from experiments.config.run import load_config
from experiments.engine.arithmetic import choose, device_here, placed
from experiments.run.assembly import build_detector, open_splits
from experiments.run.tape import key_parts, place_of

RECIPE = """
data: {{name: voc, root: {root}, train: train, val: val, test: test}}
detector:
  name: yolov2
  backbone: {{name: torchvision, arch: resnet18, norm: frozen, frozen_stages: {stages}}}
  head_width: 32
  passthrough: 16
loss: {{name: focal, alpha: null, gamma: 2.0}}
input: {{fit: {{mode: stretch, height: 64, width: 64}}}}
"""


@pytest.fixture
def recipe(tmp_path: Path, small_glyphs: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(root=small_glyphs, stages=5))
    return path


def parts(recipe: Path, *words: str, split: str = "train") -> dict[str, object]:
    config = load_config(recipe, words)
    splits = open_splits(config)
    detector = build_detector(config, splits.train.classes)
    arithmetic = choose(config.train, detector, device_here())
    placed(detector, device_here(), arithmetic)
    dataset = splits.train if split == "train" else splits.measured
    return key_parts(config, arithmetic, split, dataset, detector)


def test_arms_of_one_seed_share_a_tape(recipe: Path) -> None:
    """Here weights are drawn from the seed, in one order whatever the head."""
    words = (
        *("loss={name: cross_entropy}", "optimizer.lr=0.01", "learning_rate.warmup_iterations=3"),
        *("detector.head_width=64", "train.iterations=5"),
        *("train.accumulate=2", "train.validate_every=2", "train.ema=0.5", "evaluate.batch_size=3"),
        *("train.workers=2", "arm=other", "tracking.wandb=off"),
    )

    assert parts(recipe, *words) == parts(recipe)


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("seed=1", "seed"),
        ("train.batch_size=3", "settings"),
        ("train.group=orientation", "settings"),
        ("input.jitter={aspect: 0.3, scale: [0.8, 1.2]}", "settings"),
        ("input.sizes=[[64, 64], [96, 96]]", "settings"),
        ("data.classes=[square, cross]", "images"),
        ("detector.backbone.frozen_stages=4", "network"),
        ("detector.backbone.norm_epsilon=0.1", "probe"),
        ("train.precision=bfloat16", "arithmetic"),
        ("train.channels_last=false", "arithmetic"),
    ],
)
def test_other_inputs_other_networks_and_other_arithmetic_have_their_own(
    word: str, part: str, recipe: Path
) -> None:
    if word.startswith("data.classes"):
        classes = open_splits(load_config(recipe)).train.classes
        word = f"data.classes=[{', '.join(classes[:2])}]"
    one, other = parts(recipe), parts(recipe, word)
    assert one[part] != other[part]


def test_the_batches_of_a_test_split_are_the_same_for_all_seeds(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.manual_seed", lambda seed: torch.default_generator.manual_seed(7))
    one = parts(recipe, split="test")  # as with weights from a file
    assert one == parts(recipe, "seed=1", "train.batch_size=3", split="test")
    assert one != parts(recipe, "evaluate.batch_size=3", split="test")


def test_threads_count(recipe: Path) -> None:
    before = torch.get_num_threads()
    one = parts(recipe)
    try:
        torch.set_num_threads(before + 1)
        assert parts(recipe)["machine"] != one["machine"]
    finally:
        torch.set_num_threads(before)


def test_images_that_were_written_anew_are_not_trusted(
    recipe: Path, tmp_path: Path, small_glyphs: Path
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(small_glyphs, root)
    one = parts(recipe, f"data.root={root}")
    assert one == parts(recipe, f"data.root={root}")
    for image in root.glob("JPEGImages/*"):
        image.write_bytes(image.read_bytes())
    assert one["images"] != parts(recipe, f"data.root={root}")["images"]


def test_the_last_batches_size_makes_the_length_of_training_count(recipe: Path) -> None:
    words = ("input.last_size=[96, 96]", "input.last_batches=2")
    assert parts(recipe, *words) != parts(recipe, *words, "train.iterations=5")


@pytest.mark.parametrize(
    ("asked", "variables", "expected"),
    [
        ("sweeps", {}, None),
        ("auto", {}, "runs/tape"),
        ("off", {"SOFTGAMMA_TAPE": "sweep/tape"}, None),
        ("sweeps", {"SOFTGAMMA_TAPE": "sweep/tape"}, "sweep/tape"),
        ("sweeps", {"WANDB_SWEEP_ID": "abc"}, "runs/tape-abc"),
    ],
)
def test_where_a_tape_lies(
    asked: str,
    variables: dict[str, str],
    expected: str | None,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SOFTGAMMA_TAPE", "WANDB_SWEEP_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)  # as sweeps and W&B's agents tell their trials
    found = place_of(load_config(recipe, [f"train.tape={asked}"]), Path("runs/one"))
    assert found == (None if expected is None else Path(expected))
