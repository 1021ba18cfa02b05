"""A detector over a loader: detections in pixels of the original images."""

from collections.abc import Callable, Iterable, Iterator

import torch

from datasets.placement import to_original
from datasets.sample import Batch
from detectors.base import AnyDetector, Detections
from experiments.engine.arithmetic import autocast, to_device
from experiments.record.parts import Arithmetic


def detect_batches(
    detector: AnyDetector, batches: Iterable[Batch], arithmetic: Arithmetic
) -> Iterator[tuple[str, Detections]]:
    """Yield (image id, detections) for every image of `batches`, in order.

    In `arithmetic`, but for its `compile`: a detector is run as compiled as it is handed over.
    """
    detector.eval()
    device = next(detector.parameters()).device

    @torch.inference_mode()
    def find(batch: Batch) -> list[Detections]:
        moved = to_device(batch, device, arithmetic)
        with autocast(arithmetic, device):
            output = detector(detector.normalise(moved.images_BCHW, moved.content_B2))
        return detector.decode(output, moved.content_B2)

    return found_by(find, batches)


@torch.inference_mode()
def found_by(
    find: Callable[[Batch], list[Detections]], batches: Iterable[Batch]
) -> Iterator[tuple[str, Detections]]:
    """Yield (image id, detections in the original image) of whatever finds them in the input."""
    for batch in batches:
        for row, detections in enumerate(find(batch)):
            boxes_D4 = to_original(
                detections.boxes_D4.float().cpu(), batch.placements[row], batch.original_hw[row]
            )
            yield (
                batch.image_ids[row],
                Detections(boxes_D4, detections.scores_D.float().cpu(), detections.labels_D.cpu()),
            )
