"""Original image to network input, boxes along with it. Shapes: N boxes of one image.

One geometric step does it all: an optional crop of the source, the fit to the input's size, an
optional jitter of the place, and mirrors make one `Plan`, so that pixels are resampled once and the
way back is one `Placement`.
"""

import hashlib
import random
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from datasets.colour import Colour, distort
from datasets.placement import Array, Plan, Rectangle, Size, compose, draw, mirror, placed, plan
from datasets.sample import Placement, Sample

FILL = 127  # Darknet's grey, which is close to any pixel mean


class Fit(Protocol):
    """How a rectangle of the source is brought to the size of the network input."""

    def extent(self, source_hw: Size, canvas_hw: Size | None) -> tuple[Size, tuple[float, float]]:
        """(height, width) of the input, and of the source scaled into it.

        `canvas_hw` overrides the fit's own.
        """
        ...


@dataclass(frozen=True, slots=True)
class Stretch:
    """Fill height x width, whatever that does to proportions."""

    height: int
    width: int

    def __post_init__(self) -> None:
        """Refuse impossible sizes; ValueError begins with the field's name."""
        _positive(self, "height", "width")

    def extent(self, source_hw: Size, canvas_hw: Size | None) -> tuple[Size, tuple[float, float]]:
        """See `Fit`."""
        canvas = canvas_hw or (self.height, self.width)
        return canvas, (float(canvas[0]), float(canvas[1]))


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Keep proportions inside height x width, centred, grey bars around."""

    height: int
    width: int

    def __post_init__(self) -> None:
        """Refuse impossible sizes; ValueError begins with the field's name."""
        _positive(self, "height", "width")

    def extent(self, source_hw: Size, canvas_hw: Size | None) -> tuple[Size, tuple[float, float]]:
        """See `Fit`."""
        canvas = canvas_hw or (self.height, self.width)
        scale = min(canvas[0] / source_hw[0], canvas[1] / source_hw[1])
        return canvas, (source_hw[0] * scale, source_hw[1] * scale)


@dataclass(frozen=True, slots=True)
class ShortEdge:
    """Scale the shorter side to `short`, unless the longer one would pass `longest` (RetinaNet:
    800, 1333).
    """

    short: int = 800
    longest: int = 1333

    def __post_init__(self) -> None:
        """Refuse impossible sizes; ValueError begins with the field's name."""
        _positive(self, "short", "longest")

    def extent(self, source_hw: Size, canvas_hw: Size | None) -> tuple[Size, tuple[float, float]]:
        """See `Fit`; a `canvas_hw` gives (short, longest)."""
        short, longest = canvas_hw or (self.short, self.longest)
        scale = min(short / min(source_hw), longest / max(source_hw))
        canvas = (max(1, round(source_hw[0] * scale)), max(1, round(source_hw[1] * scale)))
        return canvas, (float(canvas[0]), float(canvas[1]))


FITS: dict[str, type[Stretch] | type[Letterbox] | type[ShortEdge]] = {
    "stretch": Stretch,
    "letterbox": Letterbox,
    "short_edge": ShortEdge,
}


@dataclass(frozen=True, slots=True)
class Jitter:
    """Darknet's placement (data.c, load_data_detection): proportions and scale drawn, then the
    place on the canvas.
    """

    aspect: float = 0.2  # each side by up to this fraction
    scale: tuple[float, float] = (0.25, 2.0)  # of the size the fit gives

    def __post_init__(self) -> None:
        """Refuse impossible values; ValueError begins with the field's name."""
        if not 0 <= self.aspect < 1:
            raise ValueError(f"aspect: must be in 0..1, found {self.aspect}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale: must be 0 < low <= high, found {self.scale}")


@dataclass(frozen=True, slots=True)
class SSDCrop:
    """A random patch that overlaps some object by a drawn IoU (Liu et al.

    2016, arXiv:1512.02325, section 2.2).
    """

    overlaps: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
    whole: float = 0.15  # chance of the whole image
    smallest: float = 0.3  # side of the patch, of the image's
    most_aspect: float = 2.0
    tries: int = 40

    def __post_init__(self) -> None:
        """Refuse impossible values; ValueError begins with the field's name."""
        if not 0 < self.smallest <= 1:
            raise ValueError(f"smallest: must be in 0..1, found {self.smallest}")
        if self.most_aspect < 1:
            raise ValueError(f"most_aspect: must be >= 1, found {self.most_aspect}")
        if not self.overlaps:
            raise ValueError("overlaps: must hold at least one IoU, found none")


