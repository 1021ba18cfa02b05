"""What is in a data set, in numbers: counts by class, sizes of boxes and images."""

from dataclasses import dataclass

import numpy as np

from datasets.dataset import Dataset

# COCO's borders of small, medium and large, square pixels of the object's area.
SMALL, LARGE = 32**2, 96**2
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class ClassStats:
    """One class of one split."""

    name: str
    images: int  # with at least one object of it
    objects: int  # not ignored
    ignored: int  # difficult or crowd


@dataclass(frozen=True, slots=True)
class Stats:
    """One split."""

    images: int
    empty_images: int  # without any box
    objects: int
    ignored: int
    small: int  # of `objects`, by area as COCO divides them
    medium: int
    large: int
    sides: tuple[float, ...]  # quantiles of sqrt(width x height) of boxes, pixels, at QUANTILES
    aspects: tuple[float, ...]  # quantiles of width / height of boxes
    heights: tuple[int, int]  # smallest and largest image, pixels
    widths: tuple[int, int]
    per_class: tuple[ClassStats, ...]
    unknown: dict[str, int]
    problems: int

    @property
    def imbalance(self) -> float:
        """Objects of the most frequent class for one of the rarest that occurs."""
        counts = [row.objects for row in self.per_class if row.objects]
        return max(counts) / min(counts) if counts else 0.0


def describe(data: Dataset) -> Stats:
    """Count one split; reads labels only."""
    columns = data.columns
    boxes_N4, label_N = columns["boxes"].astype(np.float64), columns["label"]
    ignored_N = columns["difficult"].astype(bool) | columns["crowd"].astype(bool)
    counts_I = np.diff(columns["first"])
    image_N = np.repeat(np.arange(len(data)), counts_I)
    sides_N2 = np.maximum(boxes_N4[:, 2:] - boxes_N4[:, :2], 1e-6)
    area_N = columns["area"][~ignored_N]
    sizes_I2 = data.sizes_I2
    return Stats(
        images=len(data),
        empty_images=int((counts_I == 0).sum()),
        objects=int((~ignored_N).sum()),
        ignored=int(ignored_N.sum()),
        small=int((area_N < SMALL).sum()),
        medium=int(((area_N >= SMALL) & (area_N < LARGE)).sum()),
        large=int((area_N >= LARGE).sum()),
        sides=_quantiles(np.sqrt(sides_N2.prod(1))),
        aspects=_quantiles(sides_N2[:, 0] / sides_N2[:, 1]),
        heights=(int(sizes_I2[:, 0].min()), int(sizes_I2[:, 0].max())),
        widths=(int(sizes_I2[:, 1].min()), int(sizes_I2[:, 1].max())),
        per_class=tuple(
            ClassStats(
                name,
                len(np.unique(image_N[label_N == label])),
                int(((label_N == label) & ~ignored_N).sum()),
                int(((label_N == label) & ignored_N).sum()),
            )
            for label, name in enumerate(data.classes)
        ),
        unknown=data.unknown,
        problems=len(data.problems),
    )


def _quantiles(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, ...]:
    if not len(values):
        return ()
    return tuple(float(value) for value in np.quantile(values, QUANTILES))
