"""YOLOv2 as a detector: shapes, learning, decoding, sites of the focal loss, folding."""

import dataclasses
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from detectors import DETECTORS
from detectors.backbones import TimmBackbone
from detectors.base import Detections
from detectors.errors import DetectorError
from detectors.yolov2.darknet19 import Darknet19
from detectors.yolov2.detector import RegionOutput, YOLOv2, YOLOv2Detector
from detectors.yolov2.objectness import quality_objectness
from detectors.yolov2.settings import Darknet, Modern
from losses.focal import Focal, FocalLoss

CLASSES = 3
SMALL = YOLOv2(backbone=Darknet19(width=1 / 16), head_width=32, head_depth=1, passthrough=8)


@dataclass(frozen=True)
class Labels:
    """The truth of a batch, as `detectors.base.Truth` asks."""

    boxes_BM4: Tensor
    labels_BM: Tensor
    valid_BM: Tensor
    ignore_BM: Tensor


def scene(height: int = 96, width: int = 128) -> tuple[Tensor, Labels]:
    """Two images, each with a bright square of class 0 and a dark one of class 2, padded with a
    third row.
    """
    boxes = torch.tensor(
        [
            [[8.0, 8, 56, 56], [70, 30, 118, 86], [0, 0, 0, 0]],
            [[60, 10, 100, 60], [4, 40, 50, 90], [0, 0, 0, 0]],
        ]
    )
    images = torch.full((2, 3, height, width), 0.4)
    labels = torch.tensor([[0, 2, 0], [0, 2, 0]])
    for image in range(2):
        for box, label in zip(
            boxes[image, :2].int().tolist(), labels[image, :2].tolist(), strict=True
        ):
            images[image, :, box[1] : box[3], box[0] : box[2]] = 1.0 if label == 0 else 0.0
    valid = torch.tensor([[True, True, False]] * 2)
    return images, Labels(boxes, labels, valid, torch.zeros_like(valid))


def build(settings: YOLOv2 = SMALL, **changes: object) -> YOLOv2Detector:
    torch.manual_seed(0)
    built = dataclasses.replace(settings, **changes).build(CLASSES)  # type: ignore[arg-type]
    built.images_seen = 20000  # past Darknet's pull of idle anchors
    return built


def content(images: Tensor) -> Tensor:
    return torch.tensor([images.shape[-2:]] * len(images))


