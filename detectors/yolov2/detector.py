"""YOLOv2 (Redmon & Farhadi 2016, arXiv:1612.08242): Darknet's by default, with its choices open.

Shapes: B images, H x W cells, A anchors, F = 5 + K fields (x, y, w, h, objectness, K classes), M
truths, D detections. Boxes at the border of this file are xyxy in pixels of the network input;
inside the region layer they are in cells.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from detectors.backbones import TimmBackbone, TorchvisionBackbone
from detectors.base import Detections, Detector, Truth
from detectors.yolov2.boxes import decode_cells, to_centres, to_corners
from detectors.yolov2.convolution import ConvBlock, set_batch_norm
from detectors.yolov2.darknet19 import Darknet19, TinyDarknet
from detectors.yolov2.darknet_weights import load_darknet
from detectors.yolov2.head import PassthroughHead, PlainHead
from detectors.yolov2.region import RegionLosses, RegionTruth, Site, region_loss
from detectors.yolov2.settings import Darknet, Region
from detectors.yolov2.targets import limit
from losses.base import ClassificationLoss, LossTerms
from losses.boxes import at_least_float32
from losses.cross_entropy import CrossEntropy
from losses.normalise import Fixed, Normaliser, normaliser_of

BackboneSettings = Darknet19 | TinyDarknet | TorchvisionBackbone | TimmBackbone
AnchorSet = tuple[tuple[float, float], ...]

# Widths and heights in cells of 32 px, from Darknet's yolov2-voc.cfg and yolov2.cfg.
ANCHORS: dict[str, AnchorSet] = {
    "voc": (
        (1.3221, 1.73145),
        (3.19275, 4.00944),
        (5.05587, 8.09892),
        (9.47112, 4.84053),
        (11.2364, 10.0071),
    ),
    "coco": (
        (0.57273, 0.677385),
        (1.87446, 2.06253),
        (3.33843, 5.47434),
        (7.88282, 3.52778),
        (9.77052, 9.16828),
    ),
}
ANCHOR_CELL = 32  # pixels, whatever the output stride


@dataclass(frozen=True, slots=True)
class YOLOv2:
    """Settings; the defaults are yolov2-voc.cfg.

    backbone: anything with maps of strides 16 and 32.
    anchors: `voc`, `coco` or widths and heights, in `anchor_unit` (cells of 32 px, or pixels).
    output_stride: 16 predicts on the finer grid, for objects smaller than a 32-pixel cell.
    head_width, head_depth: channels and number of the head's 3x3 blocks before the concatenation.
    passthrough: channels of the stride-16 map that join; null is tiny-YOLOv2's head without any.
    objectness_prior: objectness starts at this probability; cross-entropy over thousands of idle
      cells needs it. Null leaves Darknet's start.
    sites: where the configured classification loss acts; elsewhere cross-entropy, or squared error.
    candidates, max_detections: what enters NMS and what leaves it, best first; null is no limit.
    weights: a Darknet .weights file of the whole network; drop_head leaves out its last layer, for
      other classes or anchors than the file's.
    """

    backbone: BackboneSettings = field(default_factory=Darknet19)
    anchors: Literal["voc", "coco"] | AnchorSet = "voc"
    anchor_unit: Literal["cells", "pixels"] = "cells"
    output_stride: Literal[32, 16] = 32
    head_width: int = 1024
    head_depth: int = 2
    passthrough: int | None = 64
    batch_norm_momentum: float = 0.01
    batch_norm_epsilon: float = 1e-5
    objectness_prior: float | None = None
    region: Region = field(default_factory=Darknet)
    sites: tuple[Site, ...] = ("class_softmax",)
    normaliser: Normaliser = field(default_factory=Fixed)
    score_threshold: float = 0.005
    nms_iou: float = 0.45
    candidates: int | None = 2000
    max_detections: int | None = 300
    weights: str | None = None
    drop_head: bool = False

    def __post_init__(self) -> None:
        if self.drop_head and self.weights is None:
            raise ValueError("drop_head: has no meaning without weights")
        for pair in (("class_softmax", "class_sigmoid"), ("objectness", "objectness_quality")):
            if set(pair) <= set(self.sites):
                raise ValueError(f"sites: {pair[0]} and {pair[1]} exclude each other")
        self._check_head()
        self._check_limits()

    def _check_head(self) -> None:
        if self.passthrough is None and self.output_stride != 32:
            raise ValueError("passthrough: the stride-16 grid needs one, found null")
        if self.passthrough is not None and (self.passthrough < 4 or self.passthrough % 4):
            raise ValueError(f"passthrough: must be a multiple of 4, found {self.passthrough}")
        if self.head_width < 8 or self.head_depth < 0:
            name = "head_width" if self.head_width < 8 else "head_depth"
            raise ValueError(f"{name}: too small, found {getattr(self, name)}")
        if not isinstance(self.anchors, str) and not _positive(self.anchors):
            raise ValueError(f"anchors: widths and heights must be > 0, found {self.anchors}")

    def _check_limits(self) -> None:
        for name in ("score_threshold", "nms_iou", "objectness_prior"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name}: must be in [0, 1], found {value}")
        for name in ("candidates", "max_detections"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: must be >= 1 or null, found {value}")

    def build(self, classes: int) -> "YOLOv2Detector":
        """The detector, with the weights that its settings name; raises DetectorError."""
        return YOLOv2Detector(self, classes)

    def anchor_pixels(self) -> AnchorSet:
        """Anchors as (width, height) in pixels."""
        anchors = ANCHORS[self.anchors] if isinstance(self.anchors, str) else self.anchors
        unit = ANCHOR_CELL if self.anchor_unit == "cells" or isinstance(self.anchors, str) else 1
        return tuple((width * unit, height * unit) for width, height in anchors)


def _head(settings: YOLOv2, channels: tuple[int, ...], outputs: int) -> PassthroughHead | PlainHead:
    width, depth = settings.head_width, settings.head_depth
    if settings.passthrough is None:
        return PlainHead(channels[-1], width=width, depth=depth, outputs=outputs)
    return PassthroughHead(
        (channels[0], channels[1]),
        width=width,
        depth=depth,
        passthrough=settings.passthrough,
        outputs=outputs,
        stride=settings.output_stride,
    )


def _nms_by_class(boxes_D4: Tensor, scores_D: Tensor, labels_D: Tensor, limit: float) -> Tensor:
    """Rows that greedy NMS within each class keeps, best first.

    Classes are moved apart so that one call serves all. Untrained networks draw boxes of 1e5 px,
    where 80 such moves leave float32 steps of half a pixel: hence double.
    """
    if not len(boxes_D4):
        return labels_D
    boxes = boxes_D4.double()
    apart = labels_D * (boxes.max() - boxes.min() + 1)
    kept: Tensor = nms(boxes + apart[:, None], scores_D.double(), limit)
    return kept


def select_cells(
    settings: YOLOv2, boxes_N4: Tensor, scores_NK: Tensor, content_2: Tensor
) -> Detections:
    """Detections of one image from every prediction's box and scores."""
    place, label = (scores_NK > settings.score_threshold).nonzero(as_tuple=True)
    score = scores_NK[place, label]
    if settings.candidates is not None and len(score) > settings.candidates:
        best = score.topk(settings.candidates).indices
        score, place, label = score[best], place[best], label[best]
    keep = _nms_by_class(boxes_N4[place], score, label, settings.nms_iou)
    height, width = content_2.tolist()
    limits = boxes_N4.new_tensor([width, height, width, height])
    clipped = torch.minimum(boxes_N4[place[keep]].clamp(min=0), limits)
    visible = (clipped[:, 2:] > clipped[:, :2]).all(-1).nonzero().flatten()
    visible = visible[: settings.max_detections]
    return Detections(clipped[visible], score[keep][visible], label[keep][visible])


