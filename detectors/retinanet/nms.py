"""From dense scores to a short list. Shapes: A anchors of one level or image, K classes, D
detections.
"""

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torchvision.ops import batched_nms

from detectors.base import Detections

Activation = Literal["sigmoid", "softmax"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Detections kept: score above `score`, the best `per_level` of each level, then NMS per class
    over all levels.
    """

    score: float = 0.05
    per_level: int = 1000
    nms_iou: float = 0.5
    most: int = 100

    def __post_init__(self) -> None:
        if not 0 <= self.score < 1:
            raise ValueError(f"score: must lie in [0, 1), found {self.score}")
        if not 0 < self.nms_iou <= 1:
            raise ValueError(f"nms_iou: must lie in (0, 1], found {self.nms_iou}")
        for name in ("per_level", "most"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be >= 1, found {getattr(self, name)}")


def candidates(
    logits_AK: Tensor, settings: Selection, activation: Activation
) -> tuple[Tensor, Tensor, Tensor]:
    """The best (anchor, class) pairs of a level: scores, anchor indices and labels, best first,
    `per_level` at most.

    With softmax the last of the K columns is background and never a detection.
    """
    above = _sigmoid_above if activation == "sigmoid" else _softmax_above
    pairs, scores = above(logits_AK, settings.score)
    scores, order = scores.topk(min(settings.per_level, len(pairs)))
    pairs = pairs[order]
    classes = logits_AK.shape[1] - (activation == "softmax")
    return scores, pairs.div(classes, rounding_mode="floor"), pairs % classes


def suppress(
    boxes_D4: Tensor, scores_D: Tensor, labels_D: Tensor, settings: Selection
) -> Detections:
    """Greedy NMS within each class; at most `most` detections, best first."""
    kept = batched_nms(boxes_D4, scores_D, labels_D, settings.nms_iou)[: settings.most]
    return Detections(boxes_D4[kept], scores_D[kept], labels_D[kept])


def _sigmoid_above(logits_AK: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Flat indices and scores above `probability`; the sigmoid is taken only for logits near or
    above the threshold.
    """
    flat = logits_AK.flatten()
    lowest = math.log(probability / (1 - probability)) - 1e-3 if probability else -math.inf
    near = (flat > lowest).nonzero().flatten()
    scores = flat[near].sigmoid()
    passed = scores > probability
    return near[passed], scores[passed]


def _softmax_above(logits_AK: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    scores = logits_AK.softmax(dim=-1)[:, :-1].flatten()
    passed = (scores > probability).nonzero().flatten()
    return passed, scores[passed]
