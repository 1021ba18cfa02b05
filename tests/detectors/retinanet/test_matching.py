"""Assignment, against torchvision's matcher and, for ignored truth, by the project's own rule."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from detectors.retinanet.anchors import AnchorGrid, Anchors, anchor_grid
from detectors.retinanet.assigners import ATSS, MaxIoU
from detectors.retinanet.targets import assign


@dataclass
class Labels:
    boxes_BM4: Tensor
    labels_BM: Tensor
    ignore_BM: Tensor
    valid_BM: Tensor


def labels(*images: list[list[float]], ignore: list[list[bool]] | None = None) -> Labels:
    most = max(1, *(len(boxes) for boxes in images))
    boxes = torch.zeros(len(images), most, 4)
    valid, ignored = (torch.zeros(len(images), most, dtype=torch.bool) for _ in range(2))
    for row, listed in enumerate(images):
        if listed:
            boxes[row, : len(listed)] = torch.tensor(listed)
        valid[row, : len(listed)] = True
        if ignore:
            ignored[row, : len(listed)] = torch.tensor(ignore[row], dtype=torch.bool)
    return Labels(boxes, torch.zeros(len(images), most, dtype=torch.int64), ignored, valid)


@pytest.fixture(scope="module")
def grid() -> AnchorGrid:
    shapes = [(12, 20), (6, 10), (3, 5)]
    return anchor_grid(Anchors(), (8, 16, 32), shapes, (96, 160), torch.device("cpu"))


BOXES = [
    [3.0, 5.0, 60.0, 70.0],
    [10.0, 20.0, 18.0, 29.0],
    [90.0, 30.0, 150.0, 60.0],
    [85.0, 33.0, 155.0, 65.0],
]


@pytest.mark.parametrize("low_quality", [True, False])
def test_equals_torchvisions_matcher(grid: AnchorGrid, low_quality: bool) -> None:
    found = assign(MaxIoU(low_quality=low_quality), grid, labels(BOXES, BOXES[:1], []))
    matcher = Matcher(0.5, 0.4, allow_low_quality_matches=low_quality)
    for image, boxes in enumerate((BOXES, BOXES[:1])):
        expected = matcher(box_iou(torch.tensor(boxes), grid.boxes_A4))
        assert torch.equal(found.foreground_BA[image], expected >= 0)
        assert torch.equal(found.counted_BA[image], expected != Matcher.BETWEEN_THRESHOLDS)
        here = found.image_F == image
        assert torch.equal(found.row_F[here], expected[found.anchor_F[here]])
    assert not found.foreground_BA[2].any() and found.counted_BA[2].all()


def test_a_box_smaller_than_every_anchor_is_still_found_with_low_quality(grid: AnchorGrid) -> None:
    tiny = labels([[40.0, 40.0, 45.0, 45.0]])
    assert assign(MaxIoU(low_quality=False), grid, tiny).foreground_BA.sum() == 0
    assert assign(MaxIoU(low_quality=True), grid, tiny).foreground_BA.sum() >= 1


def test_a_box_that_touches_no_anchor_takes_none(grid: AnchorGrid) -> None:
    empty = labels([[50.0, 50.0, 50.0, 50.0]])
    assert assign(MaxIoU(), grid, empty).foreground_BA.sum() == 0


def test_ignored_truth_is_neither_foreground_nor_background(grid: AnchorGrid) -> None:
    truth = labels(BOXES, ignore=[[True, True, False, False]])
    found = assign(MaxIoU(), grid, truth)
    iou = box_iou(torch.tensor(BOXES), grid.boxes_A4)
    near = (iou[:2] >= 0.4).any(dim=0) | (iou[:2] == iou[:2].amax(1, keepdim=True)).any(dim=0)
    assert near.sum() > 10
    assert not (found.counted_BA[0] & near & ~found.foreground_BA[0]).any()
    assert set(found.row_F.tolist()) == {2, 3}


def test_ignored_truth_sets_aside_what_lies_inside_it_unless_told_otherwise(
    grid: AnchorGrid,
) -> None:
    crowd = labels([[0.0, 0.0, 160.0, 96.0]], ignore=[[True]])
    assert assign(MaxIoU(), grid, crowd).counted_BA.float().mean() < 0.2
    assert assign(MaxIoU(ignore_coverage=None), grid, crowd).counted_BA.float().mean() > 0.7


def test_a_real_object_in_a_crowd_keeps_its_anchors(grid: AnchorGrid) -> None:
    alone = assign(MaxIoU(), grid, labels([BOXES[0]]))
    crowded = assign(
        MaxIoU(), grid, labels([BOXES[0], [0.0, 0.0, 160.0, 96.0]], ignore=[[False, True]])
    )
    assert torch.equal(alone.foreground_BA, crowded.foreground_BA)
    assert (crowded.counted_BA | ~crowded.foreground_BA).all()


def test_impossible_thresholds_name_their_field() -> None:
    with pytest.raises(ValueError, match="^background:"):
        MaxIoU(foreground=0.4, background=0.5)


def test_images_together_or_one_by_one_are_the_same(
    grid: AnchorGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = labels(
        BOXES,
        [],
        BOXES[2:],
        BOXES[:1],
        ignore=[[True, False, False, True], [], [False, True], [False]],
    )
    together = assign(MaxIoU(), grid, truth)
    monkeypatch.setattr("detectors.retinanet.targets.PAIRS_AT_ONCE", 1)
    alone = assign(MaxIoU(), grid, truth)
    for name in ("image_F", "anchor_F", "row_F", "counted_BA"):
        assert torch.equal(getattr(together, name), getattr(alone, name))
    assert together.foreground_B.tolist() == together.foreground_BA.sum(1).tolist()


def test_mmdets_voc_recipe_would_train_ignored_truth_as_background(grid: AnchorGrid) -> None:
    truth = labels(BOXES[:1], ignore=[[True]])
    near = box_iou(truth.boxes_BM4[0], grid.boxes_A4)[0] >= 0.4
    assert near.sum() > 5
    assert assign(MaxIoU(ignored="background"), grid, truth).counted_BA[0][near].all()
    assert not assign(MaxIoU(ignored="aside"), grid, truth).counted_BA[0][near].any()


def slow_atss(boxes: Tensor, grid: AnchorGrid, nearest: int) -> dict[int, int]:
    """Algorithm 1 of the paper, box by box and level by level: anchor -> box."""
    centres = (grid.boxes_A4[:, :2] + grid.boxes_A4[:, 2:]) / 2
    iou, best = box_iou(boxes, grid.boxes_A4), {}
    for box, corners in enumerate(boxes):
        offers: list[int] = []
        start = 0
        for level in grid.levels:
            indices = range(start, start + len(level.boxes_A4))
            middle = (corners[:2] + corners[2:]) / 2
            distance = [((centres[i] - middle) ** 2).sum().item() for i in indices]
            order = sorted(indices, key=lambda i: (distance[i - start], i))
            offers += order[: nearest * 9]
            start += len(level.boxes_A4)
        overlaps = iou[box, offers]
        limit = overlaps.mean() + overlaps.std()
        for anchor in offers:
            x, y = centres[anchor].tolist()
            inside = corners[0] < x < corners[2] and corners[1] < y < corners[3]
            if inside and iou[box, anchor] >= limit:
                rival = best.get(anchor)
                if rival is None or iou[box, anchor] > iou[rival, anchor]:
                    best[anchor] = box
    return best


def test_atss_is_its_papers_algorithm(grid: AnchorGrid) -> None:
    boxes = [[3.3, 5.1, 61.0, 70.2], [10.7, 20.4, 22.0, 33.9], [81.3, 30.0, 150.1, 60.6]]
    found = assign(ATSS(nearest=3), grid, labels(boxes, boxes[:1]))
    for image, listed in enumerate((boxes, boxes[:1])):
        expected = slow_atss(torch.tensor(listed), grid, nearest=3)
        here = found.image_F == image
        pairs = zip(found.anchor_F[here].tolist(), found.row_F[here].tolist(), strict=True)
        assert dict(pairs) == expected
    assert found.counted_BA.all()


def test_atss_gives_a_tiny_box_more_than_its_best_anchor(grid: AnchorGrid) -> None:
    tiny = labels([[40.0, 40.0, 52.0, 52.0]])
    assert len(assign(ATSS(), grid, tiny).anchor_F) > 1
