"""Online hard example mining on cross-entropy (Shrivastava et al. 2016, arXiv:1604.03540).

Shapes: A anchors, K classes, `..` leading axes. The A anchors of one leading index are one pool:
  logits [B, A, K] are
mined per image, [A, K] as a whole. The paper's table 1d also suppresses overlapping anchors before
it selects; a loss sees no boxes, so that step is left out here.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from losses.focal import FocalLoss


@dataclass(frozen=True, slots=True)
class OHEMLoss:
    """Cross-entropy of the hardest anchors; 0 elsewhere. See `OHEMCrossEntropy`."""

    keep: int | None
    negatives_per_positive: float | None
    fused: bool = False

    takes_bool: ClassVar[bool] = True

    def sigmoid(self, logits_K: Tensor, targets_K: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Logits and targets [.., A, K] to a loss [.., A, K]; an anchor is positive if any target
        is over 1/2.
        """
        loss_K = FocalLoss(None, 0.0, fused=self.fused).sigmoid(logits_K, targets_K, ignore)
        skip = _skipped(ignore, loss_K)
        kept = self._kept(loss_K.detach().sum(-1), (targets_K > 0.5).any(-1), skip)
        return loss_K * kept[..., None]

    def softmax(self, logits_K: Tensor, labels: Tensor, ignore: Tensor | None = None) -> Tensor:
        """Logits [.., A, K] and labels [.., A] to a loss [.., A]. No label is a background, so
        `keep` must be set.
        """
        if self.keep is None or self.negatives_per_positive is not None:
            raise ValueError(
                "negatives_per_positive: the softmax form has no negatives; set keep alone"
            )
        loss = FocalLoss(None, 0.0, fused=self.fused).softmax(logits_K, labels, ignore)
        skip = torch.zeros_like(labels, dtype=torch.bool) if ignore is None else ignore
        return loss * _hardest(loss.detach(), ~skip, torch.full_like(labels[..., :1], self.keep))

    def _kept(self, loss_A: Tensor, positive_A: Tensor, skip_A: Tensor) -> Tensor:
        """Which anchors [.., A] are trained on."""
        if self.negatives_per_positive is None:
            assert self.keep is not None
            return _hardest(loss_A, ~skip_A, torch.full_like(loss_A[..., :1], self.keep).long())
        positive_A = positive_A & ~skip_A
        positives = positive_A.sum(-1, keepdim=True)
        if self.keep is not None:
            most = int(self.keep / (1 + self.negatives_per_positive))
            positives = positives.clamp(max=max(1, most))
        negatives = (positives.clamp(min=1) * self.negatives_per_positive).long()
        if self.keep is not None:
            negatives = torch.minimum(negatives, self.keep - positives)
        hard_positive_A = _hardest(loss_A, positive_A, positives)
        return hard_positive_A | _hardest(loss_A, ~positive_A & ~skip_A, negatives)


def _skipped(ignore: Tensor | None, loss_K: Tensor) -> Tensor:
    """The anchors [..] that must not be selected: those ignored altogether."""
    if ignore is None:
        return torch.zeros_like(loss_K[..., 0], dtype=torch.bool)
    return ignore.all(-1) if ignore.shape == loss_K.shape else ignore


def _hardest(loss_A: Tensor, candidates_A: Tensor, count_1: Tensor) -> Tensor:
    """The `count` candidates of greatest loss in each pool, as a mask [.., A]; of equal losses the
    first ones.
    """
    ranked_A = loss_A.masked_fill(~candidates_A, -1.0).argsort(dim=-1, descending=True, stable=True)
    place_A = torch.empty_like(ranked_A)
    place_A.scatter_(
        -1, ranked_A, torch.arange(loss_A.shape[-1], device=loss_A.device).expand_as(ranked_A)
    )
    return candidates_A & (place_A < count_1)


@dataclass(frozen=True, slots=True)
class OHEMCrossEntropy:
    """Settings of OHEM cross-entropy.

    keep alone: the `keep` hardest anchors of each pool, of either sign ("OHEM k" of table 1d).
    negatives_per_positive alone: all positives and the hardest negatives, so many for each
      positive, and for one where there is none (as SSD mines).
    both: hardest positives up to keep / (1 + ratio), and so many negatives for each ("OHEM 1:3" of
      table 1d).

    >>> logits = torch.tensor([[3.0], [1.0], [-3.0]])
    >>> OHEMCrossEntropy(keep=1).at(0.0).sigmoid(logits, torch.zeros(3, 1)).squeeze(1)
    tensor([3.0486, 0.0000, 0.0000])
    """

    keep: int | None = 128
    negatives_per_positive: float | None = None
    fused: bool = False

    def __post_init__(self) -> None:
        if self.keep is None and self.negatives_per_positive is None:
            raise ValueError("keep: must be set where negatives_per_positive is not")
        if self.keep is not None and self.keep < 1:
            raise ValueError(f"keep: must be >= 1, found {self.keep}")
        if self.negatives_per_positive is not None and not self.negatives_per_positive > 0:
            raise ValueError(
                f"negatives_per_positive: must be > 0, found {self.negatives_per_positive}"
            )

    def at(self, progress: float) -> OHEMLoss:
        """The loss in force at `progress` in [0, 1]: the same throughout."""
        return OHEMLoss(self.keep, self.negatives_per_positive, self.fused)

    def values(self, progress: float) -> dict[str, float]:
        """Nothing varies."""
        return {}
