"""The region loss against Darknet's algorithm written out as loops, and each switch as a claim."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from detectors.yolov2.darknet19 import Darknet19
from detectors.yolov2.detector import ANCHORS, RegionOutput, YOLOv2, YOLOv2Detector
from detectors.yolov2.settings import Darknet, Lightnet, Marvis, Modern

CLASSES = 4
SIZE = (96, 128)  # height, width in pixels: 3 x 4 cells
SMALL = {"head_width": 16, "passthrough": 8}


@dataclass(frozen=True)
class Labels:
    """The truth of a batch, as `detectors.base.Truth` asks."""

    boxes_BM4: Tensor
    labels_BM: Tensor
    valid_BM: Tensor
    ignore_BM: Tensor


def detector(region: Darknet | None = None, **settings: object) -> YOLOv2Detector:
    torch.manual_seed(0)
    chosen = {
        "backbone": Darknet19(width=1 / 64),
        "region": region or Darknet(),
        **SMALL,
        **settings,
    }
    built = YOLOv2(**chosen).build(CLASSES)  # type: ignore[arg-type]
    built.images_seen = 20000  # past Darknet's pull of idle anchors
    return built


def random_case(seed: int, images: int = 3, most: int = 6) -> tuple[Tensor, Labels]:
    """Raw predictions and truths; the second truth of an image shares its first one's centre."""
    random = torch.Generator().manual_seed(seed)
    fields = torch.randn(images, SIZE[0] // 32, SIZE[1] // 32, 5, 5 + CLASSES, generator=random)
    extent = torch.tensor([SIZE[1], SIZE[0]])
    centres = (torch.rand(images, most, 2, generator=random) * 0.8 + 0.1) * extent
    centres[:, 1:2] = centres[:, :1]
    sizes = (torch.rand(images, most, 2, generator=random) * 0.6 + 0.05) * extent
    valid = torch.rand(images, most, generator=random) < 0.8
    boxes = torch.cat((centres - sizes / 2, centres + sizes / 2), -1) * valid[..., None]
    labels = torch.randint(CLASSES, (images, most), generator=random)
    return fields, Labels(boxes, labels, valid, torch.zeros_like(valid))


def one_box(x1: float, y1: float, x2: float, y2: float) -> Labels:
    """One image with one box of class 0."""
    box = torch.tensor([[[x1, y1, x2, y2]]])
    valid = torch.ones(1, 1, dtype=torch.bool)
    return Labels(box, torch.zeros(1, 1, dtype=torch.int64), valid, ~valid)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """IoU of (centre x, centre y, width, height)."""
    sides = [
        min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2)
        - max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2)
        for i in (0, 1)
    ]
    common = sides[0] * sides[1] if min(sides) > 0 else 0.0
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def darknet_gradient(fields: Tensor, truth: Labels, early: bool) -> Tensor:
    """Gradient of the summed loss, by Darknet's steps, one prediction at a time, in double
    precision.
    """
    images, rows, columns, anchors, _ = fields.shape
    gradient = torch.zeros_like(fields, dtype=torch.float64)
    shapes = ANCHORS["voc"]
    for image in range(images):
        found = []
        for m in range(truth.valid_BM.shape[1]):
            if truth.valid_BM[image, m]:
                x1, y1, x2, y2 = truth.boxes_BM4[image, m].double().tolist()
                box = ((x1 + x2) / 64, (y1 + y2) / 64, (x2 - x1) / 32, (y2 - y1) / 32)
                found.append((box, int(truth.labels_BM[image, m])))
        active = fields[image].double()
        middle = active[..., :2].sigmoid()
        confidence = active[..., 4].sigmoid()

        def predicted(j: int, i: int, n: int) -> tuple[float, ...]:
            return (
                i + float(middle[j, i, n, 0]),  # noqa: B023
                j + float(middle[j, i, n, 1]),  # noqa: B023
                shapes[n][0] * math.exp(active[j, i, n, 2]),  # noqa: B023
                shapes[n][1] * math.exp(active[j, i, n, 3]),  # noqa: B023
            )

        for j in range(rows):
            for i in range(columns):
                for n in range(anchors):
                    here = gradient[image, j, i, n]
                    best = max((overlap(predicted(j, i, n), box) for box, _ in found), default=0.0)
                    here[4] = 0.0 if best > 0.6 else confidence[j, i, n]
                    if early:
                        here[:2] = 0.01 * (middle[j, i, n] - 0.5)
                        here[2:4] = 0.01 * active[j, i, n, 2:4]
        for box, label in found:
            i, j = int(box[0]), int(box[1])
            n = max(range(anchors), key=lambda a: overlap((0, 0, *shapes[a]), (0, 0, *box[2:])))  # noqa: B023
            here, raw = gradient[image, j, i, n], active[j, i, n]
            weight = 2 - box[2] * box[3] / (rows * columns)
            here[0] = weight * (middle[j, i, n, 0] - (box[0] - i))
            here[1] = weight * (middle[j, i, n, 1] - (box[1] - j))
            here[2] = weight * (raw[2] - math.log(box[2] / shapes[n][0]))
            here[3] = weight * (raw[3] - math.log(box[3] / shapes[n][1]))
            here[4] = 5 * (confidence[j, i, n] - overlap(predicted(j, i, n), box))
            here[5:] = raw[5:].softmax(0)
            here[5 + label] -= 1
        for field, activation in ((0, middle[..., 0]), (1, middle[..., 1]), (4, confidence)):
            gradient[image, ..., field] *= activation * (1 - activation)
    return gradient


