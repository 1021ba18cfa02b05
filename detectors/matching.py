"""Which anchor answers for which truth box.

Shapes: B images, M most boxes of a batch, T all boxes of some images, A anchors, F foreground
anchors of the batch. Every anchor ends in one of three states: foreground (it has a box),
background, or set aside (it takes no part in the classification loss). Truth marked ignore never
makes foreground, and sets aside what it covers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.anchors import AnchorGrid
from detectors.base import Truth
from detectors.boxes import grid_intersection, grid_iou

# Pairs of box and anchor compared at once: 8 MB of overlaps. Small images go together, which spares
# calls; large ones go one by one, which spares memory.
PAIRS_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True)
class Assignment:
    """The answer for a batch: for each foreground anchor its image, its index, and its box's row in
    the padded truth (int64); and for every anchor whether it counts, as foreground or background.
    """

    image_F: Tensor
    anchor_F: Tensor
    row_F: Tensor
    counted_BA: Tensor  # bool

    @property
    def foreground_BA(self) -> Tensor:
        """The foreground as a mask."""
        mask_BA = torch.zeros_like(self.counted_BA)
        mask_BA[self.image_F, self.anchor_F] = True
        return mask_BA

    @property
    def foreground_B(self) -> Tensor:
        """Foreground anchors of each image, float32."""
        return torch.bincount(self.image_F, minlength=len(self.counted_BA)).float()


@dataclass(frozen=True, slots=True)
class MaxIoU:
    """Assignment by overlap (paper, section 4; Faster R-CNN, Ren et al. 2015, section 3.1.2).

    IoU >= `foreground` makes foreground, < `background` background, between sets aside. With
    `low_quality` each box also takes the anchors that overlap it most, however little (torchvision,
    Detectron2, mmdet; not said in the paper). An anchor with at least `ignore_coverage` of its own
    area inside ignored truth, or as close to it as foreground and the band between are to real
    truth, is set aside; `ignore_coverage: null` leaves only the second rule.
    """

    foreground: float = 0.5
    background: float = 0.4
    low_quality: bool = True
    ignore_coverage: float | None = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.background <= self.foreground <= 1:
            raise ValueError(
                "background: thresholds must satisfy 0 < background <= foreground <= 1, "
                f"found background {self.background}, foreground {self.foreground}"
            )
        if self.ignore_coverage is not None and not 0 < self.ignore_coverage <= 1:
            raise ValueError(f"ignore_coverage: must lie in (0, 1], found {self.ignore_coverage}")

    def claim(self, grid: AnchorGrid, boxes: "BoxList") -> "Claims":
        """Which anchors the boxes of some images make foreground, and which they leave
        background.
        """
        iou_TA = grid_iou(boxes.boxes_T4, grid)
        best_BA = iou_TA.new_zeros(boxes.images, iou_TA.shape[1])
        for image, part_NA in enumerate(torch.split(iou_TA, boxes.counts)):
            if len(part_NA):
                torch.amax(part_NA, dim=0, out=best_BA[image])
        foreground_BA = best_BA >= self.foreground
        if self.low_quality:
            box_P, anchor_P = _best_anchors(iou_TA)
            foreground_BA[boxes.image_T[box_P], anchor_P] = True
        image_F, anchor_F = foreground_BA.nonzero(as_tuple=True)
        iou_TF = iou_TA[:, anchor_F]
        iou_TF[boxes.image_T[:, None] != image_F] = -1
        box_F = iou_TF.argmax(dim=0)
        return Claims(image_F, anchor_F, box_F, (best_BA < self.background) & ~foreground_BA)


@dataclass(frozen=True, slots=True)
class BoxList:
    """Boxes of consecutive images, one after the other: their image (from 0) and row in the
    truth.
    """

    boxes_T4: Tensor
    image_T: Tensor
    row_T: Tensor
    counts: list[int]

    @property
    def images(self) -> int:
        """How many images, those without boxes too."""
        return len(self.counts)


@dataclass(frozen=True, slots=True)
class Claims:
    """Foreground anchors with their box (an index into T), and the background."""

    image_F: Tensor
    anchor_F: Tensor
    box_F: Tensor
    background_BA: Tensor


def assign(settings: MaxIoU, grid: AnchorGrid, truth: Truth) -> Assignment:
    """Assign every anchor of every image of a batch."""
    real_BM = truth.valid_BM & ~truth.ignore_BM
    parts = [
        _assign_images(settings, grid, truth, images)
        for images in _runs(real_BM.sum(dim=1).tolist(), len(grid.boxes_A4))
    ]
    return Assignment(
        torch.cat([part.image_F for part in parts]),
        torch.cat([part.anchor_F for part in parts]),
        torch.cat([part.row_F for part in parts]),
        torch.cat([part.counted_BA for part in parts]),
    )


def _assign_images(settings: MaxIoU, grid: AnchorGrid, truth: Truth, images: slice) -> Assignment:
    """`assign` for some images of the batch; image_F counts from the batch's first."""
    valid_BM, ignore_BM = truth.valid_BM[images], truth.ignore_BM[images]
    real = _box_list(truth.boxes_BM4[images], valid_BM & ~ignore_BM)
    if len(real.boxes_T4):
        claims = settings.claim(grid, real)
        image_F, anchor_F, row_F = claims.image_F, claims.anchor_F, real.row_T[claims.box_F]
        counted_BA = claims.background_BA
        counted_BA[image_F, anchor_F] = True
    else:
        image_F = anchor_F = row_F = real.row_T
        shape = (real.images, len(grid.boxes_A4))
        counted_BA = torch.ones(shape, dtype=torch.bool, device=grid.boxes_A4.device)
    ignored = _box_list(truth.boxes_BM4[images], valid_BM & ignore_BM)
    if len(ignored.boxes_T4):
        counted_BA &= ~_covered(settings, grid, ignored)
        counted_BA[image_F, anchor_F] = True  # a real object keeps its anchors inside a crowd
    return Assignment(image_F + images.start, anchor_F, row_F, counted_BA)