@pytest.mark.parametrize("stride", [32, 16])
def test_output_has_a_row_for_every_cell_and_anchor(stride: int) -> None:
    images, _ = scene()
    fields = build(output_stride=stride)(images).fields_BHWAF
    assert fields.shape == (2, 96 // stride, 128 // stride, 5, 5 + CLASSES)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"region": Modern(), "output_stride": 16, "objectness_prior": 0.01},
        {"sites": ("class_sigmoid", "objectness_quality")},
    ],
)
def test_learns_two_images_by_heart(changes: dict[str, object]) -> None:
    images, truth = scene()
    model = build(batch_norm_momentum=0.1, **changes)
    model.classification_loss = Focal(alpha=None, gamma=1.0).at(0.0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        terms = model.loss(model(images), truth)
        terms.total.backward()
        optimiser.step()
    model.eval()
    found = model.decode(model(images), content(images))
    for image in range(2):
        best = sorted(
            zip(found[image].labels_D[:2].tolist(), found[image].boxes_D4[:2], strict=True),
            key=lambda row: row[0],
        )
        assert [label for label, _ in best] == [0, 2]
        for (_, box), wanted in zip(best, truth.boxes_BM4[image, :2], strict=True):
            assert (box - wanted).abs().max() < 8


def test_decoded_boxes_are_sorted_clipped_and_above_the_threshold() -> None:
    images, _ = scene()
    model = build().eval()
    limits = torch.tensor([[90, 100], [96, 128]])
    for found, (height, width) in zip(
        model.decode(model(images), limits), limits.tolist(), strict=True
    ):
        assert (found.scores_D.diff() <= 0).all() and (found.scores_D > 0.005).all()
        assert (found.boxes_D4 >= 0).all()
        assert (found.boxes_D4[:, 2] <= width).all() and (found.boxes_D4[:, 3] <= height).all()
        assert (found.boxes_D4[:, 2:] > found.boxes_D4[:, :2]).all()
        assert found.labels_D.dtype == torch.int64


def test_one_strong_cell_decodes_to_its_box() -> None:
    fields = torch.full((1, 3, 4, 5, 5 + CLASSES), -20.0)
    fields[..., :4] = 0
    fields[0, 1, 2, 0, 4:] = torch.tensor([20.0, -20, 20, -20])
    (found,) = build().decode(RegionOutput(fields, 32), torch.tensor([[96, 128]]))
    assert len(found.scores_D) == 1 and found.labels_D.tolist() == [1]
    half = torch.tensor([1.3221, 1.73145]) * 16
    expected = torch.tensor([80.0, 48, 80, 48]) + torch.cat((-half, half))
    torch.testing.assert_close(found.boxes_D4[0], expected.clamp(min=0))


def test_limits_on_candidates_and_detections_keep_the_best() -> None:
    images, _ = scene()
    model = build().eval()
    (every, _), (few, _) = (dataclass_decode(model, images, most) for most in (None, 5))
    torch.testing.assert_close(few.scores_D, every.scores_D[:5])


def dataclass_decode(model: YOLOv2Detector, images: Tensor, most: int | None) -> list[Detections]:
    model.settings = dataclasses.replace(model.settings, max_detections=most, candidates=None)
    return model.decode(model(images), content(images))


def test_folded_network_answers_the_same() -> None:
    images, _ = scene()
    model = build()
    model(images)
    model.eval()
    with torch.no_grad():
        plain, folded = model(images).fields_BHWAF, model.fuse()(images).fields_BHWAF
    torch.testing.assert_close(folded, plain, rtol=1e-4, atol=1e-4 * plain.abs().max().item())
    assert any(isinstance(part, torch.nn.BatchNorm2d) for part in model.modules())


CLASS_FIELDS, OBJECTNESS, BOX_FIELDS = slice(5, 5 + CLASSES), slice(4, 5), slice(0, 4)


@pytest.mark.parametrize(
    ("sites", "moved"),
    [
        (("class_softmax",), CLASS_FIELDS),
        (("class_sigmoid",), CLASS_FIELDS),
        (("objectness",), OBJECTNESS),
        (("objectness_quality",), OBJECTNESS),
    ],
)
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_gamma_moves_only_the_gradient_of_its_site(
    sites: tuple[str, ...], moved: slice, gamma: float
) -> None:
    images, truth = scene()
    model = build(sites=sites)
    fields = model(images).fields_BHWAF.detach()

    def gradient(at: float) -> Tensor:
        model.classification_loss = FocalLoss(None, at)
        leaf = fields.clone().requires_grad_()
        model.loss(RegionOutput(leaf, 32), truth).total.backward()
        assert leaf.grad is not None and leaf.grad.isfinite().all()
        return leaf.grad

    difference = (gradient(0.0) - gradient(gamma)).abs().amax((0, 1, 2, 3))
    assert (difference[moved] > 0).all()
    difference[moved] = 0
    assert (difference == 0).all()


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_quality_focal_is_focal_at_hard_targets(gamma: float, alpha: float | None) -> None:
    logits = torch.linspace(-8, 8, 40)
    targets = (torch.arange(40) % 2).float()
    loss = FocalLoss(alpha, gamma)
    expected = loss.sigmoid(logits[:, None], targets[:, None])[:, 0]
    torch.testing.assert_close(quality_objectness(logits, targets, loss), expected)


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_quality_focal_rests_where_prediction_meets_overlap(gamma: float) -> None:
    targets = torch.linspace(0.1, 0.9, 9)
    logits = targets.logit().requires_grad_()
    loss = quality_objectness(logits, targets, FocalLoss(None, gamma))
    assert loss.max().item() < 1e-6


def test_soft_gamma_meets_the_formula_at_both_ends_of_its_ramp() -> None:
    logits, targets = torch.randn(50), torch.rand(50)

    def at(gamma: float) -> Tensor:
        return quality_objectness(logits, targets, FocalLoss(None, gamma))

    torch.testing.assert_close(at(1e-6), at(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(at(1 - 1e-6), at(1.0), atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:alpha")
def test_class_weights_do_not_reach_objectness() -> None:
    images, truth = scene()
    model = build(sites=("class_softmax", "objectness"))
    output = model(images)
    model.classification_loss = FocalLoss(0.25, 2.0)
    plain = model.loss(output, truth).objectness
    model.classification_loss = FocalLoss(0.25, 2.0, class_weights=(1.0, 2.0, 3.0))
    assert model.loss(output, truth).objectness == plain


def test_timm_backbone_serves_as_well() -> None:
    images, truth = scene()
    model = build(backbone=TimmBackbone(arch="tf_efficientnet_lite0"))
    terms = model.loss(model(images), truth)
    terms.total.backward()
    assert terms.total.isfinite() and terms.foreground == 4


def test_prior_sets_the_first_objectness() -> None:
    images, _ = scene()
    model = build(objectness_prior=0.02).eval()
    assert model(images).fields_BHWAF[..., 4].sigmoid().mean().item() == pytest.approx(
        0.02, rel=0.2
    )


def test_the_loss_is_float32_and_equal_under_autocast_inputs() -> None:
    images, truth = scene()
    model = build()
    output = model(images)
    half = RegionOutput(output.fields_BHWAF.bfloat16(), 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.loss(half, truth).total.dtype == torch.float32


def test_the_table_names_it() -> None:
    assert DETECTORS["yolov2"] is YOLOv2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sites", ("class_softmax", "class_sigmoid")),
        ("sites", ("objectness", "objectness_quality")),
        ("passthrough", 6),
        ("head_width", 4),
        ("anchors", ((1.0, -2.0),)),
        ("score_threshold", 2.0),
        ("candidates", 0),
    ],
)
def test_impossible_settings_name_their_field(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        YOLOv2(**{name: value})  # type: ignore[arg-type]


def test_anchors_in_pixels_and_cells_agree() -> None:
    cells = YOLOv2(anchors=((1.0, 2.0),)).anchor_pixels()
    assert cells == YOLOv2(anchors=((32.0, 64.0),), anchor_unit="pixels").anchor_pixels()


def test_quality_site_refuses_a_loss_without_gamma() -> None:
    class Other:
        pass

    with pytest.raises(DetectorError, match="objectness_quality"):
        quality_objectness(torch.zeros(1), torch.zeros(1), Other())  # type: ignore[arg-type]


def test_region_defaults_are_darknets() -> None:
    assert YOLOv2().region == Darknet() and YOLOv2().sites == ("class_softmax",)
