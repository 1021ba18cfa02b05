"""A recipe's training without the engine: forward, loss, backward and update, written out."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from datasets.sample import Batch
from experiments.config.run import RunConfig
from experiments.engine.arithmetic import autocast, choose, device_here, placed, to_device
from experiments.engine.fit import Task
from experiments.engine.machine import compile_parts
from experiments.engine.optimizer import build_optimizer
from experiments.run.assembly import batches_from, build_detector, fit_task, open_splits

CHECKOUT = Path(__file__).parents[1]
RECIPES = ("configs/glyphs/yolov2_focal.yaml", "configs/glyphs/retinanet_focal.yaml")


def bare_step(config: RunConfig) -> Callable[[Batch], None]:
    """Forward, loss, backward and update in the recipe's arithmetic, and nothing else."""
    device = device_here()
    detector = network(config)
    arithmetic = choose(config.train, detector, device)
    detector = placed(detector, device, arithmetic).train()
    detector.classification_loss = config.loss.at(0.0)
    optimizer = build_optimizer(config.optimizer, detector)
    clip = config.optimizer.clip_norm
    if arithmetic.compile:
        compile_parts(detector)

    def step(batch: Batch) -> None:
        batch = to_device(batch, device, arithmetic)
        with autocast(arithmetic, device):
            output = detector(detector.normalise(batch.images_BCHW, batch.content_B2))
            total = detector.loss(output, batch).total
        total.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(detector.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def training_batches(config: RunConfig) -> Iterator[Batch]:
    """The recipe's training batches."""
    splits = open_splits(config)
    return iter(batches_from(config, splits.train, network(config), 0))


def network(config: RunConfig) -> Any:
    """The recipe's detector for its own classes."""
    return build_detector(config, open_splits(config).train.classes)


def task_of(config: RunConfig, detector: Any) -> Task:
    """What the engine fits of the recipe, without validations."""
    train = dataclasses.replace(config.train, validate_every=None)
    arithmetic = choose(train, detector, device_here())
    classes = open_splits(config).train.classes
    return fit_task(dataclasses.replace(config, train=train), classes, config.loss, arithmetic)