def gradient_of(model: YOLOv2Detector, fields: Tensor, truth: Labels, seen: int = 20000) -> Tensor:
    fields = fields.clone().requires_grad_()
    model.images_seen = seen
    terms = model.loss(RegionOutput(fields, 32), truth)
    (gradient,) = torch.autograd.grad(terms.total * len(fields), fields)
    return gradient


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("seen", [0, 12800 - 4, 12800 - 3, 20000])
def test_gradient_is_darknets(seed: int, seen: int) -> None:
    fields, truth = random_case(seed)
    expected = darknet_gradient(fields, truth, early=seen + 3 < 12800)
    torch.testing.assert_close(
        gradient_of(detector(), fields, truth, seen).double(), expected, rtol=0, atol=1e-5
    )


def test_an_image_without_boxes_teaches_only_absence() -> None:
    fields, truth = random_case(4)
    truth = replace(truth, valid_BM=torch.zeros_like(truth.valid_BM))
    terms = detector().loss(RegionOutput(fields, 32), truth)
    assert terms.foreground == 0 and terms.box == 0 and terms.classification == 0
    assert terms.objectness is not None and terms.objectness > 0


def test_the_last_truth_wins_a_shared_prediction() -> None:
    fields, _ = random_case(5)
    boxes = torch.tensor([[[10.0, 10, 60, 70], [11, 10, 61, 70]]]).repeat(3, 1, 1)
    two = torch.ones(3, 2, dtype=torch.bool)
    truth = Labels(boxes, torch.tensor([[0, 3]]).repeat(3, 1), two, ~two)
    both = gradient_of(detector(), fields, truth)
    alone = replace(truth, valid_BM=torch.tensor([[False, True]]).repeat(3, 1))
    last = gradient_of(detector(), fields, alone)
    torch.testing.assert_close(both[..., :4], last[..., :4])
    torch.testing.assert_close(both[..., 5:], last[..., 5:])


def test_ignored_truths_excuse_the_boxes_on_them_only_when_absorbed() -> None:
    fields, truth = random_case(6)
    everywhere = torch.tensor([-9000.0, -9000, 9000, 9000]).expand_as(truth.boxes_BM4)
    truth = replace(truth, ignore_BM=truth.valid_BM, boxes_BM4=everywhere)
    dropped = gradient_of(detector(Darknet(ignored="drop")), fields, truth)
    absorbed = gradient_of(detector(Darknet(ignored="absorb")), fields, truth)
    assert (dropped[..., 4] > 0).all()
    assert (absorbed == 0).all()


