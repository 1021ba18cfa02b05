"""An exported network says in ONNX Runtime what it says in PyTorch, at sizes it was not traced
at.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from detectors.backbones import TimmBackbone, TorchvisionBackbone
from detectors.base import AnyDetector
from detectors.errors import DetectorError
from detectors.exporting import export_onnx, require_packages, select
from detectors.retinanet.anchors import Anchors
from detectors.retinanet.detector import RetinaNet
from detectors.retinanet.head import Head
from detectors.retinanet.nms import Selection
from detectors.retinanet.pyramid import Pyramid
from detectors.yolov2.darknet19 import Darknet19, TinyDarknet
from detectors.yolov2.detector import YOLOv2
from detectors.yolov2.settings import Modern

MISSING = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
needs_onnx = pytest.mark.skipif(
    bool(MISSING), reason=f"{', '.join(MISSING)}: an optional extra, is not here"
)
SLIM = {"pyramid": Pyramid(width=16), "select": Selection(score=0.3)}
DETECTORS: dict[str, YOLOv2 | RetinaNet] = {
    "yolov2": YOLOv2(
        backbone=Darknet19(width=0.125), head_width=32, passthrough=16, score_threshold=0.4
    ),
    "yolov2 on the fine grid": YOLOv2(
        backbone=TimmBackbone(),
        head_width=32,
        head_depth=1,
        output_stride=16,
        region=Modern(),
        sites=("class_sigmoid",),
        score_threshold=0.4,
    ),
    "tiny yolov2": YOLOv2(
        backbone=TinyDarknet(width=0.125), head_width=32, passthrough=None, score_threshold=0.4
    ),
    "retinanet": RetinaNet(
        backbone=TorchvisionBackbone(arch="resnet18", norm="frozen"),
        head=Head(depth=1, norm="group", groups=4),
        anchors=Anchors(sizes="truncated"),
        **SLIM,  # type: ignore[arg-type]
    ),
    "retinanet, softmax": RetinaNet(
        backbone=TimmBackbone(),
        head=Head(depth=1),
        activation="softmax",
        **SLIM,  # type: ignore[arg-type]
    ),
}


def opinionated(settings: YOLOv2 | RetinaNet) -> AnyDetector:
    """Random weights with scores from 0 to 1, which those of an untrained network are not."""
    torch.manual_seed(0)
    detector = settings.build(3).eval()
    output = (
        detector.head.output if isinstance(settings, YOLOv2) else detector.classification.predict
    )
    assert isinstance(output, nn.Conv2d) and output.bias is not None
    nn.init.zeros_(output.bias)
    images = detector.normalise(noise(2, 64, 64), torch.tensor([[64, 64]] * 2))
    with torch.no_grad():
        raw = detector(images)
        logits: Tensor = raw.fields_BHWAF if isinstance(settings, YOLOv2) else raw.logits_BAK
        output.weight *= 1.5 / logits.std()
    return detector


def noise(images: int, height: int, width: int) -> Tensor:
    coarse = torch.randint(0, 256, (images, 3, height // 8, width // 8), dtype=torch.uint8)
    return coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)


@needs_onnx
@pytest.mark.parametrize("name", DETECTORS)
def test_the_same_detections_as_pytorch(name: str, tmp_path: Path) -> None:
    settings = DETECTORS[name]
    detector = opinionated(settings)
    path = tmp_path / "model.onnx"
    export_onnx(detector, path, {"for": name})
    runtime: Any = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(path))
    assert session.get_modelmeta().custom_metadata_map["for"] == name
    for images, height, width in ((1, 96, 160), (3, 64, 64)):
        images_BCHW = noise(images, height, width)
        content_B2 = torch.tensor([[height - 7 * row, width - 9] for row in range(images)])
        with torch.no_grad():
            output = detector(detector.normalise(images_BCHW, content_B2))
            expected = detector.decode(output, content_B2)
        found = session.run(None, {"images": images_BCHW.numpy(), "content": content_B2.numpy()})
        boxes_BN4, scores_BNK = map(torch.from_numpy, found)
        chosen = select(settings, boxes_BN4, scores_BNK, content_B2, (height, width))
        assert sum(len(one.scores_D) for one in expected) > 2 * images
        for theirs, ours in zip(chosen, expected, strict=True):
            assert torch.equal(theirs.labels_D, ours.labels_D)
            torch.testing.assert_close(theirs.scores_D, ours.scores_D, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(theirs.boxes_D4, ours.boxes_D4, rtol=1e-4, atol=1e-3)


@needs_onnx
def test_exporting_leaves_the_detector_as_it_was(tmp_path: Path) -> None:
    detector = DETECTORS["yolov2"].build(2).train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    export_onnx(detector, tmp_path / "model.onnx", {})
    assert detector.training
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())


def test_a_missing_package_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(DetectorError, match="no_such_package: an optional extra .* pip install"):
        require_packages("no_such_package")
