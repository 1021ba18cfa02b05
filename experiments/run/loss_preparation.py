"""What a configured loss needs of the data before training: class counts, and a gradient scale.

Both are functions of the configuration, the seed and the data alone, so that a resumed run finds
the same values; they go into the record.
"""

import copy
import dataclasses

import numpy as np
import torch

from datasets.dataset import Dataset
from datasets.sample import Batch
from detectors.base import AnyDetector
from experiments.config.run import RunConfig
from experiments.engine.arithmetic import to_device
from experiments.errors import UsageError
from experiments.record.parts import Arithmetic
from experiments.record.record import LossFacts
from losses.alpha import ClassFrequency
from losses.base import ClassificationLoss, LossTerms, ScheduledLoss
from losses.cross_entropy import CrossEntropy
from losses.focal import Focal
from losses.gradient_matching import Scaled, ScaledLoss, matching_scale

_COUNTING = 0xC0  # keeps this draw apart from the other streams of the run's seed


def count_objects(dataset: Dataset, images: int | None, seed: int) -> tuple[int, tuple[int, ...]]:
    """How many images were counted, and the objects of each class in them, ignored ones left out.

    `images`: size of a seeded sample without replacement; None, or more than there are: all.
    """
    columns = dataset.columns
    objects_I = np.diff(columns["first"])
    counted_I = np.ones(len(objects_I), np.bool_)
    if images is not None and images < len(objects_I):
        chosen = np.random.default_rng([seed, _COUNTING]).choice(len(objects_I), images, False)
        counted_I[:] = False
        counted_I[chosen] = True
    ignored_N = columns["difficult"].astype(np.bool_) | columns["crowd"].astype(np.bool_)
    labels = columns["label"][np.repeat(counted_I, objects_I) & ~ignored_N]
    counts = np.bincount(labels, minlength=len(dataset.classes))
    return int(counted_I.sum()), tuple(counts.tolist())


def with_class_weights(
    loss: ScheduledLoss, dataset: Dataset, seed: int
) -> tuple[ScheduledLoss, LossFacts]:
    """The loss with the class weights that it takes from the data, where it takes any."""
    wanted = loss.class_weights if isinstance(loss, Focal) else None
    if not isinstance(loss, Focal) or not isinstance(wanted, ClassFrequency):
        return loss, LossFacts()
    images, counts = count_objects(dataset, wanted.images, seed)
    if sum(counts) == 0:
        raise ValueError(f"loss.class_weights: no objects in the {images} images counted")
    filled = loss.with_class_counts(counts)
    assert isinstance(filled.class_weights, tuple)
    return filled, LossFacts(
        counted_images=images,
        class_counts=dict(zip(dataset.classes, counts, strict=True)),
        class_weights=dict(zip(dataset.classes, filled.class_weights, strict=True)),
    )


def gradient_scale(
    detector: AnyDetector, loss: ScheduledLoss, batch: Batch, arithmetic: Arithmetic
) -> float:
    """What to scale `loss` by so that the gradient it causes at step 0 has cross-entropy's norm.

    A schedule is matched at its end: where it starts at gamma 0, it is cross-entropy there.

    Only the part of the gradient that the configured loss causes counts, wherever the detector
    applies it: the difference between the loss at twice its size and at its size. Works on a copy;
    the detector keeps its statistics. Computed in float32 whatever the run's precision, so that the
    scale does not depend on the machine; of `arithmetic` the layout counts.
    Raises ValueError where either gradient is zero, UsageError for a schedule that ends at gamma 0.
    """
    _require_end(loss)
    device = next(detector.parameters()).device
    with torch.random.fork_rng():
        twin = copy.deepcopy(detector).train()
        batch = to_device(batch, device, arithmetic)
        output = twin(twin.normalise(batch.images_BCHW, batch.content_B2))

        def caused_by(chosen: ClassificationLoss) -> torch.Tensor:
            twin.classification_loss = ScaledLoss(chosen, 2.0)
            doubled = _told_apart(twin.loss(output, batch))
            twin.classification_loss = chosen
            return doubled - _told_apart(twin.loss(output, batch))

        return matching_scale(
            caused_by(loss.at(1.0)), caused_by(CrossEntropy().at(0.0)), twin.parameters()
        )


def _require_end(loss: ScheduledLoss) -> None:
    for name in ("gamma", "beta"):
        moves = loss.values(0.5).get(name) or loss.values(0.0).get(name)
        if loss.values(1.0).get(name) == 0 and moves:
            raise UsageError(
                f"train.match_gradient: loss.{name} ends at 0, where the loss is cross-entropy and "
                f"nothing is left to match; set it to false, or let {name} end above 0"
            )


def _told_apart(terms: LossTerms) -> torch.Tensor:
    none = terms.classification.new_zeros(())
    return terms.classification + (none if terms.objectness is None else terms.objectness)


def prepare_loss(
    config: RunConfig,
    dataset: Dataset,
    detector: AnyDetector,
    arithmetic: Arithmetic,
    first_batch: Batch | None,
) -> tuple[ScheduledLoss, LossFacts]:
    """The loss to train with, and what was found out for it.

    `first_batch` is read only where `train.match_gradient` asks for it.
    """
    config.require_values_of(len(dataset.classes))
    loss, facts = with_class_weights(config.loss, dataset, config.seed)
    if not config.train.match_gradient:
        return loss, facts
    if first_batch is None:
        raise ValueError("first_batch: needed to match gradients")
    scale = gradient_scale(detector, loss, first_batch, arithmetic)
    return Scaled(loss, scale), dataclasses.replace(facts, gradient_scale=scale)
