"""A detector over a loader: detections in pixels of the original images."""

from collections.abc import Iterable, Iterator

import torch

from datasets.placement import to_original
from datasets.sample import Batch
from detectors.base import AnyDetector, Detections
from experiments.engine.step_model import to_device


@torch.inference_mode()
def detect_batches(
    detector: AnyDetector, batches: Iterable[Batch], *, bfloat16: bool, channels_last: bool
) -> Iterator[tuple[str, Detections]]:
    """Yield (image id, detections) for every image of `batches`, in order."""
    detector.eval()
    device = next(detector.parameters()).device
    for batch in batches:
        moved = to_device(batch, device, channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            output = detector(detector.normalise(moved.images_BCHW, moved.content_B2))
        found = detector.decode(output, moved.content_B2)
        for row, detections in enumerate(found):
            boxes_D4 = to_original(
                detections.boxes_D4.float().cpu(), batch.placements[row], batch.original_hw[row]
            )
            yield (
                batch.image_ids[row],
                Detections(boxes_D4, detections.scores_D.float().cpu(), detections.labels_D.cpu()),
            )
