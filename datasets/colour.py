"""Colour jitter in HSV, as Darknet draws it. Shapes: C = 3, RGB."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor


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
    """uint8 RGB with its hue turned and saturation and value multiplied, each held in its range.

    With V the largest channel and C = V - smallest, a channel is V - C * t, and t depends on the
    hue alone: no HSV image is made. A third of the time of torchvision's adjust_hue,
    adjust_saturation and adjust_brightness in turn (measured).
    """
    rgb_CHW = image_CHW.permute(1, 2, 0).contiguous().permute(2, 0, 1).float()
    value_HW, chroma_HW = rgb_CHW.amax(0), rgb_CHW.amax(0) - rgb_CHW.amin(0)
    more_HW = torch.minimum(chroma_HW * saturation, value_HW)  # saturation C / V stays <= 1
    gain_HW = (255 / value_HW.clamp(min=1)).clamp(max=exposure)  # value stays <= 255
    if hue:
        depth_CHW = _depth(rgb_CHW, value_HW, chroma_HW, hue)
    else:
        depth_CHW = (value_HW - rgb_CHW) / chroma_HW.clamp(min=1)
    result_CHW = (value_HW - more_HW * depth_CHW) * gain_HW
    return result_CHW.add_(0.5).clamp_(0, 255).to(torch.uint8)


def _depth(rgb_CHW: Tensor, value_HW: Tensor, chroma_HW: Tensor, hue: float) -> Tensor:
    """t of each channel (0 at the largest, 1 at the smallest) after turning the hue."""
    red_HW, green_HW, blue_HW = rgb_CHW
    turn_HW = torch.where(
        value_HW == red_HW,
        green_HW - blue_HW,
        torch.where(
            value_HW == green_HW,
            blue_HW - red_HW + 2 * chroma_HW,
            red_HW - green_HW + 4 * chroma_HW,
        ),
    )
    turn_HW = turn_HW / chroma_HW.clamp(min=1) + hue * 6  # sixths of a turn
    phases = torch.tensor([5.0, 3.0, 1.0]).view(3, 1, 1)
    place_CHW = torch.remainder(turn_HW + phases, 6)
    return torch.minimum(place_CHW, 4 - place_CHW).clamp_(0, 1)
