"""Both detectors on a GPU: a step in half precision, detections as on the CPU, pace and memory."""

import time

import pytest
import torch

from benchmarks.turns import truth_of
from detectors.backbones import TorchvisionBackbone
from detectors.base import AnyDetector
from detectors.retinanet.detector import RetinaNet
from detectors.retinanet.head import Head
from detectors.retinanet.pyramid import Pyramid
from detectors.yolov2.darknet19 import Darknet19
from detectors.yolov2.detector import YOLOv2
from experiments.engine.arithmetic import to_device
from experiments.record.parts import Arithmetic
from losses.focal import Focal

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="-m gpu runs it, on a GPU"),
]
SIDE, IMAGES, CLASSES = 256, 4, 20
RATE = 1e-3
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def build(name: str) -> AnyDetector:
    torch.manual_seed(0)
    if name == "yolov2":
        return YOLOv2(Darknet19(width=0.25), head_width=128, passthrough=16).build(CLASSES)
    backbone = TorchvisionBackbone(arch="resnet18")
    return RetinaNet(backbone, Pyramid(width=64), Head(depth=2)).build(CLASSES)


def pixels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (IMAGES, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("name", ["yolov2", "retinanet"])
@pytest.mark.parametrize("precision", HALVES)
def test_a_step_in_half_precision_moves_the_weights(name: str, precision: str) -> None:
    device = torch.device("cuda")
    detector = build(name).to(device).train()
    detector.classification_loss = Focal(alpha=None).at(0.5)
    arithmetic = Arithmetic(precision, True, False, "")
    truth = to_device(truth_of(IMAGES, 5, SIDE, range(CLASSES)), device, arithmetic)
    images = pixels().to(device)
    scaler = torch.amp.GradScaler("cuda", enabled=precision == "float16", init_scale=1024)
    optimizer = torch.optim.SGD(detector.parameters(), RATE)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(20):  # float16: until the scale of the loss fits
        before = [parameter.detach().clone() for parameter in detector.parameters()]
        optimizer.zero_grad()
        with torch.autocast("cuda", HALVES[precision]):
            output = detector(detector.normalise(images, truth.content_B2))
        total = detector.loss(output, truth).total
        scale = scaler.get_scale()
        scaler.scale(total).backward()
        scaler.step(optimizer)
        scaler.update()
        if scaler.get_scale() >= scale:
            break
    assert total.isfinite() and total.dtype == torch.float32
    for (name, parameter), old in zip(detector.named_parameters(), before, strict=True):
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        torch.testing.assert_close(parameter, old - RATE * parameter.grad, msg=name)
    moved = sum(not p.equal(old) for p, old in zip(detector.parameters(), before, strict=True))
    assert moved >= 0.9 * len(before)  # some steps are below the weights' own rounding
    began = time.perf_counter()
    for _ in range(10):
        with torch.autocast("cuda", HALVES[precision]):
            output = detector(detector.normalise(images, truth.content_B2))
        scaler.scale(detector.loss(output, truth).total).backward()
    torch.cuda.synchronize()
    pace = 10 * IMAGES / (time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated() / 2**20
    print(f"\n{name} {precision}: {pace:.0f} images/s, {peak:.0f} MiB at the peak")


@pytest.mark.parametrize("name", ["yolov2", "retinanet"])
def test_detections_are_those_of_the_cpu(name: str) -> None:
    detector = build(name).eval()
    content = torch.full((IMAGES, 2), SIDE)
    found = {}
    for device in ("cpu", "cuda"):
        moved = detector.to(device)
        with torch.inference_mode():
            output = moved(moved.normalise(pixels().to(device)))
            boxes = output.fields_BHWAF if name == "yolov2" else output.logits_BAK
            found[device] = boxes.cpu(), moved.decode(output, content.to(device))
    dense, other = found["cpu"][0], found["cuda"][0]
    assert (dense - other).abs().max() < 1e-2 * dense.abs().max()  # TF32 convolutions
    for mine, theirs in zip(found["cuda"][1], found["cpu"][1], strict=True):
        assert abs(len(mine.scores_D) - len(theirs.scores_D)) <= 0.05 * len(theirs.scores_D) + 2
