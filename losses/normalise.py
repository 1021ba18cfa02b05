"""What a sum of losses is divided by. Shapes: B images of one rank's batch.

Every normaliser maps the positives of each image, foreground_B, to divisor_B, and a term is
`total = (loss_B / divisor_B).sum()` with loss_B the plain sum over the anchors of each image.
alpha, gamma and the learning rate tuned under one normaliser do not carry over to another. Divisors
carry no gradient.

All but `EMA` are values that are called; `EMA` remembers, so `normaliser_of` builds a module of it.

With several ranks, whose gradients are averaged, the step of every normaliser but `batch` equals
that of one process with all their images: `batch` means a rank's own, whatever the others hold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, distributed, nn


def over_ranks(total: Tensor) -> tuple[Tensor, int]:
    """The sum of `total` over all ranks, and how many they are; itself and 1 in a single process.

    `total` is overwritten.

    >>> over_ranks(torch.tensor(5.0))
    (tensor(5.), 1)
    """
    ranks = rank_count()
    if ranks > 1:
        distributed.all_reduce(total)
    return total, ranks


def rank_count() -> int:
    """How many processes train together.

    >>> rank_count()
    1
    """
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1


@dataclass(frozen=True, slots=True)
class Image:
    """Each image by its own positives, then the mean over images, as torchvision's RetinaNet does.

    >>> Image()(torch.tensor([4.0, 0.0]))
    tensor([8., 2.])
    """

    def __call__(self, foreground_B: Tensor) -> Tensor:
        """Positives [B] to divisors [B]."""
        return foreground_B.detach().clamp(min=1) * len(foreground_B)


@dataclass(frozen=True, slots=True)
class Batch:
    """All images of the rank's batch by their positives together, as mmdet's RetinaNet does.

    >>> Batch()(torch.tensor([4.0, 0.0]))
    tensor([4., 4.])
    """

    def __call__(self, foreground_B: Tensor) -> Tensor:
        """Positives [B] to divisors [B], all equal."""
        return foreground_B.detach().sum().clamp(min=1).expand(len(foreground_B))


@dataclass(frozen=True, slots=True)
class AllReduced:
    """The positives of all ranks together, over the number of ranks because their gradients are
    averaged.

    The step then equals that of one process with the whole batch, which `Batch` does only if ranks
    hold equally many.

    >>> AllReduced()(torch.tensor([4.0, 0.0]))
    tensor([4., 4.])
    """

    def __call__(self, foreground_B: Tensor) -> Tensor:
        """Positives [B] to divisors [B], all equal."""
        total, ranks = over_ranks(foreground_B.detach().sum())
        return (total.clamp(min=1) / ranks).expand(len(foreground_B))


@dataclass(frozen=True, slots=True)
class Fixed:
    """A constant, for each image of the batch or for the batch of all ranks as a whole.

    The default is the mean over images of the plain sum, as darknet's YOLOv2 has it.

    >>> Fixed()(torch.tensor([4.0, 0.0]))
    tensor([2., 2.])
    """

    value: float = 1.0
    per: Literal["image", "batch"] = "image"

    def __post_init__(self) -> None:
        if not 0 < self.value < float("inf"):
            raise ValueError(f"value: must be > 0, found {self.value}")

    def __call__(self, foreground_B: Tensor) -> Tensor:
        """Positives [B] to divisors [B], whatever the positives are."""
        parts = len(foreground_B) if self.per == "image" else 1 / rank_count()
        return torch.full_like(foreground_B, self.value * parts).detach()


@dataclass(frozen=True, slots=True)
class EMA:
    """The moving average of the positives per batch, as Detectron2's RetinaNet does: steady where
    objects are few. Here it is one average of all ranks' positives together, there one a rank.

    >>> MovingAverage(EMA(start=100.0, momentum=0.9))(torch.tensor([4.0, 6.0]))
    tensor([91., 91.])
    """

    start: float = 100.0
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if not self.start > 0:
            raise ValueError(f"start: must be > 0, found {self.start}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum: must be in [0, 1), found {self.momentum}")


class MovingAverage(nn.Module):
    """See `EMA`. The average is a buffer of the state dict, so a resumed run goes on with it."""

    average: Tensor

    def __init__(self, settings: EMA) -> None:
        super().__init__()
        self.momentum = settings.momentum
        self.register_buffer("average", torch.tensor(float(settings.start)))

    def forward(self, foreground_B: Tensor) -> Tensor:
        """Positives [B] to divisors [B], all equal; the average moves in training mode only."""
        if self.training:
            total, _ = over_ranks(foreground_B.detach().sum())
            total = total.clamp(min=1).to(self.average.dtype)
            self.average = self.momentum * self.average + (1 - self.momentum) * total
        average = self.average / rank_count()
        return average.to(foreground_B.dtype).expand(len(foreground_B))


Normaliser = Image | Batch | AllReduced | EMA | Fixed


def normaliser_of(settings: Normaliser) -> Callable[[Tensor], Tensor]:
    """What maps positives [B] to divisors [B]: the settings themselves, or the module of an EMA.

    >>> normaliser_of(Batch())
    Batch()
    """
    return MovingAverage(settings) if isinstance(settings, EMA) else settings
