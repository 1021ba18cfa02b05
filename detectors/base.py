"""What a detector offers. Shapes: B images, M most boxes of a batch, D detections of one image, K
classes.

Boxes are float32 xyxy in pixels of the network input: x right, y down, 0-based, x2 and y2
exclusive.
"""

from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from losses.base import ClassificationLoss, LossTerms

RGB = tuple[float, float, float]


class Truth(Protocol):
    """The labels of a batch, padded to M boxes an image; a `datasets.sample.Batch` is one."""

    @property
    def boxes_BM4(self) -> Tensor: ...  # noqa: D102
    @property
    def labels_BM(self) -> Tensor: ...  # noqa: D102
    @property
    def ignore_BM(self) -> Tensor: ...  # noqa: D102
    @property
    def valid_BM(self) -> Tensor: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one image, best score first."""

    boxes_D4: Tensor
    scores_D: Tensor
    labels_D: Tensor  # int64, 0..K-1


class Backbone(nn.Module, ABC):
    """Image to feature maps, fine to coarse, with the pixel statistics its weights expect."""

    channels: tuple[int, ...]  # of each returned map
    strides: tuple[int, ...]  # input pixels per cell of each returned map
    pixel_mean: RGB  # of values in [0, 1]
    pixel_std: RGB

    @abstractmethod
    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Normalised float images to feature maps."""

    def fixed(self) -> tuple[nn.Module, ...]:
        """The modules at its front that training never changes; none where the first one trains."""
        return ()

    def begin(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """What the fixed modules make of normalised images: all that `finish` needs."""
        return (images_BCHW,)

    def finish(self, begun: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """From what `begin` gave to the feature maps: together, they are `forward`."""
        maps: tuple[Tensor, ...] = self(begun[0])
        return maps


OutputT = TypeVar("OutputT")


class Detector(nn.Module, ABC, Generic[OutputT]):
    """Base of both detectors: `forward` / `loss` / `decode`.

    `classification_loss` is the loss in force, `images_seen` the training images before the next
    batch: the training engine moves both on.
    The network is fed uint8 RGB images and normalises them itself, so a detector carries its own
    statistics.
    """

    classification_loss: ClassificationLoss
    images_seen = 0  # YOLOv2 alone asks, for the start of training
    size_multiple: int  # height and width of the input must be multiples of this
    backbone: Backbone

    pixel_mean: Tensor  # buffers [3, 1, 1]
    pixel_std: Tensor

    def set_pixel_statistics(self, mean: RGB, std: RGB) -> None:
        """Keep the backbone's RGB statistics (of values in [0, 1]) as buffers, outside the state
        dict.
        """
        self.register_buffer("pixel_mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def normalise(self, images_BCHW: Tensor, content_B2: Tensor | None = None) -> Tensor:
        """uint8 RGB to float; pixels outside `content_B2` (height, width) become 0, the mean."""
        mean, std = self.pixel_mean, self.pixel_std
        images_BCHW = (images_BCHW.to(mean.dtype) * (1 / (255 * std))) - mean / std
        if content_B2 is None:
            return images_BCHW
        height, width = images_BCHW.shape[-2:]
        device = images_BCHW.device
        rows = torch.arange(height, device=device)[None, :, None] < content_B2[:, 0, None, None]
        columns = torch.arange(width, device=device)[None, None, :] < content_B2[:, 1, None, None]
        return images_BCHW * (rows & columns)[:, None]

    def forward(self, images_BCHW: Tensor) -> OutputT:
        """Normalised float images, sides multiples of `size_multiple`, to the dense output."""
        height, width = images_BCHW.shape[-2:]
        return self.from_maps(self.backbone(images_BCHW), (height, width))

    @abstractmethod
    def from_maps(self, maps: tuple[Tensor, ...], input_hw: tuple[int, int]) -> OutputT:
        """The backbone's maps of an input of (height, width) pixels to the dense output."""

    @abstractmethod
    def loss(self, output: OutputT, truth: Truth) -> LossTerms:
        """Dense output and truth to normalised terms."""

    @abstractmethod
    def decode(self, output: OutputT, content_B2: Tensor) -> list[Detections]:
        """Dense output to detections after NMS, clipped to each image's (height, width)."""

    def fuse(self) -> "Detector[OutputT]":
        """A copy for inference; detectors whose norms can be folded do so."""
        return deepcopy(self).eval().requires_grad_(False)


AnyDetector: TypeAlias = Detector[Any]


class BackboneSettings(Protocol):
    """A row of `detectors.BACKBONES`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def weights(self) -> str | None: ...  # noqa: D102


class DetectorSettings(Protocol):
    """A row of `detectors.DETECTORS`: frozen settings that build a detector."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def backbone(self) -> BackboneSettings: ...  # noqa: D102
    @property
    def weights(self) -> str | None: ...  # noqa: D102

    def build(self, classes: int) -> AnyDetector:
        """The detector for so many foreground classes, with the weights that settings name."""
        ...
