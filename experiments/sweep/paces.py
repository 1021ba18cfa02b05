"""The pace of runs on record: what each took for its parts, on what, and beside how many others."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from experiments.config.located import dotted
from experiments.record import origin
from experiments.record.follow import number, read_record
from experiments.record.record import find_records
from experiments.sweep.space import canonical

NO_MATTER = ("seed", "arm", "loss", "optimizer", "learning_rate", "tracking")
NO_MATTER_KEYS = {
    *("train.iterations", "train.checkpoint_every", "train.keep_checkpoints", "train.log_every"),
    *("train.seconds", "train.validate_every", "train.tape"),
    *("detector.sites", "detector.objectness_prior"),  # where a loss acts, not on how much
}
PURE = 0.1  # of its batches: a run that replayed no more has computed, one that replayed all others
# What a step's cost per pixel depends on, of a detector; the rest of it costs little.
NETWORK = ("detector.name", "detector.backbone.name", "detector.backbone.arch") + (
    "detector.backbone.frozen_stages",
)
PHOTO = 4 / 3  # the longer side of a photograph for its shorter one


class Machine(NamedTuple):
    """What a run ran on. `gflops`: of a float32 matrix product, None where no record has it."""

    cpu: str
    cores: int
    gpus: tuple[str, ...] = ()
    gflops: float | None = None

    def same(self, other: "Machine") -> bool:
        """Whether both are one kind of machine, as far as its names tell."""
        return self[:3] == other[:3]

    def slower(self, other: "Machine", beside: int, jobs: int) -> float | None:
        """How much longer the same work takes here, where `jobs` trials run at a time, than on
        `other`, where `beside` did; None where nothing tells it.
        """
        if self.same(other):
            return other._part(beside) / self._part(jobs)
        if not self.gflops or not other.gflops:
            alike = bool(self.gpus) == bool(other.gpus)
            return (
                other._part(beside) * other.cores / self._part(jobs) / self.cores if alike else None
            )
        # Another's product was measured by a trial, with that trial's share of its cores.
        return (
            other.gflops
            * min(1.0, other._part(beside) if other.gpus else 1.0)
            / (self.gflops * self._part(jobs))
        )

    def _part(self, trials: int) -> float:
        """What of the machine one of so many trials at a time has; one can't use two GPUs."""
        return min(1.0, max(1, len(self.gpus)) / trials)


def machine_here(gflops: float | None = None) -> Machine:
    """This machine."""
    return Machine(origin.cpu_name(), origin.core_count(), origin.gpu_names(), gflops)


@dataclass(frozen=True, slots=True)
class Past:
    """One finished run: dotted configuration, cost, and result."""

    config: dict[str, Any]
    nested: Mapping[str, Any]
    machine: Machine
    beside: int  # trials at a time, itself counted, by the times of its neighbours
    iteration: float  # seconds
    validation: float
    measuring: float
    start: float
    gigabytes: float
    replayed: bool | None  # its training's batches from a tape; None: some of them


def runs_on_record(folders: Iterable[Path]) -> list[list[Past]]:
    """The finished runs at or below `folders`, those of one kind and machine together; records that
    can't be read are left out.
    """
    found: dict[tuple[str, Machine], list[Past]] = {}
    for folder in folders:
        if not folder.is_dir():
            continue
        read = [(run, read_record(run) or {}) for run in find_records(folder)]
        spans: dict[Path, list[tuple[float, float]]] = {}
        for run, record in read:
            spans.setdefault(run.parent, []).append(_span(record))
        for run, record in read:
            past = _past(run, record, spans[run.parent])
            if past is not None:
                place = kind_of(past.config), past.machine._replace(gflops=None)
                found.setdefault(place, []).append(past)
    return [*found.values()]


