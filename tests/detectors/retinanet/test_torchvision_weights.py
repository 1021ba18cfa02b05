"""The same state dict in torchvision's RetinaNet and in ours: the same numbers everywhere."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet as TheirRetinaNet
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from datasets.sample import Batch, Sample, collate
from detectors.errors import DetectorError
from detectors.retinanet.detector import (
    TORCHVISION_V1,
    TORCHVISION_V2,
    DenseOutput,
    RetinaNetDetector,
)
from detectors.retinanet.torchvision_weights import export_state, load_state
from losses.focal import Focal

SIZES = ((96, 160), (128, 96))  # pixels; both already multiples of 32, together padded to 128 x 160


def lively(network: nn.Module, seed: int) -> None:
    """Weights under which scores spread over (0, 1) and batch statistics are not those of
    initialisation.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.8, 1.2, generator=generator)
        elif name.endswith("running_mean"):
            tensor.normal_(0, 0.05, generator=generator)
        elif name.endswith("bn3.weight"):  # else sixteen residual sums grow without bound
            tensor.fill_(0.3)
        elif "_head.conv" in name and name.endswith("0.weight"):
            tensor.normal_(0, math.sqrt(2 / (9 * 256)), generator=generator)
        elif "cls_logits.weight" in name or "bbox_reg.weight" in name:
            tensor.normal_(0, 0.01, generator=generator)
        elif "cls_logits.bias" in name:
            tensor.fill_(-3.5)


@cache
def theirs(version: int, classes: int = 91) -> TheirRetinaNet:
    torch.manual_seed(version)
    options = {"min_size": 96, "max_size": 160, "num_classes": classes}
    if version == 2:
        network = torchvision.models.detection.retinanet_resnet50_fpn_v2(
            weights=None, weights_backbone=None, **options
        )
    else:
        backbone = resnet_fpn_backbone(  # with frozen norms, as V1 is built for pretrained weights
            backbone_name="resnet50",
            weights=None,
            returned_layers=[2, 3, 4],
            extra_blocks=LastLevelP6P7(256, 256),
        )
        network = TheirRetinaNet(backbone, **options)
    lively(network, seed=version)
    return network.eval()


# Two networks of 60 float32 layers that add up in different orders, in units of the greatest logit:
# 1.1e-5 was seen with AVX2, 3e-6 with AVX-512.
TOLERANCE = 5e-5


def ours(version: int, classes: int = 91, **changes: object) -> RetinaNetDetector:
    settings = TORCHVISION_V1 if version == 1 else TORCHVISION_V2
    return replace(settings, **changes).build(classes).eval()


@cache
def loaded(version: int) -> RetinaNetDetector:
    detector = ours(version)
    load_state(detector, theirs(version).state_dict())
    return detector


def images(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.rand(3, *SIZES[i], generator=generator) for i in range(count)]


def relative(found: Tensor, expected: Tensor) -> float:
    """Greatest difference over the greatest value."""
    return float((found - expected).abs().max() / expected.abs().max())


def both(version: int, count: int) -> tuple[dict[str, Tensor], DenseOutput]:
    network = theirs(version)
    batch, _ = network.transform(images(count))
    with torch.no_grad():
        expected = network.head(list(network.backbone(batch.tensors).values()))
        return expected, loaded(version)(batch.tensors)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("count", [1, 2])
def test_logits_and_offsets_are_torchvisions(version: int, count: int) -> None:
    expected, found = both(version, count)
    assert expected["cls_logits"].std() > 0.1  # not a comparison of constants
    assert relative(found.logits_BAK, expected["cls_logits"]) < TOLERANCE
    assert relative(found.deltas_BA4, expected["bbox_regression"]) < TOLERANCE


@pytest.mark.parametrize("version", [1, 2])
def test_detections_are_torchvisions(version: int) -> None:
    network, detector = theirs(version), loaded(version)
    batch, _ = network.transform(images(2))
    with torch.no_grad():
        features = list(network.backbone(batch.tensors).values())
        heads = network.head(features)
        sizes = [9 * f.shape[2] * f.shape[3] for f in features]
        anchors = network.anchor_generator(batch, features)
        expected = network.postprocess_detections(
            {name: list(values.split(sizes, dim=1)) for name, values in heads.items()},
            [list(a.split(sizes)) for a in anchors],
            batch.image_sizes,
        )
        output = DenseOutput(
            heads["cls_logits"], heads["bbox_regression"], detector(batch.tensors).grid
        )
        found = detector.decode(output, torch.tensor(batch.image_sizes))
    for theirs_here, ours_here in zip(expected, found, strict=True):
        assert len(ours_here.scores_D) > 20
        assert torch.equal(ours_here.labels_D, theirs_here["labels"])
        assert torch.allclose(ours_here.scores_D, theirs_here["scores"], rtol=TOLERANCE)
        assert relative(ours_here.boxes_D4, theirs_here["boxes"]) < TOLERANCE


