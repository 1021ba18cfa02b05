"""Trained weights by the name of a file, a run, or a run's best: the detector as measured."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from datasets.dataset import Dataset, Split
from detectors.base import AnyDetector
from experiments.config.run import RunConfig, load_config, read_config
from experiments.engine.arithmetic import choose, device_here, here, placed
from experiments.engine.checkpoint import find_checkpoint
from experiments.errors import UsageError
from experiments.evaluation import Tables
from experiments.record.parts import Arithmetic
from experiments.run.assembly import build_detector, open_splits, without_weights
from experiments.run.measuring import measure


@dataclass(frozen=True, slots=True)
class Trained:
    """A detector with its weights, ready to be run in `arithmetic`: the training's, or where this
    machine has not that, float32.
    """

    path: Path
    config: RunConfig
    detector: AnyDetector
    classes: tuple[str, ...]
    arithmetic: Arithmetic

    def open(self, recipe: Path | None, split: Split) -> tuple[RunConfig, Dataset]:
        """A split of its own data, or of a recipe's, with the configuration to test it under.

        Raises UsageError where the recipe's classes are not the checkpoint's.
        """
        config = self.config if recipe is None else load_config(recipe)
        dataset = config.data.open(split)
        if tuple(dataset.classes) != self.classes:
            raise UsageError(
                f"{recipe or self.path}: its {split} split has the classes "
                f"{', '.join(dataset.classes)}; the checkpoint was trained for "
                f"{', '.join(self.classes)}"
            )
        return config, dataset


def load_trained(path: Path) -> Trained:
    """A checkpoint file, the newest one in a run's folder, or, for `<run>/best`, the one with the
    best validation.
    """
    _, state = find_checkpoint(path)
    config = read_config(state["context"]["config"])
    classes = tuple(state["context"]["classes"])
    detector = build_detector(without_weights(config), classes)
    detector.load_state_dict(_weights(state))
    device = device_here()
    arithmetic, told = here(_arithmetic(state["context"], config, detector), detector, device)
    if told:
        print(f"{path}: {told}", file=sys.stderr)
    return Trained(path, config, placed(detector, device, arithmetic).eval(), classes, arithmetic)


def _arithmetic(context: Mapping[str, Any], config: RunConfig, detector: AnyDetector) -> Arithmetic:
    """What the weights were trained in; before it was kept, the configuration said it outright."""
    if "arithmetic" in context:
        return Arithmetic(**context["arithmetic"])
    if config.train.precision == "float16":
        return Arithmetic("float16", config.train.channels_last is True)
    return choose(config.train, detector, device_here())


def _weights(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The averaged weights where there are any: they are the ones that were measured."""
    average = state["average"]
    if average is None:
        weights: dict[str, torch.Tensor] = state["detector"]
        return weights
    prefix = "module."
    return {
        name.removeprefix(prefix): value
        for name, value in average.items()
        if name.startswith(prefix)
    }


def detect_split(checkpoint: Path, recipe: Path | None, split: Split) -> Tables:
    """Detections and truth of `split`, under a recipe's data and test settings if one is given."""
    trained = load_trained(checkpoint)
    config, dataset = trained.open(recipe, split)
    measured = measure(config, trained.arithmetic, trained.detector, dataset, split)
    return Tables(measured.detections, measured.truth, measured.images, trained.classes)


def weights_to_export(
    recipe: Path | None, checkpoint: Path | None, overrides: Sequence[str]
) -> tuple[AnyDetector, RunConfig, tuple[str, ...]]:
    """A detector with its weights, its run and its classes: from a checkpoint, from a recipe that
    names weights, or a checkpoint's weights under a recipe's thresholds.

    Raises UsageError where the checkpoint is not of the recipe's network, or neither is given.
    """
    trained = None if checkpoint is None else load_trained(checkpoint)
    if recipe is None:
        if trained is None:
            raise UsageError("name a recipe or a checkpoint")
        return trained.detector, trained.config, trained.classes
    config = load_config(recipe, overrides)
    if trained is None:
        classes = getattr(config.data, "classes", None) or open_splits(config).train.classes
        return build_detector(config, classes), config, classes
    detector = build_detector(without_weights(config), trained.classes)
    try:
        detector.load_state_dict(trained.detector.state_dict())
    except RuntimeError as error:
        raise UsageError(f"{checkpoint}: not of the network in {recipe}: {error}") from error
    return detector, config, trained.classes
