"""The one form in which an image and its labels travel.

Shapes: B images, N boxes, M most boxes of the batch.

Boxes are float32 xyxy in pixels, x right, y down, 0-based, x2 and y2 exclusive: VOC's 1-based
inclusive (xmin, ymin, xmax, ymax) is (xmin - 1, ymin - 1, xmax, ymax) here, so width = x2 - x1 as
in the devkit.

The labels of one image without its pixels. Shapes: N boxes.

Boxes as in `sample.py`, in the original image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Annotation:
    """One image's labels after the policies; `ignore_N` is `difficult_N` or `crowd_N`."""

    image_id: str
    path: str  # of the image file
    size_hw: tuple[int, int]  # pixels, the image's own; as the labels say where it isn't there
    boxes_N4: npt.NDArray[np.float32]
    labels_N: npt.NDArray[np.int64]
    difficult_N: npt.NDArray[np.bool_]
    crowd_N: npt.NDArray[np.bool_]
    area_N: npt.NDArray[np.float32]  # COCO: of the segment; else of the box; square pixels
    object_N: npt.NDArray[np.int64]  # place in the XML file from 1, or COCO annotation id
    turn: int = 1  # EXIF orientation that is applied to the file's pixels; 1: as stored

    @property
    def ignore_N(self) -> npt.NDArray[np.bool_]:
        """Boxes neither rewarded nor punished."""
        ignore: npt.NDArray[Any] = self.difficult_N | self.crowd_N
        return ignore


@dataclass(frozen=True, slots=True)
class Placement:
    """How an original image lies in the network input: x' = x * scale_x + offset_x, likewise y."""

    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0
    flipped: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its labels, in the frame of `image_CHW`: original, or network input."""

    image_CHW: Tensor  # uint8, RGB
    boxes_N4: Tensor
    labels_N: Tensor  # int64, 0..K-1
    ignore_N: Tensor  # bool; VOC "difficult" and COCO crowds: neither rewarded nor punished
    image_id: str  # VOC: file stem; COCO: decimal id
    index: int  # position in its data set
    original_hw: tuple[int, int]
    placement: Placement = Placement()
    by_pillow: bool = False  # a JPEG that the faster decoder refused


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples padded to one size. Only rows with `valid_BM` are boxes; the rest is zero."""

    images_BCHW: Tensor  # uint8, RGB; zero below and right of content_B2
    content_B2: Tensor  # int64 (height, width) of each image's own pixels, top left
    boxes_BM4: Tensor
    labels_BM: Tensor
    ignore_BM: Tensor
    valid_BM: Tensor
    image_ids: tuple[str, ...]
    original_hw: tuple[tuple[int, int], ...]
    placements: tuple[Placement, ...]
    by_pillow: tuple[int, ...] = ()  # `index` of the samples that are

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory, which a GPU copies from by itself; a DataLoader asks."""
        pinned = {
            field.name: getattr(self, field.name).pin_memory()
            for field in fields(self)
            if isinstance(getattr(self, field.name), Tensor)
        }
        return replace(self, **pinned)


def collate(samples: Sequence[Sample], *, multiple: int = 1) -> Batch:
    """Stack samples, padding height and width to the largest, rounded up to `multiple` pixels.

    Images come in the memory format of the first one: channels_last after resizing.
    """
    sizes = [tuple(sample.image_CHW.shape[1:]) for sample in samples]
    height, width = (
        -(-max(size[axis] for size in sizes) // multiple) * multiple for axis in (0, 1)
    )
    most = max(1, max(len(sample.boxes_N4) for sample in samples))
    count = len(samples)
    # Rows are copied as they lie: making planes of 800 x 1067 interleaved pixels took 1.4 ms, and
    # channels_last training turns them back.
    colours, interleaved = samples[0].image_CHW.shape[0], samples[0].image_CHW.stride(0) == 1
    images = torch.empty(
        (count, colours, height, width),
        dtype=torch.uint8,
        memory_format=torch.channels_last if interleaved else torch.contiguous_format,
    )
    if any(size != (height, width) for size in sizes):
        images.zero_()
    boxes = np.zeros((count, most, 4), np.float32)  # NumPy: a third of torch's time on small rows
    labels = np.zeros((count, most), np.int64)
    ignore, valid = (np.zeros((count, most), np.bool_) for _ in range(2))
    for row, sample in enumerate(samples):
        boxes_here = len(sample.boxes_N4)
        images[row, :, : sizes[row][0], : sizes[row][1]] = sample.image_CHW
        boxes[row, :boxes_here] = sample.boxes_N4.numpy()
        labels[row, :boxes_here] = sample.labels_N.numpy()
        ignore[row, :boxes_here] = sample.ignore_N.numpy()
        valid[row, :boxes_here] = True
    return Batch(
        images_BCHW=images,
        content_B2=torch.tensor([list(size) for size in sizes]),
        boxes_BM4=torch.from_numpy(boxes),
        labels_BM=torch.from_numpy(labels),
        ignore_BM=torch.from_numpy(ignore),
        valid_BM=torch.from_numpy(valid),
        image_ids=tuple(sample.image_id for sample in samples),
        original_hw=tuple(sample.original_hw for sample in samples),
        placements=tuple(sample.placement for sample in samples),
        by_pillow=tuple(sample.index for sample in samples if sample.by_pillow),
    )