def differing(flat: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """In how many of the dotted keys that decide a pace two configurations differ; a key that only
    one has is of another version.
    """
    pairs = ((value, other[key]) for key, value in _deciding(flat).items() if key in other)
    return sum(canonical(one) != canonical(two) for one, two in pairs)


def kind_of(flat: Mapping[str, Any]) -> str:
    """What decides a trial's pace, of dotted keys, as one text."""
    return canonical(_deciding(flat))


def _deciding(flat: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in flat.items()
        if key.partition(".")[0] not in NO_MATTER and key not in NO_MATTER_KEYS
    }


def network_of(flat: Mapping[str, Any]) -> str:
    """What decides the cost of a pixel, of dotted keys, as one text."""
    return canonical([flat.get(key) for key in NETWORK])


def pixels_of(flat: Mapping[str, Any]) -> float:
    """The pixels of an image as the network sees it; 1 where the keys don't say."""
    sizes = [_area(size) for size in flat.get("input.sizes") or ()]
    if sizes and all(sizes):
        return sum(sizes) / len(sizes)
    short = number(flat.get("input.fit.short"))
    sides = [number(flat.get(f"input.fit.{side}")) or short for side in ("height", "width")]
    if short is not None:
        return short * short * PHOTO
    return math.prod(side or 1.0 for side in sides)


def _area(size: Any) -> float:
    sides = size if isinstance(size, (list, tuple)) else [size, size]
    return math.prod(number(side) or 0.0 for side in sides)


def _past(run: Path, record: Mapping[str, Any], spans: list[tuple[float, float]]) -> Past | None:
    seconds, rows = record.get("seconds"), record.get("curves")
    if record.get("status") != "finished" or not isinstance(seconds, Mapping) or not rows:
        return None
    train, evaluate, total = (number(seconds.get(k)) for k in ("train", "evaluate", "total"))
    iterations = number(rows[-1].get("iteration"))
    if not train or not total or not iterations:
        return None
    flat = dotted(record.get("config") or {})
    hardware = record.get("hardware") or {}
    validations = len(record.get("validations") or ())
    # A run of several sittings tells its last one's total: nothing of its start.
    rest = max(0.0, total - train - (evaluate or 0.0))
    size = sum(file.stat().st_size for file in run.rglob("*") if file.is_file())
    return Past(
        config=flat,
        nested=record.get("config") or {},
        machine=_machine(hardware),
        beside=_beside(_span(record), spans),
        iteration=train / iterations,
        validation=rest / validations if validations else evaluate or 0.0,
        measuring=evaluate or 0.0,
        start=0.0 if validations else rest,
        gigabytes=size / 1e9,
        replayed=_replayed(record.get("tape")),
    )


def _replayed(tape: Any) -> bool | None:
    """Whether a record's training replayed a tape; None where it did so in part."""
    played = (tape.get("played") or {}).get("train") if isinstance(tape, Mapping) else None
    if not isinstance(played, Mapping):
        return False
    counts = {key: number(played.get(key)) or 0.0 for key in ("replayed", "written", "computed")}
    share = counts["replayed"] / (sum(counts.values()) or 1.0)
    return share > PURE if share <= PURE or share >= 1 - PURE else None


def _machine(hardware: Mapping[str, Any]) -> Machine:
    cores = number(hardware.get("cores"))
    return Machine(
        str(hardware.get("cpu")),
        int(cores) if cores else 1,
        tuple(hardware.get("gpus") or ()),
        number(hardware.get("gflops")),
    )


def _span(record: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds since the epoch; an empty span where the record does not say."""
    try:
        times = [datetime.fromisoformat(str(record.get(key))) for key in ("started", "finished")]
    except ValueError:
        return (0.0, 0.0)
    return (times[0].timestamp(), times[1].timestamp())


def _beside(own: tuple[float, float], spans: Iterable[tuple[float, float]]) -> int:
    """How many runs there were at a time while one ran, itself counted."""
    length = own[1] - own[0]
    if length <= 0:
        return 1
    common = sum(max(0.0, min(own[1], end) - max(own[0], begin)) for begin, end in spans)
    return max(1, round(common / length))
