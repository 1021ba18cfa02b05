"""How rare foreground is, and the order of training images that a recipe asks for."""

from collections import Counter
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.config.run import load_config
from experiments.errors import ConfigError
from experiments.probes.cost import count_foreground
from experiments.run.assembly import _order, build_detector, open_splits

CONFIGS = Path(__file__).parents[3] / "configs/glyphs"
SMALL = [
    "data.val=val",
    "detector.backbone={name: torchvision, arch: resnet18}",
    "input.fit={mode: stretch, height: 64, width: 96}",
    "train.workers=0",
]


def recipe(root: Path, detector: str, *more: str):
    return load_config(CONFIGS / f"{detector}_focal.yaml", [f"data.root={root}", *SMALL, *more])


def test_every_cell_of_yolov2_offers_its_anchors(small_glyphs):
    config = recipe(small_glyphs, "yolov2", "detector.region={preset: darknet}")
    dataset = open_splits(config).train
    counts = count_foreground(config, dataset, len(dataset))
    assert counts.images == 24
    assert counts.anchors == 24 * (64 // 16) * (96 // 16) * 4
    objects = sum(int((~dataset.annotation(i).ignore_N).sum()) for i in range(len(dataset)))
    assert 0.5 * objects < counts.foreground <= objects  # truths that share a cell share an anchor


def test_retinanet_offers_nine_anchors_a_place(small_glyphs):
    config = recipe(small_glyphs, "retinanet")
    counts = count_foreground(config, open_splits(config).train, 8)
    assert counts.anchors == 8 * 9 * (8 * 12 + 4 * 6 + 2 * 3)
    assert counts.one_in == counts.anchors / counts.foreground


def test_the_verb_prints_the_share(small_glyphs, capsys):
    config = CONFIGS / "yolov2_focal.yaml"
    assert main(["data", "stats", str(small_glyphs), "--config", str(config), "--sample", "8"]) == 0
    out = capsys.readouterr().out
    assert "foreground among anchors" in out
    assert "400" in out  # anchors an image: 10 x 10 cells of 4


def test_grouped_batches_hold_one_orientation_mostly(small_glyphs):
    config = recipe(small_glyphs, "retinanet", "train.group=orientation", "train.batch_size=4")
    dataset = open_splits(config).train
    order = _order(config, dataset)
    sizes = dataset.sizes_I2
    pure = sum(
        len({bool(sizes[d.image][1] >= sizes[d.image][0]) for d in order.batch_draws(number)}) == 1
        for number in range(32)
    )
    assert pure >= 31  # one batch may hold both, where the groups meet


def test_images_of_rare_classes_come_more_often(small_glyphs):
    config = recipe(small_glyphs, "retinanet", "train.repeat_threshold=0.5")
    dataset = open_splits(config).train
    order = _order(config, dataset)
    assert order.pass_length > len(dataset)
    batches = order.pass_length // order.batch
    drawn = Counter(d.image for number in range(batches) for d in order.batch_draws(number))
    images = Counter(
        label for i in range(len(dataset)) for label in set(dataset.annotation(i).labels_N.tolist())
    )
    rarest = min(images, key=images.__getitem__)
    holders = [i for i in range(len(dataset)) if rarest in dataset.annotation(i).labels_N]
    assert max(drawn[i] for i in holders) >= 2


def test_a_threshold_outside_its_range_is_refused(small_glyphs):
    with pytest.raises(ConfigError, match=r"repeat_threshold.*\(0, 1\]"):
        recipe(small_glyphs, "retinanet", "train.repeat_threshold=2")


def test_the_detector_says_how_many_anchors_it_offers(small_glyphs):
    config = recipe(small_glyphs, "yolov2")
    assert build_detector(config, ("a",)).anchors_A2.shape == (4, 2)
