"""RetinaNet (Lin et al. 2017, arXiv:1708.02002): every factor of the paper is a setting.

Shapes: B images, A anchors of one image over all levels, K classes (and background last, with
softmax), F foreground anchors of the batch, M most boxes of a batch. Boxes are xyxy in pixels of
the network input.
"""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from detectors.backbones import TimmBackbone, TorchvisionBackbone
from detectors.base import Detections, Detector, Truth
from detectors.frozen_norm import materialise
from detectors.retinanet import boxes
from detectors.retinanet.anchors import AnchorGrid, Anchors, anchor_grid
from detectors.retinanet.assigners import ATSS, MaxIoU
from detectors.retinanet.head import Head, Tower, sigmoid_prior_, softmax_prior_
from detectors.retinanet.nms import Selection, candidates, suppress
from detectors.retinanet.pyramid import Pyramid
from detectors.retinanet.targets import Assignment, assign
from detectors.retinanet.torchvision_weights import load_torchvision
from detectors.yolov2.darknet19 import Darknet19, TinyDarknet
from losses.base import ClassificationLoss, LossTerms
from losses.boxes import at_least_float32, giou, smooth_l1
from losses.cross_entropy import CrossEntropy
from losses.normalise import Batch as PerBatch
from losses.normalise import Image as PerImage
from losses.normalise import Normaliser, normaliser_of

BACKBONE_STRIDES = (8, 16, 32)  # C3, C4, C5
GRIDS_KEPT = 32  # multi-scale training visits a dozen input sizes; a grid of 800 x 1333 takes 6 MB


@dataclass(frozen=True, slots=True)
class BoxLoss:
    """On foreground anchors: `l1` and `smooth_l1` (with `beta`) on coded offsets, `giou` on decoded
    boxes.
    """

    form: Literal["l1", "smooth_l1", "giou"] = "smooth_l1"
    beta: float = 1 / 9
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.beta < 0:
            raise ValueError(f"beta: must be >= 0, found {self.beta}")
        if self.weight < 0:
            raise ValueError(f"weight: must be >= 0, found {self.weight}")


@dataclass(frozen=True, slots=True)
class RetinaNet:
    """The paper's RetinaNet by default; small pyramids and heads make it fit a CPU.

    `weights` is a state dict of torchvision's RetinaNet, a path or `torchvision:NAME`; `drop_head`
    leaves out its layer that predicts classes, for other classes than the file's.
    """

    backbone: TorchvisionBackbone | TimmBackbone | Darknet19 | TinyDarknet = field(
        default_factory=TorchvisionBackbone
    )
    pyramid: Pyramid = field(default_factory=Pyramid)
    head: Head = field(default_factory=Head)
    anchors: Anchors = field(default_factory=Anchors)
    assign: MaxIoU | ATSS = field(default_factory=MaxIoU)
    activation: Literal["sigmoid", "softmax"] = "sigmoid"
    box_loss: BoxLoss = field(default_factory=BoxLoss)
    normaliser: Normaliser = field(default_factory=PerBatch)
    select: Selection = field(default_factory=Selection)
    weights: str | None = None
    drop_head: bool = False

    def __post_init__(self) -> None:
        if self.head.norm == "group" and self.pyramid.width % self.head.groups:
            raise ValueError(
                f"head: {self.head.groups} groups do not divide the pyramid's width of "
                f"{self.pyramid.width}"
            )
        if self.drop_head and self.weights is None:
            raise ValueError("drop_head: has no meaning without weights")

    def build(self, classes: int) -> "RetinaNetDetector":
        """The detector for `classes` foreground classes, with plain cross-entropy until the engine
        sets a loss.
        """
        detector = RetinaNetDetector(self, classes)
        if self.weights is not None:
            load_torchvision(detector, self.weights, drop_head=self.drop_head)
        return detector


@dataclass(frozen=True, slots=True)
class DenseOutput:
    """What the network says of every anchor: class logits and coded offsets."""

    logits_BAK: Tensor
    deltas_BA4: Tensor
    grid: AnchorGrid

    @property
    def anchors(self) -> int:
        """Predictions of one image."""
        return self.logits_BAK.shape[1]


