"""A recipe's training without the engine: forward, loss, backward and update, written out."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from datasets.sample import Batch
from experiments.config.run import RunConfig
from experiments.engine.fit import Plan
from experiments.engine.machine import compile_parts
from experiments.engine.optimizer import build_optimizer
from experiments.engine.runner import to_device
from experiments.engine.update import LOW
from experiments.run.assembly import batches_from, build_detector, fit_plan, open_splits

CHECKOUT = Path(__file__).parents[1]
RECIPES = ("configs/glyphs/yolov2_focal.yaml", "configs/glyphs/retinanet_focal.yaml")


def bare_step(config: RunConfig) -> Callable[[Batch], None]:
    """Forward, loss, backward and update in the recipe's arithmetic, and nothing else."""
    plan, detector = plan_of(config), network(config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    memory = torch.channels_last if plan.channels_last else torch.contiguous_format
    detector = detector.to(device, memory_format=memory).train()
    detector.classification_loss = plan.loss.at(0.0)
    optimizer = build_optimizer(plan.optimizer, detector)
    clip, low = plan.optimizer.clip_norm, LOW.get(plan.precision)
    if plan.compile:
        compile_parts(detector)

    def step(batch: Batch) -> None:
        batch = to_device(batch, device, plan.channels_last)
        with torch.autocast(device.type, low, enabled=low is not None):
            output = detector(detector.normalise(batch.images_BCHW, batch.content_B2))
            total = detector.loss(output, batch, 0).total
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


def plan_of(config: RunConfig) -> Plan:
    """The recipe's plan, without validations."""
    plan = fit_plan(config, open_splits(config).train.classes, config.loss)
    return dataclasses.replace(plan, validate_every=None)
