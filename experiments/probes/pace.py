"""Where the time of a training step goes, measured on the recipe's own batches and network; and the
pace of one configuration on this machine, told from a few of these steps. Nothing is kept.

As a program (`python -m experiments.probes.pace`) it is one of several that time at the same time.
"""

import dataclasses
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from datasets.sample import Batch
from experiments.config.run import RunConfig, arm_of, read_config
from experiments.engine.arithmetic import choose, device_here, placed, to_device
from experiments.engine.inference import detect_batches
from experiments.engine.machine import compile_parts, prepared
from experiments.engine.optimizer import build_optimizer
from experiments.engine.update import Update
from experiments.errors import UserError
from experiments.record.files import write_text
from experiments.record.origin import core_count, cpu_name, gpu_names
from experiments.record.parts import Arithmetic
from experiments.run.assembly import (
    batches_from,
    batches_in_order,
    build_detector,
    loader_workers,
    open_splits,
)
from experiments.run.choosing import open_val
from experiments.run.loss_preparation import prepare_loss

STEPS, WARMUP = 5, 2  # the first ones warm up allocators and choose kernels
TEST_BATCHES = 2


class Timed(NamedTuple):
    """Seconds of one iteration, of one validation, and of all else a run does; how they are known,
    in words.
    """

    iteration: float
    validation: float
    rest: float
    source: str