@pytest.mark.parametrize(
    ("preset", "weight", "pull"),
    [(Darknet(), 2 - 0.25, 0.01), (Marvis(), 1.0, 1.0), (Lightnet(), 2 - 0.25, 0.0)],
)
def test_presets_weigh_coordinates_and_prior_pull_as_their_originals(
    preset: Darknet, weight: float, pull: float
) -> None:
    fields, _ = random_case(7, images=1)
    truth = one_box(32, 24, 96, 72)  # a quarter of the input, in cell (1, 2)
    fields[..., 2:4] = 1.0
    gradient = gradient_of(detector(preset), fields, truth, seen=0)
    anchor = ANCHORS["voc"][0]
    assert gradient[0, 1, 2, 0, 2].item() == pytest.approx(
        weight * (1 - math.log(2 / anchor[0])), rel=1e-5
    )
    assert gradient[0, 0, 0, 3, 3].item() == pytest.approx(pull)


def test_truths_beyond_the_limit_do_not_count() -> None:
    fields, truth = random_case(8)
    every = replace(truth, valid_BM=torch.ones_like(truth.valid_BM), boxes_BM4=truth.boxes_BM4 + 1)
    every = replace(every, boxes_BM4=every.boxes_BM4 + torch.tensor([0.0, 0, 9, 9]))
    two = replace(every, valid_BM=torch.arange(6).expand(3, 6) < 2)
    limited = gradient_of(detector(Darknet(max_truths=2)), fields, every)
    torch.testing.assert_close(limited, gradient_of(detector(), fields, two))


@pytest.mark.parametrize("sites", [(), ("class_softmax",)])
def test_without_rescore_objectness_aims_at_one(sites: tuple[str, ...]) -> None:
    fields, _ = random_case(9, images=1)
    truth = one_box(32, 24, 96, 72)
    gradient = gradient_of(detector(Darknet(rescore=False), sites=sites), fields, truth)
    confidence = fields[0, 1, 2, 0, 4].sigmoid()
    assert gradient[0, 1, 2, 0, 4].item() == pytest.approx(
        float(5 * (confidence - 1) * confidence * (1 - confidence)), rel=1e-4
    )


def test_giou_vanishes_on_a_perfect_box_and_reaches_all_four_coordinates() -> None:
    fields, _ = random_case(10, images=1)
    truth = one_box(40, 30, 96, 72)
    model = detector(Modern(extra_anchor_iou=None))
    fields[0, 1, 2, 0, :4] = torch.tensor(
        [0, 1.5, 0, -0.5]
    )  # overlaps the truth in part, both ways
    assert (gradient_of(model, fields, truth)[0, 1, 2, 0, :4] != 0).all()
    anchor = ANCHORS["voc"][0]
    fields[0, 1, 2, 0, :2] = torch.tensor([68 / 32 - 2, 51 / 32 - 1]).logit()
    fields[0, 1, 2, 0, 2:4] = torch.tensor([56 / 32 / anchor[0], 42 / 32 / anchor[1]]).log()
    assert model.loss(RegionOutput(fields, 32), truth).box.item() == pytest.approx(0, abs=1e-6)


def test_more_anchors_and_cells_answer_when_asked() -> None:
    fields, _ = random_case(11, images=1)
    truth = one_box(40, 30, 96, 72)

    def positives(region: Darknet) -> float:
        return detector(region).loss(RegionOutput(fields, 32), truth).foreground.item()

    assert positives(Darknet()) == 1
    assert positives(Darknet(positive_cells=3, centre_reach=2.0)) == 3
    assert positives(Darknet(extra_anchor_iou=0.0)) == 5
    assert positives(Darknet(extra_anchor_iou=1.0)) == 1


def test_label_smoothing_spreads_the_target() -> None:
    fields, truth = random_case(12)
    smoothed = gradient_of(detector(Darknet(label_smoothing=0.2)), fields, truth)
    plain = gradient_of(detector(), fields, truth)
    moved = (smoothed - plain)[..., 5:]
    touched = plain[..., 5:].abs().sum(-1) > 0
    torch.testing.assert_close(
        moved[touched].amax(-1), torch.full((int(touched.sum()),), 0.2 * 3 / 4)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("object_scale", -1.0),
        ("ignore_iou", 1.5),
        ("centre_reach", 0.5),
        ("max_truths", 0),
        ("positive_cells", 3),
    ],
)
def test_impossible_settings_name_their_field(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        Darknet(**{name: value})  # type: ignore[arg-type]