def _positive(anchors: AnchorSet) -> bool:
    return bool(anchors) and all(side > 0 for pair in anchors for side in pair)


@dataclass(frozen=True, slots=True)
class RegionOutput:
    """Raw predictions, before any activation, and the pixels a cell spans."""

    fields_BHWAF: Tensor
    stride: int

    @property
    def anchors(self) -> int:
        """Predictions of one image."""
        return self.fields_BHWAF.shape[1:4].numel()


class YOLOv2Detector(Detector[RegionOutput]):
    """Backbone, passthrough head and region layer."""

    size_multiple = 32
    anchors_A2: Tensor  # in output cells

    def __init__(self, settings: YOLOv2, classes: int) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes: must be >= 1, found {classes}")
        self.settings = settings
        self.classes = classes
        strides = (32,) if settings.passthrough is None else (16, 32)
        self.backbone = settings.backbone.build(strides)
        anchors = torch.tensor(settings.anchor_pixels()) / settings.output_stride
        self.register_buffer("anchors_A2", anchors, persistent=False)
        self.head = _head(settings, self.backbone.channels, len(anchors) * (5 + classes))
        self.normaliser = normaliser_of(settings.normaliser)
        self._cross_entropy: ClassificationLoss = CrossEntropy().at(0.0)
        self.classification_loss = self._cross_entropy
        self.set_pixel_statistics(self.backbone.pixel_mean, self.backbone.pixel_std)
        set_batch_norm(self, settings.batch_norm_momentum, settings.batch_norm_epsilon)
        if settings.objectness_prior is not None:
            self._set_objectness(settings.objectness_prior)
        if settings.weights is not None:
            load_darknet(self, settings.weights, drop_last=settings.drop_head)

    def from_maps(self, maps: tuple[Tensor, ...], input_hw: tuple[int, int]) -> RegionOutput:
        """The maps of strides 16 and 32 to raw predictions."""
        head_BCHW = self.head(maps)
        images, _, height, width = head_BCHW.shape
        fields = head_BCHW.permute(0, 2, 3, 1).reshape(
            images, height, width, len(self.anchors_A2), 5 + self.classes
        )
        return RegionOutput(fields, self.settings.output_stride)

    def loss(self, output: RegionOutput, truth: Truth) -> LossTerms:
        """The region loss, in float32 where the network ran in half precision."""
        settings = self.settings.region
        fields_BHWAF = at_least_float32(output.fields_BHWAF)
        images, height, width = fields_BHWAF.shape[:3]
        size = (height * output.stride, width * output.stride)
        boxes_BM4, valid_BM = limit(truth.boxes_BM4, truth.valid_BM, settings, size)
        cells = RegionTruth(
            to_centres(boxes_BM4) / output.stride, truth.labels_BM, valid_BM, truth.ignore_BM
        )
        losses = RegionLosses(self.classification_loss, self._cross_entropy, self.settings.sites)
        # Darknet counts a batch as seen before it runs it.
        pull = self.images_seen + images < settings.prior_images
        with torch.autocast(fields_BHWAF.device.type, enabled=False):
            sums = region_loss(
                fields_BHWAF, cells, self.anchors_A2, settings, losses, pull_priors=pull
            )
            divisor_B = self.normaliser(sums.foreground_B)
        return LossTerms(
            classification=(sums.classification_B / divisor_B).sum(),
            box=(sums.box_B / divisor_B).sum(),
            objectness=(sums.objectness_B / divisor_B).sum(),
            foreground=sums.foreground_B.sum(),
        )

    @torch.no_grad()
    def decode(self, output: RegionOutput, content_B2: Tensor) -> list[Detections]:
        """Objectness times class probability above the threshold, NMS per class, clipped to the
        content.
        """
        boxes_BN4, scores_BNK = self.dense(output)
        return [
            select_cells(self.settings, boxes_N4, scores_NK, content_2)
            for boxes_N4, scores_NK, content_2 in zip(
                boxes_BN4, scores_BNK, content_B2, strict=True
            )
        ]

    def dense(self, output: RegionOutput) -> tuple[Tensor, Tensor]:
        """Every prediction decoded: boxes [B, N, 4], and objectness times class probability
        [B, N, K].
        """
        fields_BHWAF = at_least_float32(output.fields_BHWAF)
        reach = self.settings.region.centre_reach
        boxes = decode_cells(fields_BHWAF, self.anchors_A2, reach) * output.stride
        scores = fields_BHWAF[..., 4:5].sigmoid() * self._class_probabilities(fields_BHWAF[..., 5:])
        return to_corners(boxes).flatten(1, 3), scores.flatten(1, 3)

    def fuse(self, *, channels_last: bool = True) -> "YOLOv2Detector":
        """A copy for inference with batch norms folded into the convolutions before them."""
        copy = deepcopy(self).eval().requires_grad_(False)
        for part in copy.modules():
            if isinstance(part, ConvBlock):
                part.fuse()
        if channels_last:
            copy.to(memory_format=torch.channels_last)
        return copy

    def _class_probabilities(self, logits_K: Tensor) -> Tensor:
        sites, form = self.settings.sites, self.settings.region.class_form
        if "class_sigmoid" in sites or ("class_softmax" not in sites and form == "sigmoid"):
            return logits_K.sigmoid()
        return logits_K.softmax(-1)

    @torch.no_grad()
    def _set_objectness(self, prior: float) -> None:
        """Small output weights and an objectness bias of logit(prior), as RetinaNet starts its
        classes.
        """
        output = self.head.output
        nn.init.normal_(output.weight, std=0.01)
        if output.bias is not None:
            bias_AF = output.bias.view(len(self.anchors_A2), 5 + self.classes)
            bias_AF[:, 4] = torch.tensor(prior).logit()
