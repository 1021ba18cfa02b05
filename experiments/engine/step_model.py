"""A detector in the form that mmengine's Runner drives: a batch in, named losses out."""

import dataclasses
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from datasets.sample import Batch
from detectors.base import AnyDetector
from losses.base import LossTerms


def to_device(batch: Batch, device: torch.device, channels_last: bool) -> Batch:
    """The batch with its tensors on `device`, images in the memory format the network runs in."""
    moved: dict[str, Any] = {
        field.name: value.to(device, non_blocking=True)
        for field in dataclasses.fields(batch)
        if isinstance(value := getattr(batch, field.name), Tensor)
    }
    layout = torch.channels_last if channels_last else torch.contiguous_format
    moved["images_BCHW"] = moved["images_BCHW"].contiguous(memory_format=layout)
    return dataclasses.replace(batch, **moved)


class _ToDevice(nn.Module):
    """Takes the place of mmengine's data preprocessor, which casts only its own containers."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.register_buffer("where", torch.zeros(0), persistent=False)

    where: Tensor

    def forward(self, data: dict[str, object], training: bool = False) -> dict[str, object]:
        batch = data["batch"]
        assert isinstance(batch, Batch)
        return data | {"batch": to_device(batch, self.where.device, self.channels_last)}


class StepModel(BaseModel):
    """Forward and loss of one batch; keeps the last batch's terms for the log."""

    def __init__(self, detector: AnyDetector, channels_last: bool) -> None:
        super().__init__(data_preprocessor=_ToDevice(channels_last))
        self.detector = detector

    def forward(self, batch: Batch, images_seen: int, mode: str = "loss") -> dict[str, Tensor]:
        """Named terms of the loss; mmengine sums those whose name holds `loss`."""
        if mode != "loss":
            raise ValueError(f"mode: only 'loss' is run through the Runner, found {mode!r}")
        images_BCHW = self.detector.normalise(batch.images_BCHW, batch.content_B2)
        terms: LossTerms = self.detector.loss(self.detector(images_BCHW), batch, images_seen)
        named = {"loss_classification": terms.classification, "loss_box": terms.box}
        if terms.objectness is not None:
            named["loss_objectness"] = terms.objectness
        return named | {"foreground": terms.foreground.float()}