@dataclass(frozen=True, slots=True)
class Transforms:
    """All that is done to an image before the network; `train()` and `test()` make pipelines."""

    fit: Stretch | Letterbox | ShortEdge
    crop: SSDCrop | None = None
    jitter: Jitter | None = None
    colour: Colour | None = None
    flip: float = 0.5  # chance of a left-right mirror
    vertical_flip: float = 0.0  # for images without an up, such as cells
    min_box_px: float = 1.0  # shorter side in the network input; smaller boxes are left out
    sizes: tuple[tuple[int, int], ...] = ()  # multi-scale: inputs (height, width) to draw from
    every: int = 10  # batches between two draws of a size
    last_size: tuple[int, int] | None = None  # (height, width) of the training's last batches
    last_batches: int = 0  # how many those are; Darknet: its last 200 updates at 608 x 608

    def __post_init__(self) -> None:
        """Refuse impossible values; ValueError begins with the field's name."""
        for name in ("flip", "vertical_flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: must be in 0..1, found {getattr(self, name)}")
        if self.min_box_px < 0:
            raise ValueError(f"min_box_px: must be >= 0, found {self.min_box_px}")
        _positive(self, "every")
        if self.last_batches < 0:
            raise ValueError(f"last_batches: must be >= 0, found {self.last_batches}")
        if (self.last_size is None) != (self.last_batches == 0):
            raise ValueError(
                "last_size: goes with last_batches, and either without the other does nothing; "
                f"found {self.last_size} for the last {self.last_batches} batches"
            )

    def train(self, batches: int | None = None, *, keep: bool = False) -> "Pipeline":
        """With everything random; `batches` is the length of the training, for `last_size`.

        None: without an end, and so without last batches. `keep`: see `Pipeline`; where images come
        out differently at each visit, nothing is kept.
        """
        moving = self.crop or self.jitter or self.sizes or self.last_size
        return Pipeline(self, random=True, batches=batches, keep=keep and not moving)

    def test(self) -> "Pipeline":
        """The fit alone."""
        return Pipeline(self, random=False)