def probe_pace(values: Mapping[str, Any], jobs: int = 1) -> Timed:
    """Time STEPS steps, and detection on TEST_BATCHES, where `jobs` trials share the machine: as
    many processes do it at the same time, and the median counts.

    Checkpoints are not in it, nor what is computed of detections. Raises what a run of the
    configuration would raise, such as DataError for data that is not there.
    """
    jobs = min(jobs, core_count())
    if jobs == 1:
        return _timed(values)
    config = read_config(dict(values))
    open_splits(config)  # raises here what would be a lost process there
    share = str(max(1, core_count() // jobs))
    environment = {"OMP_NUM_THREADS": share, **os.environ}  # a sweep's executor does the same
    started = [
        subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for _ in range(jobs)
    ]
    for process in started:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(values) + "\n")
        process.stdin.flush()
    ready = [process.stdout.readline() for process in started if process.stdout]
    if all(ready):
        told = [process.communicate("go\n")[0] for process in started]
    else:
        for process in started:
            process.kill()
            process.communicate()
    if not all(ready) or not all(told):
        raise ProbeError("the processes that were to time it ended early")
    found = [Timed(*json.loads(text)) for text in told]
    return Timed(
        statistics.median(each.iteration for each in found),
        statistics.median(each.validation for each in found),
        statistics.median(each.rest for each in found),
        f"{found[0].source}, {jobs} at a time",
    )


class ProbeError(UserError):
    """A pace could not be measured."""


def _timed(values: Mapping[str, Any], barrier: Callable[[], None] = lambda: None) -> Timed:
    began = time.perf_counter()
    config = read_config(dict(values))
    train = config.train
    with prepared(train.threads, train.deterministic):
        splits = dataclasses.replace(open_splits(config), val=open_val(config))
        detector = build_detector(config, tuple(splits.train.classes))
        device = device_here()
        arithmetic = choose(train, detector, device)
        detector = placed(detector, device, arithmetic)
        start = time.perf_counter() - began
        barrier()
        timed = list(itertools.islice(_steps(config), WARMUP + STEPS))[WARMUP:]
        test = batches_in_order(config, splits.measured, detector)
        began = time.perf_counter()
        images = sum(1 for _ in detect_batches(detector, islice(test, TEST_BATCHES), arithmetic))
        image = (time.perf_counter() - began) / max(1, images)
    val = 0 if splits.val is None else len(splits.val)
    return Timed(
        iteration=statistics.median(map(sum, timed)) * train.accumulate,
        validation=image * val,
        rest=start + image * (len(splits.measured) + val),
        source=f"timed now, {STEPS} steps and {images} images",
    )


STAGES = ("data", "forward", "loss", "backward", "optimiser")
SPREAD = (0.1, 0.9)  # quantiles


@dataclass(frozen=True, slots=True)
class Stage:
    """Milliseconds of one part of a step over all timed steps."""

    median: float
    low: float  # a tenth of the steps took less
    high: float  # a tenth took more


@dataclass(frozen=True, slots=True)
class Profile:
    """One step in parts. `data` is the wait for a batch and its way to the device."""

    arm: str
    steps: int
    images: int  # a step
    workers: int
    threads: int
    device: str
    cores: int
    stages: dict[str, Stage]
    step: Stage
    images_per_second: float


def profile(config: RunConfig, steps: int, warmup: int) -> Profile:
    """Time `steps` forward and backward passes with their updates, after `warmup` others.

    The device is waited for between parts, which a training does not do: on a GPU the whole is
    slower here than there, on a CPU it is the same. Every batch is followed by an update, whatever
    `train.accumulate` says.
    """
    train = config.train
    with prepared(train.threads, train.deterministic):
        timed = list(itertools.islice(_steps(config), warmup + steps))[warmup:]
        threads = torch.get_num_threads()
    whole = [sum(times) for times in timed]
    return Profile(
        arm=arm_of(config),
        steps=len(timed),
        images=train.batch_size,
        workers=loader_workers(config),
        threads=threads,
        device=(gpu_names() or (cpu_name(),))[0],
        cores=core_count(),
        stages={
            name: spread([times[place] for times in timed]) for place, name in enumerate(STAGES)
        },
        step=spread(whole),
        images_per_second=train.batch_size / statistics.median(whole),
    )


def spread(seconds: list[float]) -> Stage:
    """Median and quantiles in milliseconds."""
    ordered = sorted(1000 * value for value in seconds)
    low, high = (ordered[round(part * (len(ordered) - 1))] for part in SPREAD)
    return Stage(statistics.median(ordered), low, high)


def _steps(config: RunConfig) -> Iterator[tuple[float, ...]]:
    """Seconds of each stage, step after step."""
    splits = open_splits(config)
    detector: Any = build_detector(config, splits.train.classes)
    first = next(iter(batches_from(config, splits.train, detector, 0)))
    device = device_here()
    arithmetic = choose(config.train, detector, device)
    loss, _ = prepare_loss(config, splits.train, detector, arithmetic, first)
    detector = placed(detector, device, arithmetic).train()
    detector.classification_loss = loss.at(0.5)
    update = _update(config, arithmetic, detector, device)
    if arithmetic.compile:
        compile_parts(detector)
    batches = iter(batches_from(config, splits.train, detector, 0))
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    while True:
        yield _step(arithmetic, detector, update, batches, device, wait)


def _update(
    config: RunConfig, arithmetic: Arithmetic, detector: Any, device: torch.device
) -> Update:
    return Update(
        build_optimizer(config.optimizer, detector),
        arithmetic=arithmetic,
        accumulate=1,
        clip_norm=config.optimizer.clip_norm,
        skip=config.train.nonfinite == "skip",
        device=device,
    )


def _step(
    arithmetic: Arithmetic,
    detector: Any,
    update: Update,
    batches: Iterator[Batch],
    device: torch.device,
    wait: Callable[[], None],
) -> tuple[float, ...]:
    moments = [time.perf_counter()]

    def mark() -> None:
        wait()
        moments.append(time.perf_counter())

    batch = to_device(next(batches), device, arithmetic)
    mark()
    with update.optim_context(detector):
        output = detector(detector.normalise(batch.images_BCHW, batch.content_B2))
        mark()
        total = detector.loss(output, batch).total
    mark()
    update.backward(total)
    mark()
    update.step()
    update.zero_grad()
    mark()
    return tuple(later - sooner for sooner, later in itertools.pairwise(moments))


def profile_text(found: Profile) -> str:
    """The table of a profile."""
    lines = [
        f"{found.arm}: {found.steps} steps of {found.images} images on {found.device} "
        f"({found.cores} cores, {found.threads} threads, {found.workers} loader processes)",
        f"{'':12}{'median ms':>11}{'10 %':>9}{'90 %':>9}{'share':>8}",
    ]
    together = sum(stage.median for stage in found.stages.values())
    for name, stage in (*found.stages.items(), ("whole step", found.step)):
        share = stage.median / together if name != "whole step" else 1
        lines.append(f"{name:12}{stage.median:11.2f}{stage.low:9.2f}{stage.high:9.2f}{share:8.0%}")
    return "\n".join([*lines, f"{found.images_per_second:.1f} images/s"])


def write_profile(found: Profile, path: Path) -> None:
    """The profile as JSON."""
    write_text(path, json.dumps(asdict(found), indent=1) + "\n")


def _main() -> None:
    """Time the configuration on standard input, once a second line says so."""
    values = json.loads(sys.stdin.readline())

    def barrier() -> None:
        print("ready", flush=True)
        sys.stdin.readline()

    print(json.dumps(_timed(values, barrier)))


if __name__ == "__main__":
    _main()
