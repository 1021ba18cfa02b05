"""Losses: tensors in, tensors out; torch only. The tables name what a config may choose.

LOSSES: `loss: {name: focal, gamma: 2}`, settings that are each a `losses.base.ScheduledLoss`.
NORMALISERS: `{name: image}`, settings that `losses.normalise.normaliser_of` makes callable.
SCHEDULES: values tagged by the key `schedule`, wherever a field's annotation admits them.
"""

from losses.alpha import ClassFrequency, PaperAlpha
from losses.base import ScheduledLoss
from losses.cross_entropy import BalancedCrossEntropy, CrossEntropy
from losses.focal import Focal
from losses.normalise import EMA, AllReduced, Batch, Fixed, Image
from losses.ohem import OHEMCrossEntropy
from losses.quality import QualityFocal
from losses.schedules import Constant, Cosine, Cyclical, Exponential, Linear, Piecewise, Staged

LOSSES: dict[str, type[ScheduledLoss]] = {
    "cross_entropy": CrossEntropy,
    "balanced_cross_entropy": BalancedCrossEntropy,
    "focal": Focal,
    "ohem_cross_entropy": OHEMCrossEntropy,
    "quality_focal": QualityFocal,
}

NORMALISERS: dict[str, type[Image | Batch | AllReduced | EMA | Fixed]] = {
    "image": Image,
    "batch": Batch,
    "all_reduced": AllReduced,
    "ema": EMA,
    "fixed": Fixed,
}

SCHEDULES: dict[
    str,
    type[
        Constant
        | Staged
        | Linear
        | Cosine
        | Exponential
        | Cyclical
        | Piecewise
        | PaperAlpha
        | ClassFrequency
    ],
] = {
    "constant": Constant,
    "staged": Staged,
    "linear": Linear,
    "cosine": Cosine,
    "exponential": Exponential,
    "cyclical": Cyclical,
    "piecewise": Piecewise,
    "paper": PaperAlpha,  # alpha only: it follows gamma
    "class_frequency": ClassFrequency,  # class_weights only: it waits for the counts
}