class Pipeline:
    """(sample, seed) to network input; a pure function, so workers and resumed runs agree.

    `keep`: each image is resized once and kept at the size of the input, which no draw may change;
    such a pipeline is for the images of one data set.
    """

    def __init__(
        self,
        settings: Transforms,
        *,
        random: bool,
        batches: int | None = None,
        keep: bool = False,
    ) -> None:
        self.settings = settings
        self.random = random
        self._kept: dict[int, Tensor] | None = {} if keep else None
        self.last_from = None if batches is None else batches - settings.last_batches

    def __call__(self, sample: Sample, seed: int = 0, size: Size | None = None) -> Sample:
        """The sample in the network's frame.

        `size` overrides the fit's (height, width) for multi-scale.
        """
        chance = random.Random(seed) if self.random else None
        step = plan_of(self.settings, sample, chance, size)
        image_CHW = mirror(self._drawn(sample, step), step)
        if chance and self.settings.colour:
            image_CHW = distort(image_CHW, *self.settings.colour.draw(chance))
        placement = step.placement
        boxes_N4, kept_N = _visible(sample, placement, step.canvas_hw, self.settings.min_box_px)
        return Sample(
            image_CHW=image_CHW,
            boxes_N4=torch.from_numpy(boxes_N4[kept_N]),
            labels_N=torch.from_numpy(sample.labels_N.numpy()[kept_N]),
            ignore_N=torch.from_numpy(sample.ignore_N.numpy()[kept_N]),
            image_id=sample.image_id,
            index=sample.index,
            original_hw=sample.original_hw,
            placement=compose(sample.placement, placement),
            by_pillow=sample.by_pillow,
        )

    def _drawn(self, sample: Sample, step: Plan) -> Tensor:
        if self._kept is None:
            return draw(sample.image_CHW, step, FILL)
        if sample.index not in self._kept:
            self._kept[sample.index] = draw(sample.image_CHW, step, FILL)
        return self._kept[sample.index]

    def size_of_batch(self, batch: int, seed: int) -> Size | None:
        """The input size that multi-scale training gives to the k-th batch, from 0: a function of
        (seed, batch, length of the training), so that a resumed run draws the same sizes.

        None where it is not asked for.
        """
        if not self.random:
            return None
        last = self.settings.last_size
        if last is not None and self.last_from is not None and batch >= self.last_from:
            return last
        sizes = self.settings.sizes
        if not sizes:
            return None
        return sizes[mix(seed, batch // self.settings.every) % len(sizes)]


def mix(*numbers: int) -> int:
    """64 well-mixed bits of whole numbers: every random draw is seeded by (seed, sample index,
    visit) through it.
    """
    text = ",".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def plan_of(
    settings: Transforms, sample: Sample, chance: random.Random | None, size: Size | None
) -> Plan:
    """What is cropped, resized, placed and mirrored; `chance` None: the fit alone."""
    image_hw = (sample.image_CHW.shape[1], sample.image_CHW.shape[2])
    view: Rectangle = (0.0, 0.0, float(image_hw[1]), float(image_hw[0]))
    if chance and settings.crop:
        view = _crop(settings.crop, sample.boxes_N4[~sample.ignore_N], image_hw, chance)
    height, width = max(1, round(view[3] - view[1])), max(1, round(view[2] - view[0]))
    canvas_hw, extent_hw = settings.fit.extent((height, width), size)
    place = (0.5, 0.5)
    if chance and settings.jitter:
        extent_hw, place = _jitter(settings.jitter, canvas_hw, extent_hw, chance)
    view = _around(view, canvas_hw, extent_hw, place)
    mirrored_x = bool(chance) and _happens(chance, settings.flip)
    mirrored_y = bool(chance) and _happens(chance, settings.vertical_flip)
    return plan(view, canvas_hw, image_hw, mirrored_x=mirrored_x, mirrored_y=mirrored_y)


def _happens(chance: random.Random | None, probability: float) -> bool:
    return chance is not None and chance.random() < probability


def _around(
    view: Rectangle, canvas_hw: Size, extent_hw: tuple[float, float], place: tuple[float, float]
) -> Rectangle:
    """The source rectangle that fills the canvas when `view` takes `extent_hw` of it.

    Place 0: top left, 1: bottom right.
    """
    edges: list[float] = []
    for axis in (0, 1):
        start, stop = view[axis], view[axis + 2]
        length, extent = canvas_hw[1 - axis], extent_hw[1 - axis]
        unit = (stop - start) / extent  # source pixels a canvas pixel
        low = start - (length - extent) * place[1 - axis] * unit
        edges += [low, low + length * unit]
    return edges[0], edges[2], edges[1], edges[3]


def _jitter(
    jitter: Jitter, canvas_hw: Size, extent_hw: tuple[float, float], chance: random.Random
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Jittered extent and place: sides redrawn, fitted again, scaled, put anywhere."""
    height = extent_hw[0] * chance.uniform(1 - jitter.aspect, 1 + jitter.aspect)
    width = extent_hw[1] * chance.uniform(1 - jitter.aspect, 1 + jitter.aspect)
    scale = chance.uniform(*jitter.scale) * min(canvas_hw[0] / height, canvas_hw[1] / width)
    return (height * scale, width * scale), (chance.random(), chance.random())


def _crop(crop: SSDCrop, boxes_N4: Tensor, image_hw: Size, chance: random.Random) -> Rectangle:
    height, width = image_hw
    whole = (0.0, 0.0, float(width), float(height))
    if not len(boxes_N4) or chance.random() < crop.whole:
        return whole
    least = chance.choice(crop.overlaps)
    for _ in range(crop.tries):
        w = width * chance.uniform(crop.smallest, 1)
        h = height * chance.uniform(crop.smallest, 1)
        left, top = (width - w) * chance.random(), (height - h) * chance.random()
        if not 1 / crop.most_aspect <= w / h <= crop.most_aspect:
            continue
        patch = (left, top, left + w, top + h)
        if _good(patch, boxes_N4, least):
            return patch
    return whole


def _good(patch: Rectangle, boxes_N4: Tensor, least: float) -> bool:
    """Some box's centre lies in the patch, and some box overlaps it by `least`."""
    corners = torch.tensor(patch)
    centres = (boxes_N4[:, :2] + boxes_N4[:, 2:]) / 2
    if not bool(((centres > corners[:2]) & (centres < corners[2:])).all(1).any()):
        return False
    sides = torch.minimum(boxes_N4[:, 2:], corners[2:]) - torch.maximum(
        boxes_N4[:, :2], corners[:2]
    )
    shared = sides.clamp(min=0).prod(1)
    areas = (boxes_N4[:, 2:] - boxes_N4[:, :2]).prod(1)
    patch_area = (patch[2] - patch[0]) * (patch[3] - patch[1])
    return bool((shared / (areas + patch_area - shared) >= least).any())


def _visible(
    sample: Sample, placement: Placement, canvas_hw: Size, min_box_px: float
) -> tuple[Array, Array]:
    """Boxes on the canvas, clipped, and which stay: centre in sight (any part of an ignored one),
    and large enough.
    """
    boxes_N4 = placed(sample.boxes_N4.numpy(), placement)
    height, width = canvas_hw
    limit = np.array([width, height] * 2, dtype=boxes_N4.dtype)
    clipped_N4 = np.minimum(np.maximum(boxes_N4, 0), limit)
    centres = (boxes_N4[:, :2] + boxes_N4[:, 2:]) / 2
    inside_N = ((centres >= 0) & (centres <= limit[:2])).all(1) | sample.ignore_N.numpy()
    sides = clipped_N4[:, 2:] - clipped_N4[:, :2]
    return clipped_N4, inside_N & ((sides > 0) & (sides >= min_box_px)).all(1)


def _positive(settings: object, *names: str) -> None:
    for name in names:
        if getattr(settings, name) < 1:
            raise ValueError(f"{name}: must be >= 1, found {getattr(settings, name)}")
