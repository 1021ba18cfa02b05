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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from datasets.sample import Batch
from detectors.base import AnyDetector
from experiments.config.located import dotted
from experiments.config.run import RunConfig, arm_of, read_config
from experiments.config.upstream import shares_tapes
from experiments.engine.arithmetic import choose, device_here, placed, to_device
from experiments.engine.frames import (
    Frame,
    encoded,
    labels_of,
    output_of,
    read_frame,
    write_whole,
)
from experiments.engine.inference import detect_batches
from experiments.engine.machine import compile_parts, prepared
from experiments.engine.optimizer import build_optimizer
from experiments.engine.playing import beginning
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
    replayed: float | None = None  # of one iteration, its batch from a tape; None where it has none


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
    replayed = [each.replayed for each in found if each.replayed is not None]
    return Timed(
        statistics.median(each.iteration for each in found),
        statistics.median(each.validation for each in found),
        statistics.median(each.rest for each in found),
        f"{found[0].source}, {jobs} at a time",
        statistics.median(replayed) if replayed else None,
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
        steps = _Steps(config)
        timed = list(islice(steps.times(steps.batches()), WARMUP + STEPS))[WARMUP:]
        test = batches_in_order(config, splits.measured, detector)
        replayed, image, images = None, 0.0, 0
        if shares_tapes(dotted(values)) and detector.backbone.fixed():
            with _taped(steps.batches(), WARMUP + STEPS, detector, arithmetic) as frames:
                replayed = statistics.median(map(sum, [*steps.times(frames)][WARMUP:]))
            with _taped(test, TEST_BATCHES, detector, arithmetic) as frames:
                image, images = _image_seconds(detector, frames, arithmetic)
        else:
            few = islice(test, TEST_BATCHES)
            image, images = _image_seconds(detector, few, arithmetic)
    val = 0 if splits.val is None else len(splits.val)
    return Timed(
        iteration=statistics.median(map(sum, timed)) * train.accumulate,
        validation=image * val,
        rest=start + image * (len(splits.measured) + val),
        source=f"timed now, {STEPS} steps and {images} images",
        replayed=None if replayed is None else replayed * train.accumulate,
    )


def _image_seconds(
    detector: AnyDetector, batches: Iterable[Batch | Frame], arithmetic: Arithmetic
) -> tuple[float, int]:
    """What detection on one image takes, by so many."""
    began = time.perf_counter()
    images = sum(1 for _ in detect_batches(detector, batches, arithmetic))
    return (time.perf_counter() - began) / max(1, images), images


@contextmanager
def _taped(
    batches: Iterable[Batch], count: int, detector: AnyDetector, arithmetic: Arithmetic
) -> Iterator[Iterable[Frame]]:
    """The first batches on a tape of their own, read frame by frame."""
    begin = beginning(detector, arithmetic)
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / str(number) for number in range(count)]
        written = 0
        for path, batch in zip(paths, batches, strict=False):
            write_whole(path, encoded(begin(batch), path.name, 0))
            written += 1
        yield (read_frame(path, path.name, 0) for path in paths[:written])


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
        timer = _Steps(config)
        timed = list(islice(timer.times(timer.batches()), warmup + steps))[warmup:]
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


class _Steps:
    """The training of a configuration, step by step."""

    def __init__(self, config: RunConfig) -> None:
        self._config, self._splits = config, open_splits(config)
        self.detector: Any = build_detector(config, self._splits.train.classes)
        first = next(iter(self.batches()))
        self._device = device_here()
        self.arithmetic = choose(config.train, self.detector, self._device)
        loss, _ = prepare_loss(config, self._splits.train, self.detector, self.arithmetic, first)
        self.detector = placed(self.detector, self._device, self.arithmetic).train()
        self.detector.classification_loss = loss.at(0.5)
        self._update = Update(
            build_optimizer(config.optimizer, self.detector),
            arithmetic=self.arithmetic,
            accumulate=1,
            clip_norm=config.optimizer.clip_norm,
            skip=config.train.nonfinite == "skip",
            device=self._device,
        )
        if self.arithmetic.compile:
            compile_parts(self.detector)

    def batches(self) -> Iterable[Batch]:
        """Those that a training would be fed."""
        return batches_from(self._config, self._splits.train, self.detector, 0)

    def times(self, source: Iterable[Batch | Frame]) -> Iterator[tuple[float, ...]]:
        """Seconds of each stage, a step for each batch or frame that is drawn."""
        on_gpu = self._device.type == "cuda"
        wait: Callable[[], None] = torch.cuda.synchronize if on_gpu else lambda: None
        batches = iter(source)
        while (timed := self._step(batches, wait)) is not None:
            yield timed

    def _step(
        self, batches: Iterator[Batch | Frame], wait: Callable[[], None]
    ) -> tuple[float, ...] | None:
        moments = [time.perf_counter()]

        def mark() -> None:
            wait()
            moments.append(time.perf_counter())

        fed = next(batches, None)
        if fed is None:
            return None
        if isinstance(fed, Batch):
            fed = to_device(fed, self._device, self.arithmetic)
        mark()
        with self._update.optim_context(self.detector):
            output = output_of(self.detector, fed)
            mark()
            total = self.detector.loss(output, labels_of(fed)).total
        mark()
        self._update.backward(total)
        mark()
        self._update.step()
        self._update.zero_grad()
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
