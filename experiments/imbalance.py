"""How rare foreground is: the anchors that answer for an object, of all that a detector offers."""

from dataclasses import dataclass

import torch

from datasets.dataset import Dataset
from experiments.config.run import RunConfig
from experiments.probes.cost import without_weights
from experiments.run.assembly import batches_from, build_detector


@dataclass(frozen=True, slots=True)
class Imbalance:
    """Counts over `images` training images as the recipe feeds them, augmented."""

    images: int
    anchors: int
    foreground: int

    @property
    def one_in(self) -> float | None:
        """One anchor in how many is foreground; None where none is."""
        return self.anchors / self.foreground if self.foreground else None


def count_foreground(config: RunConfig, dataset: Dataset, images: int) -> Imbalance:
    """Count over the first training batches, at least `images` images; weights don't matter."""
    detector = build_detector(without_weights(config), dataset.classes)
    batches = iter(batches_from(config, dataset, detector, 0))
    seen = anchors = foreground = 0
    with torch.no_grad():
        while seen < images:
            batch = next(batches)
            output = detector(detector.normalise(batch.images_BCHW, batch.content_B2))
            terms = detector.loss(output, batch, seen)
            seen += len(batch.images_BCHW)
            anchors += len(batch.images_BCHW) * output.anchors
            foreground += int(terms.foreground)
    return Imbalance(seen, anchors, foreground)
