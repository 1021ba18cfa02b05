"""What the original Darknet computed (tests/golden, written by tests/peers/make_golden.py),
reproduced.

Networks of the YOLOv2 family at 1/64 width, 64 x 96 pixels, 3 images: the whole path from .cfg and
.weights to heads, gradients and detections, with 3 x 2 cells that are not square, shared cells and
both sides of 12,800 images.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from detectors.yolov2.convolution import reorg
from detectors.yolov2.darknet_cfg import DarknetConfig, read_cfg
from detectors.yolov2.darknet_weights import load_darknet
from detectors.yolov2.detector import RegionOutput, YOLOv2Detector

GOLDEN = Path(__file__).parents[2] / "golden"
BATCH, HEIGHT, WIDTH = 3, 64, 96
NAMES = ("yolov2", "tiny")


@dataclass(frozen=True)
class Labels:
    """The truth of a batch, as `detectors.base.Truth` asks."""

    boxes_BM4: Tensor
    labels_BM: Tensor
    valid_BM: Tensor
    ignore_BM: Tensor


@dataclass(frozen=True)
class Case:
    """One golden file: the detector that its cfg and weights make, and Darknet's numbers."""

    config: DarknetConfig
    model: YOLOv2Detector
    images: Tensor
    truth: Labels
    numbers: dict[str, Tensor]

    def fields(self, name: str) -> Tensor:
        """Darknet's [B, A, F, H, W] as [B, H, W, A, F]."""
        anchors = len(self.model.anchors_A2)
        shape = (BATCH, anchors, 5 + self.config.classes, HEIGHT // 32, WIDTH // 32)
        return self.numbers[name].view(shape).permute(0, 3, 4, 1, 2).contiguous()


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"darknet_{name}.npz", allow_pickle=False) as file:
        return dict(file)


def truth_of(rows_BM5: Tensor) -> Labels:
    """Darknet's rows of x, y, w, h in [0, 1] and class, ended by x = 0."""
    size = torch.tensor([WIDTH, HEIGHT])
    centre, extent = rows_BM5[..., :2] * size, rows_BM5[..., 2:4] * size
    boxes = torch.cat((centre - extent / 2, centre + extent / 2), -1)
    valid = rows_BM5[..., 0] > 0
    return Labels(boxes, rows_BM5[..., 4].long(), valid, torch.zeros_like(valid))


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    found = arrays(request.param)
    (tmp_path / "net.cfg").write_text(str(found["cfg"]))
    (tmp_path / "net.weights").write_bytes(found["weights"].tobytes())
    config = read_cfg(tmp_path / "net.cfg")
    # Darknet on a CPU adds 1e-6 to the deviation, which this eps under the root comes closest to.
    settings = replace(
        config.detector, batch_norm_epsilon=2e-6, candidates=None, max_detections=None
    )
    model = settings.build(config.classes)
    load_darknet(model, tmp_path / "net.weights")
    images = torch.from_numpy(found["input"]).float() / 256
    numbers = {key: torch.from_numpy(v) for key, v in found.items() if v.dtype == np.float32}
    return Case(config, model, images, truth_of(numbers["truth"]), numbers)


def relative(mine: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((mine - theirs).abs().max() / theirs.abs().max())


def test_cfg_gives_the_network(case: Case) -> None:
    assert case.config.input_hw == (HEIGHT, WIDTH)
    assert case.config.classes == 20
    assert case.model.settings.backbone.width == 1 / 64  # type: ignore[union-attr]


def test_heads_are_darknets_at_inference_and_in_training(case: Case) -> None:
    with torch.no_grad():
        assert (
            relative(case.model.eval()(case.images).fields_BHWAF, case.fields("eval_head")) < 1e-4
        )
        assert (
            relative(case.model.train()(case.images).fields_BHWAF, case.fields("train_head")) < 1e-4
        )


@pytest.mark.parametrize("seen", [0, 20000])
def test_gradients_are_darknets(case: Case, seen: int) -> None:
    head = case.fields("train_head").requires_grad_()
    case.model.images_seen = seen - BATCH
    terms = case.model.loss(RegionOutput(head, 32), case.truth)
    (gradient,) = torch.autograd.grad(terms.total * BATCH, head)
    expected = -case.fields(f"train_delta_{seen}")
    active = head.detach().sigmoid()
    for field in (0, 1, 4):
        expected[..., field] *= (active * (1 - active))[..., field]
    assert (gradient - expected).abs().max() < 1e-5


def test_detections_are_darknets(case: Case) -> None:
    with torch.no_grad():
        output = RegionOutput(case.fields("eval_head"), 32)
        (found, *_) = case.model.decode(output, torch.tensor([[HEIGHT, WIDTH]] * BATCH))
    mine = torch.cat(
        (found.boxes_D4, found.scores_D[:, None], found.labels_D[:, None].float()), dim=1
    )
    theirs = darknet_rows(case.numbers["eval_detections"], case.config.classes)
    assert mine.shape == theirs.shape and len(mine) > 10
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def darknet_rows(numbers: Tensor, classes: int) -> Tensor:
    """Darknet's detections as clipped corner boxes in pixels, score, class; best first."""
    rows = numbers.view(-1, 4 + classes)
    box, label = rows[:, 4:].nonzero(as_tuple=True)
    size = torch.tensor([WIDTH, HEIGHT])
    centre, extent = rows[box, :2] * size, rows[box, 2:4] * size
    corners = torch.cat((centre - extent / 2, centre + extent / 2), -1).clamp(min=0)
    corners = torch.minimum(corners, torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT]))
    scores = rows[box, 4 + label]
    found = torch.cat((corners, scores[:, None], label[:, None].float()), dim=1)
    found = found[(corners[:, 2:] > corners[:, :2]).all(1)]
    return found[found[:, 4].argsort(descending=True, stable=True)]


def test_reorg_is_darknets_to_the_bit() -> None:
    found = arrays("reorg")
    maps = torch.from_numpy(found["input"]).float() / 256
    result = reorg(maps)
    assert result.shape == (BATCH, 32, 2, 3)
    assert torch.equal(result.flatten(), torch.from_numpy(found["eval_head"]))