def _runs(counts: Sequence[int], anchors: int) -> Iterator[slice]:
    """Consecutive images whose boxes together make at most PAIRS_AT_ONCE pairs; at least one
    each.
    """
    start, pairs = 0, 0
    for image, count in enumerate(counts):
        if image > start and pairs + count * anchors > PAIRS_AT_ONCE:
            yield slice(start, image)
            start, pairs = image, 0
        pairs += count * anchors
    yield slice(start, len(counts))


def _box_list(boxes_BM4: Tensor, chosen_BM: Tensor) -> BoxList:
    image_T, row_T = chosen_BM.nonzero(as_tuple=True)
    counts: list[int] = chosen_BM.sum(dim=1).tolist()
    return BoxList(boxes_BM4[image_T, row_T].float(), image_T, row_T, counts)


def _best_anchors(iou_TA: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of a box and an anchor that no other anchor beats for it, ties included; a box that no
    anchor touches has none.
    """
    most_T = iou_TA.amax(dim=1, keepdim=True)
    most_T = torch.where(most_T > 0, most_T, 2.0)
    box_P, anchor_P = (iou_TA == most_T).nonzero(as_tuple=True)
    return box_P, anchor_P


def _covered(settings: MaxIoU, grid: AnchorGrid, ignored: BoxList) -> Tensor:
    """Anchors [B, A] that ignored truth covers, or that it would have kept from being background
    had
    it been real.
    """
    covered_BA = ~settings.claim(grid, ignored).background_BA
    if settings.ignore_coverage is None:
        return covered_BA
    shared_TA = grid_intersection(ignored.boxes_T4, grid)
    limit_A = grid.areas_A * settings.ignore_coverage
    for image, part_NA in enumerate(torch.split(shared_TA, ignored.counts)):
        if len(part_NA):
            covered_BA[image] |= part_NA.amax(dim=0) >= limit_A
    return covered_BA
