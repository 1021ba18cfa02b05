"""Which settings decide what a frozen backbone is fed, and what it makes of it.

Runs that agree in these, in their data and in their machine can share a tape.
"""

from collections.abc import Mapping
from typing import Any

_BOTH = ("data", "input", "detector.name", "detector.backbone", "detector.weights")
TRAINING = (
    *_BOTH,
    "seed",
    *("train.batch_size", "train.group", "train.repeat_threshold", "train.cache_images"),
)
MEASURING = (*_BOTH, "evaluate.batch_size")


def upstream_of(split: str) -> tuple[str, ...]:
    """The settings, each with all below it, that decide the batches of a split."""
    return TRAINING if split == "train" else MEASURING


def shares_tapes(flat: Mapping[str, Any]) -> bool:
    """Whether a sweep's trials on a CPU share tapes, as far as their dotted settings tell."""
    asked = flat.get("train.tape", "off") != "off" and flat.get("train.seconds") is None
    frozen = bool(flat.get("detector.backbone.frozen_stages"))
    return asked and frozen and not flat.get("train.compile")


def is_below(key: str, settings: tuple[str, ...]) -> bool:
    """Whether a dotted key is one of `settings`, or part of one."""
    return any(key == name or key.startswith(f"{name}.") for name in settings)


def chosen(values: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Of dotted keys and their values, those that decide the batches of a split."""
    settings = upstream_of(split)
    return {key: value for key, value in values.items() if is_below(key, settings)}