class RetinaNetDetector(Detector[DenseOutput]):
    """Backbone, pyramid, two towers; see `detectors.base.Detector` for the verbs."""

    size_multiple = 32

    def __init__(self, settings: RetinaNet, classes: int):
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes: must be >= 1, found {classes}")
        self.settings, self.classes = settings, classes
        self.backbone = settings.backbone.build(BACKBONE_STRIDES)
        self.pyramid = settings.pyramid.build(self.backbone.channels)
        width, per_cell = settings.pyramid.width, settings.anchors.per_cell
        columns = classes + (settings.activation == "softmax")
        self.classification = Tower(settings.head, width, per_cell, columns)
        # A step of bfloat16 at an offset of 1 is half a pixel of a 64 px anchor.
        self.regression = Tower(settings.head, width, per_cell, 4, exact=True)
        prior_ = sigmoid_prior_ if settings.activation == "sigmoid" else softmax_prior_
        prior_(self.classification, settings.head.prior)
        self.normaliser = normaliser_of(settings.normaliser)
        self.classification_loss: ClassificationLoss = CrossEntropy().at(0.0)
        self.strides = tuple(8 * 2**level for level in range(settings.pyramid.levels))
        self.set_pixel_statistics(self.backbone.pixel_mean, self.backbone.pixel_std)
        self._grids: dict[tuple[object, ...], AnchorGrid] = {}
        self.to(memory_format=torch.channels_last)

    def from_maps(self, maps: tuple[Tensor, ...], input_hw: tuple[int, int]) -> DenseOutput:
        """C3 to C5 to class logits, coded offsets and the anchors they belong to."""
        levels = self.pyramid(maps)
        shapes = tuple((level.shape[2], level.shape[3]) for level in levels)
        grid = self._grid(shapes, input_hw, levels[0].device)
        return DenseOutput(self.classification(levels), self.regression(levels), grid)

    def assign(self, output: DenseOutput, truth: Truth) -> Assignment:
        """Which anchors answer for which truth."""
        with torch.no_grad():
            return assign(self.settings.assign, output.grid, truth)

    def loss(self, output: DenseOutput, truth: Truth) -> LossTerms:
        """Both terms, in float32 for half precision, divided as the normaliser says."""
        with torch.autocast(output.logits_BAK.device.type, enabled=False):
            assignment = self.assign(output, truth)
            foreground_B = assignment.foreground_B
            divisor_B = self.normaliser(foreground_B)
            class_B = self._classification_loss(output, truth, assignment)
            box_B = self._box_loss(output, truth, assignment) * self.settings.box_loss.weight
        return LossTerms(
            classification=(class_B / divisor_B).sum(),
            box=(box_B / divisor_B).sum(),
            objectness=None,
            foreground=foreground_B.sum(),
        )

    def decode(self, output: DenseOutput, content_B2: Tensor) -> list[Detections]:
        """Detections of each image; see `Selection` for what is kept."""
        sizes = [len(level.boxes_A4) for level in output.grid.levels]
        anchors = torch.split(output.grid.boxes_A4, sizes)
        found = []
        for logits_AK, deltas_A4, content_2 in zip(
            at_least_float32(output.logits_BAK),
            at_least_float32(output.deltas_BA4),
            content_B2,
            strict=True,
        ):
            levels = zip(
                torch.split(logits_AK, sizes), torch.split(deltas_A4, sizes), anchors, strict=True
            )
            found.append(self._decode_image(list(levels), content_2))
        return found

    def fuse(self) -> "RetinaNetDetector":
        """A copy for inference with frozen norms written into the convolutions before them."""
        copy = deepcopy(self).eval().requires_grad_(False)
        materialise(copy)
        return copy

    def _grid(
        self, shapes: tuple[tuple[int, int], ...], image_hw: tuple[int, int], device: torch.device
    ) -> AnchorGrid:
        key = (shapes, image_hw, device)
        if key not in self._grids:
            if len(self._grids) >= GRIDS_KEPT:
                self._grids.clear()
            self._grids[key] = anchor_grid(
                self.settings.anchors, self.strides, shapes, image_hw, device
            )
        return self._grids[key]

    def _classification_loss(
        self, output: DenseOutput, truth: Truth, assignment: Assignment
    ) -> Tensor:
        """The unnormalised classification loss of each image, [B]."""
        logits_BAK = at_least_float32(output.logits_BAK)
        image_F, anchor_F = assignment.image_F, assignment.anchor_F
        label_F = truth.labels_BM[image_F, assignment.row_F]
        aside_BA = ~assignment.counted_BA
        if self.settings.activation == "sigmoid":
            as_bool = logits_BAK.device.type != "cpu" and getattr(
                self.classification_loss, "takes_bool", False
            )
            kind = torch.bool if as_bool else logits_BAK.dtype
            target_BAK = torch.zeros_like(logits_BAK, dtype=kind)
            target_BAK[image_F, anchor_F, label_F] = 1
            loss_BA = self.classification_loss.sigmoid(logits_BAK, target_BAK, aside_BA).sum(dim=-1)
        else:
            label_BA = torch.full_like(aside_BA, self.classes, dtype=torch.int64)
            label_BA[image_F, anchor_F] = label_F
            loss_BA = self.classification_loss.softmax(logits_BAK, label_BA, aside_BA)
        return loss_BA.sum(dim=1)

    def _box_loss(self, output: DenseOutput, truth: Truth, assignment: Assignment) -> Tensor:
        """The unnormalised box loss of each image, [B]."""
        image_F, anchor_F = assignment.image_F, assignment.anchor_F
        deltas_F4 = at_least_float32(output.deltas_BA4[image_F, anchor_F])
        target_F4 = truth.boxes_BM4[image_F, assignment.row_F].to(deltas_F4.dtype)
        anchors_F4 = output.grid.boxes_A4[anchor_F]
        settings = self.settings.box_loss
        if settings.form == "giou":
            loss_F = giou(boxes.decode(deltas_F4, anchors_F4), target_F4)
        else:
            beta = settings.beta if settings.form == "smooth_l1" else 0.0
            codes_F4 = boxes.encode(target_F4, anchors_F4)
            loss_F = smooth_l1(deltas_F4, codes_F4, beta).sum(dim=-1)
        return loss_F.new_zeros(len(truth.boxes_BM4)).index_add(0, image_F, loss_F)

    def _decode_image(
        self, levels: list[tuple[Tensor, Tensor, Tensor]], content_2: Tensor
    ) -> Detections:
        """Detections of one image from (logits, offsets, anchors) of each level."""
        found = []
        for logits_AK, deltas_A4, anchors_A4 in levels:
            scores, rows, labels = candidates(
                logits_AK, self.settings.select, self.settings.activation
            )
            decoded = boxes.decode(deltas_A4[rows], anchors_A4[rows])
            found.append((boxes.clip(decoded, content_2), scores, labels))
        boxes_D4, scores_D, labels_D = (torch.cat(part) for part in zip(*found, strict=True))
        return suppress(boxes_D4, scores_D, labels_D, self.settings.select)


# As torchvision builds `retinanet_resnet50_fpn` for pretrained weights, and
# `retinanet_resnet50_fpn_v2`.
TORCHVISION_V1 = RetinaNet(
    backbone=TorchvisionBackbone(arch="resnet50", norm="frozen", frozen_stages=2),
    pyramid=Pyramid(p6_from="p5"),
    anchors=Anchors(sizes="truncated"),
    box_loss=BoxLoss("l1"),
    normaliser=PerImage(),
    select=Selection(most=300),
)
TORCHVISION_V2 = replace(
    TORCHVISION_V1,
    backbone=TorchvisionBackbone(arch="resnet50", frozen_stages=2),
    pyramid=Pyramid(p6_from="c5"),
    head=Head(norm="group"),
    box_loss=BoxLoss("giou"),
)
