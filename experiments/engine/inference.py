"""A detector over a loader: detections in pixels of the original images."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from datasets.placement import to_original
from datasets.sample import Batch
from detectors.base import AnyDetector, Detections
from experiments.engine.arithmetic import autocast, to_device
from experiments.engine.frames import Frame, labels_of, output_of
from experiments.record.parts import Arithmetic

FedT = TypeVar("FedT", bound=Batch | Frame)


def detect_batches(
    detector: AnyDetector, batches: Iterable[Batch | Frame], arithmetic: Arithmetic
) -> Iterator[tuple[str, Detections]]:
    """Yield (image id, detections) for every image of `batches`, in order.

    In `arithmetic`, but for its `compile`: a detector is run as compiled as it is handed over.
    """
    detector.eval()
    device = next(detector.parameters()).device

    @torch.inference_mode()
    def find(fed: Batch | Frame) -> list[Detections]:
        if isinstance(fed, Batch):
            fed = to_device(fed, device, arithmetic)
        with autocast(arithmetic, device):
            output = output_of(detector, fed)
        return detector.decode(output, labels_of(fed).content_B2)

    return found_by(find, batches)


@torch.inference_mode()
def found_by(
    find: Callable[[FedT], list[Detections]], batches: Iterable[FedT]
) -> Iterator[tuple[str, Detections]]:
    """Yield (image id, detections in the original image) of whatever finds them in the input."""
    for fed in batches:
        batch = labels_of(fed)
        for row, detections in enumerate(find(fed)):
            boxes_D4 = to_original(
                detections.boxes_D4.float().cpu(), batch.placements[row], batch.original_hw[row]
            )
            yield (
                batch.image_ids[row],
                Detections(boxes_D4, detections.scores_D.float().cpu(), detections.labels_D.cpu()),
            )
