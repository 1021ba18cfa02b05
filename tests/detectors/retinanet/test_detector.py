"""RetinaNet's verbs: what trains, what is left alone, what comes out."""

import math

import pytest
import torch
from torch import Tensor

from datasets.sample import Batch, Sample, collate
from detectors import DETECTORS
from detectors.backbones import TorchvisionBackbone
from detectors.retinanet.detector import BoxLoss, DenseOutput, RetinaNet, RetinaNetDetector
from detectors.retinanet.head import Head
from detectors.retinanet.nms import Selection
from detectors.retinanet.pyramid import Pyramid
from losses.cross_entropy import CrossEntropy
from losses.focal import Focal
from losses.ohem import OHEMCrossEntropy


def slim(**changes: object) -> RetinaNet:
    settings: dict[str, object] = {
        "backbone": TorchvisionBackbone(arch="resnet18"),
        "pyramid": Pyramid(width=32),
        "head": Head(depth=1, norm="group", groups=8),
        "box_loss": BoxLoss(form="giou"),
    }
    return RetinaNet(**(settings | changes))  # type: ignore[arg-type]


def squares(count: int = 2, *, ignore: bool = False, seed: int = 0) -> Batch:
    """Images with one bright square each; class 0 is light, class 1 dark."""
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for index in range(count):
        image = torch.randint(100, 156, (3, 96, 128), generator=generator, dtype=torch.uint8)
        x, y = (int(v) for v in torch.randint(8, 50, (2,), generator=generator))
        label = index % 2
        image[:, y : y + 40, x : x + 40] = 255 if label == 0 else 0
        samples.append(
            Sample(
                image_CHW=image,
                boxes_N4=torch.tensor([[x, y, x + 40, y + 40]], dtype=torch.float32),
                labels_N=torch.tensor([label]),
                ignore_N=torch.tensor([ignore]),
                image_id=str(index),
                index=index,
                original_hw=(96, 128),
            )
        )
    return collate(samples, multiple=32)


def run(detector: RetinaNetDetector, batch: Batch) -> DenseOutput:
    output: DenseOutput = detector(detector.normalise(batch.images_BCHW, batch.content_B2))
    return output


def test_the_table_offers_it() -> None:
    assert DETECTORS["retinanet"] is RetinaNet


def test_it_learns_two_squares_and_finds_them() -> None:
    torch.manual_seed(0)
    detector = slim(select=Selection(score=0.3)).build(2).train()
    detector.classification_loss = Focal().at(0.0)
    batch = squares(2)
    optimiser = torch.optim.AdamW(detector.parameters(), lr=2e-3)
    for _ in range(40):
        optimiser.zero_grad()
        terms = detector.loss(run(detector, batch), batch)
        terms.total.backward()
        optimiser.step()
    assert terms.total.item() < 0.6
    with torch.no_grad():
        found = detector.decode(run(detector, batch), batch.content_B2)
    for image, detections in enumerate(found):
        truth = batch.boxes_BM4[image, 0]
        assert detections.labels_D[0] == batch.labels_BM[image, 0]
        assert (detections.boxes_D4[0] - truth).abs().max() < 6


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("prior", [0.01, 0.5])
def test_foreground_starts_at_the_prior(activation: str, prior: float) -> None:
    head = Head(depth=1, norm="group", groups=8, prior=prior)
    detector = slim(head=head, activation=activation).build(3).eval()
    detector.classification.predict.weight.data.zero_()  # type: ignore[operator]
    with torch.no_grad():
        logits = run(detector, squares(1)).logits_BAK
    if activation == "sigmoid":
        foreground = logits.sigmoid()
    else:
        foreground = logits.softmax(-1)[..., :-1].sum(-1)
    assert torch.allclose(foreground, torch.tensor(prior), atol=1e-4)


def test_first_cross_entropy_is_what_the_prior_makes_of_it() -> None:
    """With pi = .5 every one of A * K outputs costs ln 2: the flood that the paper's pi = .01 keeps
    out.
    """
    batch, losses = squares(1), {}
    for prior in (0.01, 0.5):
        torch.manual_seed(0)
        detector = slim(head=Head(depth=1, norm="group", groups=8, prior=prior)).build(2).eval()
        detector.classification_loss = CrossEntropy().at(0.0)
        output = run(detector, batch)
        terms = detector.loss(output, batch)
        losses[prior] = terms.classification.item() * terms.foreground.item()
    counted = int(detector.assign(output, batch).counted_BA.sum())
    assert losses[0.5] == pytest.approx(counted * 2 * math.log(2), rel=0.05)
    assert losses[0.01] < 0.1 * losses[0.5]