TARGETS = [
    {
        "boxes": torch.tensor([[10.0, 12, 70, 80], [60, 20, 150, 90]]),
        "labels": torch.tensor([3, 17]),
    },
    {"boxes": torch.tensor([[5.0, 50, 90, 120]]), "labels": torch.tensor([90])},
]


@pytest.mark.parametrize("version", [1, 2])
def test_losses_and_gradients_are_torchvisions(version: int) -> None:
    network, detector = theirs(version), loaded(version)
    detector.classification_loss = Focal(alpha=0.25, gamma=2.0).at(0.0)
    batch, _ = network.transform(images(2))
    features = list(network.backbone(batch.tensors).values())
    heads = {
        name: values.detach().requires_grad_() for name, values in network.head(features).items()
    }
    anchors = network.anchor_generator(batch, features)
    expected = network.compute_loss(TARGETS, heads, anchors)
    sum(expected.values()).backward()

    grid = detector(batch.tensors).grid
    logits, deltas = (
        heads[name].detach().clone().requires_grad_() for name in ("cls_logits", "bbox_regression")
    )
    terms = detector.loss(DenseOutput(logits, deltas, grid), truth())
    terms.total.backward()
    assert terms.classification.item() == pytest.approx(expected["classification"].item(), rel=1e-5)
    assert terms.box.item() == pytest.approx(expected["bbox_regression"].item(), rel=1e-5)
    for mine, name in ((logits, "cls_logits"), (deltas, "bbox_regression")):
        assert mine.grad is not None and heads[name].grad is not None
        assert (mine.grad - heads[name].grad).abs().max() <= 1e-5 * heads[name].grad.abs().max()


def truth() -> Batch:
    samples = [
        Sample(
            image_CHW=torch.zeros(3, *SIZES[index], dtype=torch.uint8),
            boxes_N4=target["boxes"],
            labels_N=target["labels"],
            ignore_N=torch.zeros(len(target["labels"]), dtype=torch.bool),
            image_id=str(index),
            index=index,
            original_hw=SIZES[index],
        )
        for index, target in enumerate(TARGETS)
    ]
    return collate(samples, multiple=32)


@pytest.mark.parametrize("version", [1, 2])
def test_a_state_dict_comes_out_as_it_went_in(version: int) -> None:
    given = theirs(version).state_dict()
    returned = export_state(loaded(version))
    assert list(returned) == list(given)
    assert all(torch.equal(returned[name], given[name]) for name in given)


def test_names_of_before_torchvision_0_13_load_too() -> None:
    """V1's published file has them: convolutions of pyramid and head were not yet blocks."""
    given = theirs(1).state_dict()
    old = {}
    for name, tensor in given.items():
        for i in range(4):
            name = name.replace(f"_head.conv.{i}.0.", f"_head.conv.{2 * i}.")
        for block in ("inner_blocks", "layer_blocks"):
            for i in range(3):
                name = name.replace(f"fpn.{block}.{i}.0.", f"fpn.{block}.{i}.")
        old[name] = tensor
    assert set(old) != set(given)
    detector = ours(1)
    load_state(detector, old)
    returned = export_state(detector)
    assert all(torch.equal(returned[name], given[name]) for name in given)


def test_counters_of_trained_norms_do_not_matter_to_frozen_ones() -> None:
    given = dict(theirs(1).state_dict())
    given["backbone.body.bn1.num_batches_tracked"] = torch.tensor(5)
    load_state(ours(1), given)


@pytest.mark.parametrize(
    ("build", "version", "message"),
    [
        (lambda: ours(1, classes=20), 1, "head has 91 classes, this detector 20; set drop_head"),
        (lambda: ours(2), 1, "no GroupNorm \\(V1\\)"),
        (lambda: ours(1), 2, "GroupNorm \\(V2\\)"),
        (lambda: ours(1, pyramid=TORCHVISION_V2.pyramid), 1, "set pyramid.p6_from"),
        (
            lambda: ours(1, anchors=replace(TORCHVISION_V1.anchors, octave_scales=1)),
            1,
            "9 anchors a cell, this detector 3",
        ),
    ],
)
def test_a_mismatch_is_explained(
    build: Callable[[], RetinaNetDetector], version: int, message: str
) -> None:
    with pytest.raises(DetectorError, match=message):
        load_state(build(), theirs(version).state_dict())


def test_dropping_the_head_keeps_all_but_the_class_layer(tmp_path: Path) -> None:
    given = theirs(1).state_dict()
    torch.save(given, tmp_path / "v1.pth")
    detector = ours(1, classes=20, weights=str(tmp_path / "v1.pth"), drop_head=True)
    returned = export_state(detector)
    kept = [name for name in given if "cls_logits" not in name]
    assert all(torch.equal(returned[name], given[name]) for name in kept)
    bias = detector.classification.predict.bias
    assert torch.allclose(bias, torch.tensor(-math.log(0.99 / 0.01)))


def test_torchvisions_names_are_checked_before_any_download() -> None:
    with pytest.raises(DetectorError, match="RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1"):
        ours(1, weights="torchvision:RetinaNet_ResNet50_FPN_V2_Weights.COCO_V2")
