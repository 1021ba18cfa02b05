"""Which anchor answers for which truth box, over a batch, and what ignored truth does.

Shapes: B images, M most boxes of a batch, T all boxes of some images, A anchors of one image,
F foreground anchors of the batch. Every anchor ends in one of three states: foreground (it has a
box), background, or set aside (it takes no part in the classification loss).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.base import Truth
from detectors.retinanet.anchors import AnchorGrid
from detectors.retinanet.assigners import Assigner, BoxList
from detectors.retinanet.boxes import grid_intersection

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


def assign(settings: Assigner, grid: AnchorGrid, truth: Truth) -> Assignment:
    """Assign every anchor of every image of a batch.

    Truth marked ignore never makes foreground. With `ignored: aside` it also sets aside the anchors
    that it would have kept from being background had it been real, and those with at least
    `ignore_coverage` of their own area inside it (null: only the former); what is foreground of
    real truth stays so. `ignored: background` trains all of them as background, as mmdet's VOC
    recipe does with difficult objects: an ablation, not advice.
    """
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


def _assign_images(settings: Assigner, grid: AnchorGrid, truth: Truth, images: slice) -> Assignment:
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
        shape = (len(valid_BM), len(grid.boxes_A4))
        counted_BA = torch.ones(shape, dtype=torch.bool, device=grid.boxes_A4.device)
    if settings.ignored == "aside":
        ignored = _box_list(truth.boxes_BM4[images], valid_BM & ignore_BM)
        if len(ignored.boxes_T4):
            counted_BA &= ~_covered(settings, grid, ignored)
            counted_BA[image_F, anchor_F] = True
    return Assignment(image_F + images.start, anchor_F, row_F, counted_BA)


def _runs(counts: Sequence[int], anchors: int) -> Iterator[slice]:
    """Consecutive images whose boxes make at most PAIRS_AT_ONCE pairs; at least one image each."""
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


def _covered(settings: Assigner, grid: AnchorGrid, ignored: BoxList) -> Tensor:
    """Anchors [B, A] that ignored truth sets aside, before real truth takes its own back."""
    covered_BA = ~settings.claim(grid, ignored).background_BA
    if settings.ignore_coverage is None:
        return covered_BA
    shared_TA = grid_intersection(ignored.boxes_T4, grid)
    limit_A = grid.areas_A * settings.ignore_coverage
    for image, part_NA in enumerate(torch.split(shared_TA, ignored.counts)):
        if len(part_NA):
            covered_BA[image] |= part_NA.amax(dim=0) >= limit_A
    return covered_BA
