"""A detector as a graph that other runtimes execute, with the boxes decoded inside.

Shapes: B images, H x W pixels of the input, N predictions of one image, K classes, L levels. Boxes
are xyxy in pixels of the input. Choosing among the N (threshold, NMS, clipping) stays outside the
graph, in `select`: one code chooses for all runtimes, and thresholds can be changed afterwards.
"""

import importlib
import importlib.util
import warnings
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detectors.base import AnyDetector, Detections, DetectorSettings
from detectors.errors import DetectorError
from detectors.retinanet import boxes
from detectors.retinanet.anchors import anchor_grid
from detectors.retinanet.detector import RetinaNet, RetinaNetDetector
from detectors.retinanet.nms import suppress
from detectors.yolov2.detector import YOLOv2, YOLOv2Detector, select_cells

INPUTS = ("images", "content")
OUTPUTS = ("boxes", "scores")
INSTALL = "python -m pip install 'onnx>=1.18,<2' 'onnxruntime>=1.22,<2'"
OPSET = 18
TRACED_SIDE = 64  # pixels; the size that the graph is traced at, which it forgets


class Dense(nn.Module):
    """uint8 RGB images [B, 3, H, W] and their content [B, 2] (height, width) to boxes [B, N, 4] and
    scores [B, N, K].

    Pixels below and right of an image's content are padding, as in `Detector.normalise`.
    """

    def __init__(self, detector: AnyDetector) -> None:
        super().__init__()
        if not isinstance(detector, (YOLOv2Detector, RetinaNetDetector)):
            raise DetectorError(f"no dense form is known of a {type(detector).__name__}")
        self.detector = detector

    def forward(self, images_BCHW: Tensor, content_B2: Tensor) -> tuple[Tensor, Tensor]:
        """Every prediction of every image, unsorted."""
        x_BCHW = self.detector.normalise(images_BCHW, content_B2)
        if isinstance(self.detector, YOLOv2Detector):
            return self.detector.dense(self.detector(x_BCHW))
        return _retina(self.detector, x_BCHW)


def _retina(detector: RetinaNetDetector, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """As `RetinaNetDetector.forward`, but with its grid as part of the graph, and decoded."""
    levels = detector.pyramid(detector.backbone(x_BCHW))
    shapes = [(level.shape[2], level.shape[3]) for level in levels]
    image_hw = (x_BCHW.shape[2], x_BCHW.shape[3])
    grid = anchor_grid(detector.settings.anchors, detector.strides, shapes, image_hw, x_BCHW.device)
    logits_BNK = detector.classification(levels)
    boxes_BN4 = boxes.decode(detector.regression(levels), grid.boxes_A4)
    if detector.settings.activation == "sigmoid":
        return boxes_BN4, logits_BNK.sigmoid()
    return boxes_BN4, logits_BNK.softmax(-1)[..., :-1]


def select(
    settings: DetectorSettings,
    boxes_BN4: Tensor,
    scores_BNK: Tensor,
    content_B2: Tensor,
    image_hw: tuple[int, int],
) -> list[Detections]:
    """The detections of each image from what `Dense` gives, as the detector's `decode` would choose
    them; `image_hw` is the input's (height, width).
    """
    chosen = []
    for boxes_N4, scores_NK, content_2 in zip(boxes_BN4, scores_BNK, content_B2, strict=True):
        if isinstance(settings, YOLOv2):
            chosen.append(select_cells(settings, boxes_N4, scores_NK, content_2))
        elif isinstance(settings, RetinaNet):
            sizes = _level_sizes(settings, image_hw)
            chosen.append(_select_levels(settings, boxes_N4, scores_NK, content_2, sizes))
    return chosen


def _level_sizes(settings: RetinaNet, image_hw: tuple[int, int]) -> list[int]:
    """Anchors of each level: P3 to P5 divide the input by 8, 16, 32, the others halve upwards."""
    rows, columns = image_hw[0] // 8, image_hw[1] // 8
    sizes = []
    for _ in range(settings.pyramid.levels):
        sizes.append(rows * columns * settings.anchors.per_cell)
        rows, columns = -(-rows // 2), -(-columns // 2)
    return sizes


def _select_levels(
    settings: RetinaNet, boxes_N4: Tensor, scores_NK: Tensor, content_2: Tensor, sizes: list[int]
) -> Detections:
    chosen = settings.select
    found = []
    for boxes_A4, scores_AK in zip(
        torch.split(boxes_N4, sizes), torch.split(scores_NK, sizes), strict=True
    ):
        row, label = (scores_AK > chosen.score).nonzero(as_tuple=True)
        scores, order = scores_AK[row, label].topk(min(chosen.per_level, len(row)))
        decoded = boxes.clip(boxes_A4[row[order]], content_2)
        found.append((decoded, scores, label[order]))
    boxes_D4, scores_D, labels_D = (torch.cat(part) for part in zip(*found, strict=True))
    return suppress(boxes_D4, scores_D, labels_D, chosen)


def require_packages(*names: str) -> None:
    """Raise DetectorError, with the way to get them, where one of the packages is missing."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise DetectorError(
            f"{', '.join(missing)}: an optional extra that is not installed: {INSTALL}"
        )


def export_onnx(detector: AnyDetector, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the detector as an ONNX file of `Dense`; batch, height and width (multiples of 32) stay
    free, and `metadata` is kept in the file.

    Raises DetectorError where the package for it is missing.
    """
    require_packages("onnx")
    onnx: Any = importlib.import_module("onnx")
    plain = deepcopy(detector).eval().cpu().float()
    if isinstance(plain, YOLOv2Detector):
        plain = plain.fuse(channels_last=False)
    elif isinstance(plain, RetinaNetDetector):
        plain = plain.fuse()
    _trace(Dense(plain).eval(), path)
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _trace(dense: Dense, path: Path) -> None:
    """By tracing: torch.export took over ten minutes on a YOLOv2 whose height and width stay free,
    one second on the same network here (torch 2.14).
    """
    images = torch.zeros(2, 3, TRACED_SIDE, TRACED_SIDE * 3 // 2, dtype=torch.uint8)
    content = torch.full((2, 2), TRACED_SIDE)
    rows = {0: "batch", 1: "predictions"}
    axes = {
        "images": {0: "batch", 2: "height", 3: "width"},
        "content": {0: "batch"},
        "boxes": rows,
        "scores": rows,
    }
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that tracing ages, and each shape that it follows
        torch.onnx.export(
            dense,
            (images, content),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=axes,
        )
