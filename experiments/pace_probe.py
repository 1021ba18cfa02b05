"""The pace of one configuration on this machine, measured on a few batches; nothing is kept."""

import statistics
import time
from collections.abc import Mapping
from itertools import islice
from typing import Any

import torch

from experiments.config.run import RunConfig, read_config
from experiments.engine.inference import detect_batches
from experiments.engine.step_model import to_device
from experiments.run.assembly import batches_from, batches_in_order, build_detector, open_splits
from experiments.study_costs import Pace

STEPS = 5  # the first one or two warm up allocators and choose kernels
TEST_BATCHES = 2


def probe_pace(values: Mapping[str, Any]) -> Pace:
    """Time forward, loss and backward of STEPS batches, and detection on TEST_BATCHES.

    The optimiser's step, validations and checkpoints are not in it. Raises what a run of the
    configuration would raise, such as DataError for data that is not there.
    """
    config = read_config(dict(values))
    splits = open_splits(config)
    detector = build_detector(config, tuple(splits.train.classes))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    detector = detector.to(device)
    steps = _step_seconds(config, detector, splits.train)
    images, seconds = 0, 0.0
    test = batches_in_order(config, splits.measured, detector)
    began = time.perf_counter()
    for _ in detect_batches(
        detector,
        islice(test, TEST_BATCHES),
        bfloat16=config.train.precision == "bfloat16",
        channels_last=config.train.channels_last,
    ):
        images += 1
    seconds = time.perf_counter() - began
    return Pace(
        iteration=statistics.median(steps[2:]) * config.train.accumulate,
        rest=seconds / max(1, images) * len(splits.measured),
        source=f"measured now, {STEPS} steps and {images} images",
    )


def _step_seconds(config: RunConfig, detector: Any, dataset: Any) -> list[float]:
    found = []
    device = next(detector.parameters()).device
    detector.train()
    batches = iter(batches_from(config, dataset, detector, 0))
    for _ in range(STEPS):
        began = time.perf_counter()
        batch = to_device(next(batches), device, config.train.channels_last)
        bfloat16 = config.train.precision == "bfloat16"
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            output = detector(detector.normalise(batch.images_BCHW, batch.content_B2))
        detector.loss(output, batch, 0).total.backward()
        detector.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return found