def gradients(detector: RetinaNetDetector, batch: Batch) -> tuple[Tensor, Tensor, DenseOutput]:
    output = run(detector, batch)
    logits = output.logits_BAK.detach().requires_grad_()
    deltas = output.deltas_BA4.detach().requires_grad_()
    detector.loss(DenseOutput(logits, deltas, output.grid), batch).total.backward()
    zeros = torch.zeros_like(deltas)
    assert logits.grad is not None
    return logits.grad, zeros if deltas.grad is None else deltas.grad, output


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_ignored_truth_gives_zero_gradient_where_it_lies(activation: str) -> None:
    torch.manual_seed(0)
    detector = slim(activation=activation).build(2).eval()
    real = detector.assign(run(detector, squares(2)), squares(2))
    logits, deltas, _ = gradients(detector, squares(2, ignore=True))
    assert real.foreground_BA.sum() > 0
    assert logits[real.foreground_BA].abs().max() == 0
    assert logits[~real.counted_BA].abs().max() == 0
    assert deltas.abs().max() == 0
    assert logits.abs().max() > 0  # elsewhere background is still learnt


def test_an_image_without_objects_teaches_background_only() -> None:
    batch = squares(1)
    empty = Batch(
        batch.images_BCHW,
        batch.content_B2,
        batch.boxes_BM4,
        batch.labels_BM,
        batch.ignore_BM,
        torch.zeros_like(batch.valid_BM),
        batch.image_ids,
        batch.original_hw,
        batch.placements,
    )
    detector = slim().build(2)
    terms = detector.loss(run(detector, empty), empty)
    assert terms.foreground.item() == 0
    assert terms.box.item() == 0
    assert torch.isfinite(terms.classification) and terms.classification.item() > 0
    terms.total.backward()


@pytest.mark.parametrize(
    "box_loss", [BoxLoss("l1"), BoxLoss("smooth_l1", beta=0.11), BoxLoss("giou", weight=2.0)]
)
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_every_form_has_finite_gradients_in_bfloat16(box_loss: BoxLoss, activation: str) -> None:
    torch.manual_seed(0)
    detector = slim(box_loss=box_loss, activation=activation).build(2).train()
    detector.classification_loss = Focal(alpha=None if activation == "softmax" else 0.25).at(0.0)
    batch = squares(2)
    with torch.autocast("cpu", torch.bfloat16):
        output = run(detector, batch)
        terms = detector.loss(output, batch)
    assert output.deltas_BA4.dtype == torch.float32  # boxes are not rounded on their way
    assert terms.total.dtype == torch.float32
    terms.total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in detector.parameters())


def test_detections_stay_inside_each_images_own_pixels() -> None:
    torch.manual_seed(0)
    detector = slim(select=Selection(score=0.0, per_level=50)).build(2).eval()
    batch = squares(2)
    content = torch.tensor([[96, 128], [50, 70]])
    with torch.no_grad():
        found = detector.decode(run(detector, batch), content)
    for detections, (height, width) in zip(found, content.tolist(), strict=True):
        assert len(detections.scores_D) > 0
        assert detections.boxes_D4.min() >= 0
        assert detections.boxes_D4[:, 0::2].max() <= width
        assert detections.boxes_D4[:, 1::2].max() <= height
        assert (detections.scores_D.diff() <= 0).all()


@pytest.mark.parametrize("levels", [3, 4, 5])
def test_fewer_levels_mean_fewer_anchors(levels: int) -> None:
    detector = slim(pyramid=Pyramid(width=32, levels=levels)).build(2).eval()
    output = run(detector, squares(1))
    cells = [(12 * 16), (6 * 8), (3 * 4), (2 * 2), 1][:levels]
    assert output.logits_BAK.shape == (1, 9 * sum(cells), 2)
    assert [len(level.boxes_A4) for level in output.grid.levels] == [9 * c for c in cells]


def test_grids_are_kept_per_size() -> None:
    detector = slim().build(2).eval()
    first, again = run(detector, squares(1)).grid, run(detector, squares(2)).grid
    assert first is again


def test_settings_that_contradict_each_other_name_their_key() -> None:
    with pytest.raises(ValueError, match="^head: 32 groups do not divide"):
        RetinaNet(pyramid=Pyramid(width=48), head=Head(norm="group", groups=32))
    with pytest.raises(ValueError, match="^drop_head:"):
        RetinaNet(drop_head=True)


def test_hard_example_mining_keeps_its_count_of_anchors_in_each_image() -> None:
    """Table 1d's loss sees the anchors of one image as one pool."""
    torch.manual_seed(0)
    detector = slim().build(2).eval()
    detector.classification_loss = OHEMCrossEntropy(keep=16).at(0.0)
    logits, _, _ = gradients(detector, squares(2))
    assert (logits.abs().sum(-1) > 0).sum(dim=1).tolist() == [16, 16]


def test_in_double_precision_everything_is_double() -> None:
    detector = slim().build(2).double()
    output = run(detector, squares(2))
    terms = detector.loss(output, squares(2))
    terms.total.backward()
    assert output.logits_BAK.dtype == terms.classification.dtype == terms.box.dtype == torch.float64
    assert all(p.grad is None or p.grad.dtype == torch.float64 for p in detector.parameters())
    assert detector.decode(output, torch.full((2, 2), 96))[0].boxes_D4.dtype == torch.float64
