"""A run's tapes: whether it has any, where, what each one's key is made of, and what is told.

A tape holds what the frozen front of a backbone makes of each batch. Its key is a hash of all that
comes before the first trained weight: a run reads what it would have computed, or computes.
"""

import functools
import hashlib
import itertools
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datasets.dataset import Dataset
from datasets.index import texts
from datasets.sample import Batch
from detectors.base import AnyDetector
from experiments.config.located import dotted
from experiments.config.run import RunConfig, plain_config
from experiments.config.upstream import chosen
from experiments.engine import distributed
from experiments.engine.arithmetic import autocast, instructions
from experiments.engine.frames import Frame
from experiments.engine.playing import Begin, Load, Player, beginning
from experiments.engine.tape import Tape
from experiments.record import tapes as disk
from experiments.record.origin import cpu_name, versions
from experiments.record.parts import Arithmetic
from experiments.record.parts import Tape as Facts
from experiments.run.assembly import TrainingBatches, batches_from, batches_in_order
from experiments.tracking import tapes as agents

FORMAT = 1
CHECKOUT = Path(__file__).parents[2]
ROOMS = ("datasets", "detectors")  # whose code makes what is on a tape
PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")
SHOWN = 12  # letters of a key


class Tapes:
    """The tapes of one run, one a split, each opened when its first batch is needed."""

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        arithmetic: Arithmetic,
        detector: AnyDetector,
        gib: float | None = None,
    ) -> None:
        """`gib`: the bound on all tapes in one place; None: what the sweep says, or a share of the
        free disk.
        """
        self._config, self._arithmetic = config, arithmetic
        self._run = folder.name
        self._gib = gib if gib is not None else _told_gib()
        self._root = None if self._gib == 0 else place_of(config, folder)
        self.why = "" if self._root is None else _why_not(config, arithmetic, detector)
        self._tapes: dict[str, Tape] = {}

    def train(
        self, dataset: Dataset, detector: AnyDetector, start: int
    ) -> Iterable[Batch] | Iterable[Frame]:
        """The training's batches from the `start`-th on, as frames where there is a tape."""
        batches = self._config.train.iterations * self._config.train.accumulate
        tape = self._opened("train", dataset, detector, batches)
        if tape is None:
            return batches_from(self._config, dataset, detector, start)
        source = TrainingBatches(self._config, dataset, detector)
        numbers = range(start, batches)
        return Player(tape, numbers, source.stream, source.few, self._begin(detector))

    def split(
        self, split: str, dataset: Dataset, detector: AnyDetector
    ) -> Iterable[Batch] | Iterable[Frame]:
        """The batches to measure on, as frames where there is a tape."""
        config = self._config
        batches = -(-len(dataset) // config.evaluate.batch_size)
        tape = self._opened(split, dataset, detector, batches)
        if tape is None:
            return batches_in_order(config, dataset, detector)
        stream: Load = functools.partial(batches_in_order, config, dataset, detector)
        few: Load = functools.partial(batches_in_order, config, dataset, detector, workers=0)
        return Player(tape, range(batches), stream, few, self._begin(detector))

    def facts(self) -> Facts | None:
        """For the record; None where nobody asked for a tape."""
        if self._root is None:
            return None
        keys = {split: tape.key[:SHOWN] for split, tape in self._tapes.items()}
        played = {split: tape.played() for split, tape in self._tapes.items()}
        return Facts(self.why, keys, played)

    def close(self) -> None:
        """Say what came of the tapes, and let go of them."""
        for split, tape in self._tapes.items():
            played = tape.played()
            print(
                f"tape of {split}: {played.replayed} batches replayed, {played.written} computed "
                f"and written, {played.computed} computed",
                file=sys.stderr,
            )
            tape.close()

    def _begin(self, detector: AnyDetector) -> Begin:
        return beginning(detector, self._arithmetic)

    def _opened(
        self, split: str, dataset: Dataset, detector: AnyDetector, batches: int
    ) -> Tape | None:
        if self._root is None or self.why:
            if self.why and split == "train" and distributed.is_first():
                print(f"tape: none: {self.why}", file=sys.stderr)
            return None
        parts = key_parts(self._config, self._arithmetic, split, dataset, detector)
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        known = self._tapes.get(split)
        if known is not None and known.key == key:
            return known
        try:
            agents.register(self._root)
            folder = disk.open_folder(self._root, key, split, parts, self._run)
            tape = Tape(folder, key, disk.Budget(self._root, self._gib), batches)
        except OSError as error:
            self.why = f"{self._root}: {error.strerror}"
            print(f"tape: none: {self.why}", file=sys.stderr)
            return None
        self._tapes[split] = tape
        if split == "train":
            _tell(folder, batches)
        return tape


def place_of(config: RunConfig, folder: Path) -> Path | None:
    """Where the tapes of a run lie; None where it is to have none.

    Those of a sweep lie below its folder, those of a W&B sweep and of single runs beside the runs.
    """
    asked = config.train.tape
    if asked == "off":
        return None
    told = os.environ.get(disk.PLACE)
    if told:
        return Path(told)
    beside = folder.parent / disk.FOLDER if asked == "auto" else None
    return agents.place(folder.parent) or beside


def key_parts(
    config: RunConfig,
    arithmetic: Arithmetic,
    split: str,
    dataset: Dataset,
    detector: AnyDetector,
) -> dict[str, Any]:
    """All that decides what is on the tape of a split, as JSON-ready values."""
    settings = chosen(dotted(plain_config(config)), split)
    parts = {
        "format": FORMAT,
        "settings": {key: value for key, value in settings.items() if key != "data.root"},
        "images": [dataset.content_hash(), _files_of(dataset)],
        "network": _network(detector),
        "probe": _probe(detector, arithmetic),
        "arithmetic": [arithmetic.precision, arithmetic.channels_last, config.train.deterministic],
        "machine": [cpu_name(), instructions(), torch.get_num_threads()],
        "versions": versions(PACKAGES),
        "code": _code(),
    }
    if split == "train":
        parts["seed"] = config.seed
        if config.input.last_batches:
            parts["batches"] = config.train.iterations * config.train.accumulate
    plain: dict[str, Any] = json.loads(json.dumps(parts))
    return plain


def _why_not(config: RunConfig, arithmetic: Arithmetic, detector: AnyDetector) -> str:
    """Why a run that could have a tape gets none."""
    device = next(detector.parameters()).device
    for true, why in (
        (not detector.backbone.fixed(), "no stage of its backbone is frozen from the first one on"),
        (device.type != "cpu" or torch.cuda.is_available(), "its backbone runs on a GPU"),
        (distributed.world() > 1, "several processes train together"),
        (arithmetic.compile, "train.compile"),
        (
            config.train.seconds is not None,
            "train.seconds: with a tape a run would get further in that time than one without",
        ),
    ):
        if true:
            return why
    return ""


def _told_gib() -> float | None:
    told = os.environ.get(disk.GIB)
    return float(told) if told else None


def _tell(folder: Path, batches: int) -> None:
    there = sum(1 for path in folder.glob("*/*") if path.name.isdigit())
    size = disk.size_of(folder) / 2**30
    print(
        f"tape: {folder}: {there} of {batches} batches of the frozen backbone are on it "
        f"({size:.2f} GiB), the others are computed and added",
        file=sys.stderr,
    )


def _files_of(dataset: Dataset) -> str:
    """Names, sizes and times of the image files: their bytes are not read for it."""
    total = hashlib.sha256()
    for name in texts(dataset.columns, "image"):
        found = os.stat(dataset.root / name)
        total.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return total.hexdigest()


def _network(detector: AnyDetector) -> str:
    """The frozen modules, their settings and their weights."""
    backbone = detector.backbone
    total = hashlib.sha256(f"{backbone.strides} {detector.size_multiple}".encode())
    for module in backbone.fixed():
        total.update(repr(module).encode())
        for name, value in module.state_dict().items():
            total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            total.update(value.contiguous().numpy().tobytes())
    for value in (detector.pixel_mean, detector.pixel_std):
        total.update(value.numpy().tobytes())
    return total.hexdigest()


@torch.no_grad()
def _probe(detector: AnyDetector, arithmetic: Arithmetic) -> str:
    """What the frozen modules make of a made-up image: whatever changes it, changes the key."""
    side = 2 * detector.size_multiple
    ramp = torch.arange(3 * side * side, dtype=torch.int64) * 7919 % 251
    images_BCHW = ramp.to(torch.uint8).view(1, 3, side, side)
    with autocast(arithmetic, torch.device("cpu")):
        begun = detector.backbone.begin(detector.normalise(images_BCHW))
    total = hashlib.sha256()
    for tensor in begun:
        total.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(_bytes(tensor))
    return total.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


@functools.cache
def _code() -> str:
    """The source of the rooms that load images and run backbones."""
    total = hashlib.sha256()
    files = itertools.chain.from_iterable((CHECKOUT / room).rglob("*.py") for room in ROOMS)
    for path in sorted(files):
        total.update(f"{path.relative_to(CHECKOUT)}\0".encode() + path.read_bytes())
    return total.hexdigest()
