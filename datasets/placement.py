"""Where an image lies in the network input, and the way back. Shapes: N or D boxes.

A mirrored axis has a negative scale (x' = x * scale_x + offset_x holds for every `Placement`);
`flipped` repeats the sign of scale_x. A box mirrored by it has its corners put in order again.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from datasets.sample import Placement

Size = tuple[int, int]  # height, width
Array = NDArray[Any]
Rectangle = tuple[float, float, float, float]  # x1, y1, x2, y2; x2 and y2 exclusive


@dataclass(frozen=True, slots=True)
class Plan:
    """Whole pixels `crop` of the source fill whole pixels `target` of a canvas.

    The rest of it is fill.

    Both are whole so that the placement derived from them is exact: pixels and boxes move alike.
    """

    crop: tuple[int, int, int, int]
    target: tuple[int, int, int, int]
    canvas_hw: Size
    mirrored_x: bool = False
    mirrored_y: bool = False

    @property
    def placement(self) -> Placement:
        """How source pixels map to the canvas."""
        scales, offsets = [], []
        for axis, mirrored in ((0, self.mirrored_x), (1, self.mirrored_y)):
            low, high = self.crop[axis], self.crop[axis + 2]
            start, stop = self.target[axis], self.target[axis + 2]
            scale = (stop - start) / (high - low)
            offset = start - low * scale
            if mirrored:
                scale, offset = -scale, self.canvas_hw[1 - axis] - offset
            scales.append(scale)
            offsets.append(offset)
        return Placement(scales[0], scales[1], offsets[0], offsets[1], self.mirrored_x)


def plan(
    view: Rectangle,
    canvas_hw: Size,
    image_hw: Size,
    *,
    mirrored_x: bool = False,
    mirrored_y: bool = False,
) -> Plan:
    """Let `view`, in source pixels and allowed to leave the image, fill the canvas, snapped to
    whole pixels.

    ValueError when view and image don't overlap.
    """
    crop: list[int] = []
    target: list[int] = []
    for axis in (0, 1):
        side, length = image_hw[1 - axis], canvas_hw[1 - axis]
        start, stop = view[axis], view[axis + 2]
        scale = length / (stop - start)
        low = min(max(round(start), 0), side - 1)
        high = max(min(round(stop), side), low + 1)
        if stop <= 0 or start >= side:
            raise ValueError(f"view {view} lies outside an image of {image_hw}")
        first = min(max(round((low - start) * scale), 0), length - 1)
        last = max(min(round((high - start) * scale), length), first + 1)
        crop += [low, high]
        target += [first, last]
    return Plan(
        (crop[0], crop[2], crop[1], crop[3]),
        (target[0], target[2], target[1], target[3]),
        canvas_hw,
        mirrored_x,
        mirrored_y,
    )


def render(image_CHW: Tensor, plan: Plan, fill: int) -> Tensor:
    """Crop, resize (bilinear, antialiased, uint8), place on a canvas of grey `fill`, mirror."""
    return mirror(draw(image_CHW, plan, fill), plan)


def draw(image_CHW: Tensor, plan: Plan, fill: int) -> Tensor:
    """`render` without mirrors; the image itself, or a view of it, where nothing changes."""
    x1, y1, x2, y2 = plan.crop
    left, top, right, bottom = plan.target
    height, width = plan.canvas_hw
    part = image_CHW[:, y1:y2, x1:x2]
    if part.shape[1:] != (bottom - top, right - left):
        # Whole rows of interleaved colours take the vectorised path: 3 times faster than planes
        # (measured).
        part = part.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        part = F.resize(part, [bottom - top, right - left], antialias=True)
    if part.shape[1:] != (height, width):
        canvas = torch.full((height, width, part.shape[0]), fill, dtype=torch.uint8).permute(
            2, 0, 1
        )
        canvas[:, top:bottom, left:right] = part
        part = canvas
    return part


def mirror(image_CHW: Tensor, plan: Plan) -> Tensor:
    """The last step of `render`; what came in where nothing is mirrored."""
    axes = [axis for axis, on in ((2, plan.mirrored_x), (1, plan.mirrored_y)) if on]
    return image_CHW.flip(axes) if axes else image_CHW


def place_boxes(boxes_N4: Tensor, placement: Placement) -> Tensor:
    """Boxes of the original image in the network input; unclipped."""
    return torch.from_numpy(placed(boxes_N4.numpy(), placement))


def placed(boxes_N4: Array, placement: Placement) -> Array:
    """`place_boxes` of arrays: on a few boxes NumPy takes a third of torch's time (measured)."""
    scale = np.array([placement.scale_x, placement.scale_y] * 2)
    offset = np.array([placement.offset_x, placement.offset_y] * 2)
    moved = boxes_N4 * scale + offset
    low, high = moved[:, :2], moved[:, 2:]
    ordered = np.concatenate([np.minimum(low, high), np.maximum(low, high)], 1)
    return ordered.astype(boxes_N4.dtype)


def to_original(boxes_D4: Tensor, placement: Placement, original_hw: Size) -> Tensor:
    """Boxes of the network input back in the original image, clipped to it.

    The inverse of `place_boxes`.
    """
    kept = {"dtype": torch.float64, "device": boxes_D4.device}
    scale = torch.tensor([placement.scale_x, placement.scale_y] * 2, **kept)  # type: ignore[arg-type]
    offset = torch.tensor([placement.offset_x, placement.offset_y] * 2, **kept)  # type: ignore[arg-type]
    boxes = _ordered((boxes_D4.double() - offset) / scale)
    height, width = original_hw
    limit = torch.tensor([width, height] * 2, **kept)  # type: ignore[arg-type]
    return torch.minimum(boxes.clamp(min=0), limit).to(boxes_D4.dtype)


def compose(first: Placement, then: Placement) -> Placement:
    """The placement that does `first`, then `then`."""
    scale_x = first.scale_x * then.scale_x
    return Placement(
        scale_x=scale_x,
        scale_y=first.scale_y * then.scale_y,
        offset_x=first.offset_x * then.scale_x + then.offset_x,
        offset_y=first.offset_y * then.scale_y + then.offset_y,
        flipped=math.copysign(1, scale_x) < 0,
    )


def _ordered(boxes_N4: Tensor) -> Tensor:
    low, high = boxes_N4[..., :2], boxes_N4[..., 2:]
    return torch.cat([torch.minimum(low, high), torch.maximum(low, high)], -1)
