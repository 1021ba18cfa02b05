"""Colour jitter in HSV, as Darknet draws it. Shapes: C = 3, RGB."""

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_ROWS = 64  # of an image at a time, so that all planes stay in the cache


@dataclass(frozen=True, slots=True)
class Colour:
    """Darknet's distortion (image.c, random_distort_image): hue is shifted, saturation and exposure
    multiplied.
    """

    hue: float = 0.1  # of a full turn, to either side
    saturation: float = 1.5  # times or divided by up to this
    exposure: float = 1.5

    def __post_init__(self) -> None:
        """Refuse impossible values; ValueError begins with the field's name."""
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue: must be in 0..0.5, found {self.hue}")
        for name in ("saturation", "exposure"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be >= 1, found {getattr(self, name)}")

    def draw(self, chance: random.Random) -> tuple[float, float, float]:
        """(hue shift, saturation factor, exposure factor) for one image."""
        return (
            chance.uniform(-self.hue, self.hue),
            _factor(chance, self.saturation),
            _factor(chance, self.exposure),
        )


def _factor(chance: random.Random, most: float) -> float:
    factor = chance.uniform(1.0, most)
    return factor if chance.random() < 0.5 else 1 / factor


def distort(image_CHW: Tensor, hue: float, saturation: float, exposure: float) -> Tensor:
    """Turn the hue of uint8 RGB, multiply its saturation and value, each held in its range.

    With V the largest channel and C = V - smallest, a channel is V - C * t, and t depends on the
    hue alone: no HSV image is made.
    """
    result_CHW = torch.empty(image_CHW.shape, dtype=torch.uint8)
    for top in range(0, image_CHW.shape[1], _ROWS):
        part_CHW = image_CHW[:, top : top + _ROWS].numpy()
        rgb_CHW = torch.from_numpy(np.ascontiguousarray(part_CHW)).float()
        block_CHW = _distort_block(rgb_CHW, hue, saturation, exposure)
        # NumPy's cast to bytes is vectorised, torch's isn't: 0.01 for 0.07 ms a block (measured).
        result_CHW[:, top : top + _ROWS] = torch.from_numpy(block_CHW.numpy().astype(np.uint8))
    return result_CHW


def _distort_block(rgb_CHW: Tensor, hue: float, saturation: float, exposure: float) -> Tensor:
    """The same in float, 0..255, half added for rounding down."""
    red_HW, green_HW, blue_HW = rgb_CHW
    value_HW = torch.maximum(torch.maximum(red_HW, green_HW), blue_HW)
    chroma_HW = value_HW - torch.minimum(torch.minimum(red_HW, green_HW), blue_HW)
    gain_HW = value_HW.clamp(min=1).reciprocal_().mul_(255).clamp_(max=exposure)  # value <= 255
    more_HW = torch.minimum(chroma_HW * saturation, value_HW)  # saturation C / V <= 1
    if hue:
        depth_CHW = _depth(rgb_CHW, value_HW, chroma_HW, hue)
    else:
        depth_CHW = (value_HW - rgb_CHW).div_(chroma_HW.clamp(min=1))
    result_CHW = depth_CHW.mul_(more_HW).neg_().add_(value_HW).mul_(gain_HW)
    return result_CHW.add_(0.5).clamp_(0, 255)


def _depth(rgb_CHW: Tensor, value_HW: Tensor, chroma_HW: Tensor, hue: float) -> Tensor:
    """t of each channel (0 at the largest, 1 at the smallest) after turning the hue."""
    red_HW, green_HW, blue_HW = rgb_CHW
    # Blends by masks in place of torch.where, which takes 15 times as long (measured).
    is_red_HW, is_green_HW = torch.empty_like(value_HW), torch.empty_like(value_HW)
    torch.eq(value_HW, red_HW, out=is_red_HW)
    torch.eq(value_HW, green_HW, out=is_green_HW)
    from_green_HW = (blue_HW - red_HW).add_(chroma_HW, alpha=2)
    from_blue_HW = (red_HW - green_HW).add_(chroma_HW, alpha=4)
    turn_HW = torch.lerp(from_blue_HW, from_green_HW, is_green_HW)
    turn_HW = torch.lerp(turn_HW, green_HW - blue_HW, is_red_HW)
    turn_HW.div_(chroma_HW.clamp(min=1)).add_(hue * 6)  # in sixths of a turn
    depth_CHW = torch.empty_like(rgb_CHW)
    for channel, phase in enumerate((5.0, 3.0, 1.0)):
        place_HW = torch.add(turn_HW, phase, out=depth_CHW[channel])
        place_HW.sub_(torch.floor(place_HW / 6), alpha=6)
        place_HW.sub_(2).abs_().neg_().add_(2).clamp_(0, 1)  # min(place, 4 - place) within 0..1
    return depth_CHW
