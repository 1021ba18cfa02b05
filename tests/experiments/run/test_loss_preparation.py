"""What a loss takes from the data: counts on a seeded sample, class weights, a gradient scale."""

from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.glyphs.write import write_glyphs
from experiments.config.run import load_config
from experiments.errors import UsageError
from experiments.record.parts import Arithmetic
from experiments.record.record import load_record
from experiments.run.assembly import batches_from, build_detector, open_splits
from experiments.run.loss_preparation import count_objects, gradient_scale, prepare_loss
from experiments.run.training import train_run
from losses import CrossEntropy, Focal
from losses.gradient_matching import ScaledLoss, gradient_norm

PLAIN = Arithmetic("float32", channels_last=False)
CONFIGS = Path(__file__).parents[3] / "configs/glyphs"
SMALL = [
    "data.val=val",
    "detector.backbone={name: torchvision, arch: resnet18}",
    "input.fit={mode: stretch, height: 64, width: 64}",
    "train.batch_size=2",
    "train.iterations=2",
    "train.workers=0",
    "tracking.wandb=off",
]


@pytest.fixture(scope="module")
def glyphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_glyphs(tmp_path_factory.mktemp("data") / "glyphs", train=40, val=2, test=3)


def small(glyphs: Path, detector: str, *more: str):
    return load_config(CONFIGS / f"{detector}_focal.yaml", [f"data.root={glyphs}", *SMALL, *more])


def test_all_images_counted_equal_a_plain_count(glyphs):
    dataset = open_splits(small(glyphs, "retinanet")).train
    images, counts = count_objects(dataset, None, 0)
    plain = [0] * len(dataset.classes)
    for index in range(len(dataset)):
        labels = dataset.annotation(index)
        for label, ignored in zip(labels.labels_N, labels.ignore_N, strict=True):
            plain[label] += not ignored
    assert images == 40
    assert counts == tuple(plain)


def test_a_sample_is_seeded_and_no_larger_than_asked(glyphs):
    dataset = open_splits(small(glyphs, "retinanet")).train
    images, counts = count_objects(dataset, 10, 3)
    assert images == 10
    assert counts == count_objects(dataset, 10, 3)[1]
    assert counts != count_objects(dataset, 10, 4)[1]
    assert np.less_equal(counts, count_objects(dataset, None, 0)[1]).all()


def test_counts_and_weights_are_in_the_record(glyphs, tmp_path):
    weights = "loss.class_weights={schedule: class_frequency, images: 10}"
    train_run(small(glyphs, "retinanet", weights), tmp_path / "run")
    facts = load_record(tmp_path / "run").loss
    assert facts.counted_images == 10
    assert sum(facts.class_counts.values()) > 0
    assert np.mean(list(facts.class_weights.values())) == pytest.approx(1)
    most = max(facts.class_counts, key=facts.class_counts.__getitem__)
    assert facts.class_weights[most] == min(facts.class_weights.values())


@pytest.mark.parametrize("detector", ["retinanet", "yolov2"])
@pytest.mark.parametrize("gamma", ["0.0", "2.0", "{schedule: linear, start: 0.0, end: 2.0}"])
def test_a_matched_arm_starts_with_the_gradient_of_cross_entropy(glyphs, detector, gamma):
    config = small(glyphs, detector, f"loss.gamma={gamma}")
    splits = open_splits(config)
    network = build_detector(config, splits.train.classes).train()
    batch = next(iter(batches_from(config, splits.train, network, 0)))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    scale = gradient_scale(network, config.loss, batch, PLAIN)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name

    def length(loss):
        """Of the gradient that the loss causes; what it does not cause cancels out."""
        output = network(network.normalise(batch.images_BCHW, batch.content_B2))
        totals = []
        for factor in (3.0, 1.0):
            network.classification_loss = ScaledLoss(loss, factor)
            totals.append(network.loss(output, batch).total)
        return gradient_norm((totals[0] - totals[1]) / 2, network.parameters())

    matched = length(ScaledLoss(config.loss.at(1.0), scale))
    assert matched.item() == pytest.approx(length(CrossEntropy().at(0.0)).item(), rel=1e-3)


def test_a_gamma_that_ends_at_0_has_nothing_to_match(glyphs):
    config = small(glyphs, "yolov2", "loss.gamma={schedule: cyclical, peak: 2.0}")
    splits = open_splits(config)
    network = build_detector(config, splits.train.classes)
    batch = next(iter(batches_from(config, splits.train, network, 0)))
    with pytest.raises(UsageError, match="gamma ends at 0"):
        gradient_scale(network, config.loss, batch, PLAIN)


def test_a_ramp_to_the_end_ends_and_accumulated_foreground_adds_up(glyphs, tmp_path):
    ramp = "loss.gamma={schedule: linear, start: 0.0, end: 2.0, ramp: [0.0, 1.0]}"
    rows = {}
    for parts in (1, 2):
        config = small(glyphs, "yolov2", ramp, f"train.accumulate={parts}")
        train_run(config, tmp_path / f"{parts}")
        rows[parts] = load_record(tmp_path / f"{parts}").curves
    assert [row["gamma"] for row in rows[1]] == [0.0, 2.0]
    assert rows[2][0]["foreground"] == sum(row["foreground"] for row in rows[1])


def test_the_scale_is_in_the_record_and_in_force(glyphs, tmp_path):
    train_run(small(glyphs, "yolov2", "train.match_gradient=true"), tmp_path / "run")
    record = load_record(tmp_path / "run")
    assert record.loss.gradient_scale is not None and record.loss.gradient_scale > 1
    assert {point["scale"] for point in record.curves} == {record.loss.gradient_scale}


def test_cross_entropy_is_matched_to_itself(glyphs):
    config = small(glyphs, "retinanet", "train.match_gradient=true", "loss={name: cross_entropy}")
    splits = open_splits(config)
    network = build_detector(config, splits.train.classes).train()
    batch = next(iter(batches_from(config, splits.train, network, 0)))
    _, facts = prepare_loss(config, splits.train, network, PLAIN, batch)
    assert facts.gradient_scale == pytest.approx(1.0)


def test_fixed_losses_take_nothing_from_the_data(glyphs):
    config = small(glyphs, "retinanet")
    splits = open_splits(config)
    loss, facts = prepare_loss(config, splits.train, build_detector(config, ("a",)), PLAIN, None)
    assert loss == config.loss == Focal(alpha=0.25, gamma=2.0)
    assert facts.class_counts == {} and facts.gradient_scale is None


def test_values_by_class_are_as_many_as_classes(small_glyphs: Path) -> None:
    config = small(small_glyphs, "yolov2", "loss.alpha=[0.1, 0.9]")
    train = open_splits(config).train
    network = build_detector(config, train.classes)
    with pytest.raises(ValueError, match=f"alpha: a value for each of {len(train.classes)} c"):
        prepare_loss(config, train, network, PLAIN, None)
