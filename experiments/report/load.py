"""Records on disk -> Run values, through experiments.record.record, which checks them.

Curves are thinned as soon as they are read, so that a thousand runs fit in a little memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.config.words import arm_name
from experiments.errors import UserError, nearest
from experiments.importing import uncollected
from experiments.record.parts import Arithmetic, Compact
from experiments.record.record import (
    Data,
    Failure,
    File,
    Hardware,
    Memory,
    Metrics,
    Point,
    RecordError,
    RunRecord,
    Seconds,
    Split,
    Validation,
    find_records,
    load_record,
)

CURVE_POINTS = 160  # a figure is about 400 px wide: more points than this cannot be seen


class ReportError(UserError):
    """The records named cannot give a report; the message says which folder and what to do."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run as its record tells it, with thinned curves. Metrics are percent (0..100), times
    seconds.
    """

    folder: Path
    id: str
    arm: str  # as it would be named now
    status: str
    seed: int
    config: Mapping[str, Any]
    config_hash: str
    started: str
    commit: str | None
    dirty: bool
    data: Data | None
    metrics: Metrics | None
    seconds: Seconds
    hardware: Hardware
    versions: Mapping[str, str]
    error: Failure | None
    files: Mapping[str, File] = field(default_factory=dict)
    curves: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    validations: tuple[Validation, ...] = ()
    memory: Memory | None = None
    val_metrics: Metrics | None = None
    ended: str | None = None  # why training ended before its last iteration
    last: Mapping[str, float] = field(default_factory=dict)  # the last row: progress, gamma, alpha
    recorded_arm: str = ""  # as it was named when it ran
    ranks: int = 1
    arithmetic: Arithmetic | None = None  # None: as the configuration says
    compact: Compact | None = None  # what was left out when it was made small; None: nothing
    replayed: bool = False  # batches of its training from a tape: its time leaves the backbone out

    @property
    def precision(self) -> str | None:
        """The number format that it trained in, whatever was asked for; None where unknown."""
        if self.arithmetic is not None:
            return self.arithmetic.precision
        train = self.config.get("train")
        return train.get("precision") if isinstance(train, Mapping) else None

    @property
    def finished(self) -> bool:
        """True where the run ended well and was measured: only such runs enter a mean."""
        return self.status == "finished" and self.metrics is not None

    @property
    def ended_early(self) -> bool:
        """Whether training ended before its schedule did: for patience, or for a time budget that
        the schedule did not follow.
        """
        train = self.config.get("train")
        follows = isinstance(train, Mapping) and train.get("progress") == "time"
        unfinished = self.last.get("progress", 1.0) < 0.99
        return self.ended is not None and unfinished and not (follows and self.ended == "seconds")

    @property
    def chosen_by_val(self) -> bool:
        """Whether validations chose its weights or its end."""
        train = self.config.get("train")
        asked = train if isinstance(train, Mapping) else {}
        return asked.get("measure") == "best" or asked.get("patience") is not None

    def shared(self, split: str) -> int:
        """How many images of `split` are among those that measured it, as far as is recorded."""
        if self.data is None:
            return 0
        if self.split_hash(split) == self.split_hash(self.measured):
            found = self.split(split)
            return found.images if found else 0
        return self.data.shared.get(f"{split}/{self.measured}", 0)

    def val_metric(self, name: str) -> float | None:
        """One metric of the measured weights on val in percent, None where the record has none or
        val is not a split of its own.
        """
        own = self.split_hash("val") is not None and not self.shared("val")
        return self.val_metrics.value(name) if own and self.val_metrics is not None else None

    @property
    def measured(self) -> str:
        """The split that the run was measured on, or was to be."""
        if self.metrics is not None:
            return self.metrics.split
        evaluate = self.config.get("evaluate")
        return str(evaluate.get("split", "test")) if isinstance(evaluate, Mapping) else "test"

    @property
    def iterations(self) -> int:
        """The last iteration logged, 0 where nothing was."""
        steps = self.curves.get("iteration")
        return int(steps[-1]) if steps is not None and len(steps) else 0

    @property
    def classes(self) -> tuple[str, ...]:
        """The data set's class names by label, none where the run failed before it read them."""
        return self.data.classes if self.data else ()

    def split(self, name: str) -> Split | None:
        """`train`, `val` or `test` as the record tells it."""
        return getattr(self.data, name, None)

    def split_hash(self, name: str) -> str | None:
        """The content hash of a split, None where it is not known."""
        split = self.split(name)
        return split.hash if split else None

    def metric(self, name: str) -> float | None:
        """One test metric in percent, None where it is undefined or the run was not measured."""
        return self.metrics.value(name) if self.metrics is not None else None

    def class_metric(self, label: str, name: str) -> float | None:
        """One metric of one class in percent, None where the record has none."""
        return getattr(self.metrics.per_class.get(label), name, None) if self.metrics else None

    def file(self, kind: str) -> Path | None:
        """The dump named `kind` where the record lists it and it exists, else None."""
        path = self.folder / self.files[kind].path if kind in self.files else None
        return path if path is not None and path.is_file() else None


def load_runs(directories: Sequence[Path], lost: list[str] | None = None) -> list[Run]:
    """All runs at or below `directories`, each once, ordered by arm, seed and id.

    `lost` is given a line for each record that cannot be read and each part of one that could not;
    without it, the first such record raises.

    Raises:
        ReportError: a directory is missing, or none holds a record that can be read.
    """
    runs = []
    with uncollected():
        for folder in find_folders(directories):
            try:
                runs.append(load_run(folder, lost))
            except ReportError as error:
                if lost is None:
                    raise
                lost.append(f"Left out: {error}.")
    if not runs:
        raise ReportError("\n".join(lost or ()))
    runs = _told_apart(runs)
    return sorted(runs, key=lambda run: (run.arm, run.seed, run.id, str(run.folder)))


def _told_apart(runs: list[Run]) -> list[Run]:
    """With the number of processes among the settings where runs differ in it: it is an arm's."""
    if len({run.ranks for run in runs}) < 2:
        return runs
    return [replace(run, config={**run.config, "ranks": run.ranks}) for run in runs]


def find_folders(directories: Sequence[Path]) -> list[Path]:
    """Every folder at or below `directories` that holds a record, sorted, each once.

    Raises:
        ReportError: a directory is missing, or none holds a record.
    """
    found: dict[Path, None] = {}
    for directory in directories:
        if not directory.is_dir():
            raise ReportError(missing(directory))
        for folder in find_records(directory):
            found.setdefault(folder.resolve(), None)
    if not found:
        places = ", ".join(str(directory) for directory in directories)
        raise ReportError(f"{places}: no record.json here or below; `train` and `sweep` write them")
    return sorted(found)


def missing(directory: Path) -> str:
    """The message for a directory that does not exist, with the nearest name beside it."""
    parent = directory.parent
    names = [entry.name for entry in parent.iterdir() if entry.is_dir()] if parent.is_dir() else []
    return f"{directory}: no such folder{nearest(directory.name, sorted(names))}"


def load_run(folder: Path, lost: list[str] | None = None) -> Run:
    """The run in one folder, whatever its status; `lost` is given what of it could not be read.

    Raises:
        ReportError: the record cannot be read.
    """
    try:
        record = load_record(folder)
    except RecordError as error:
        raise ReportError(f"{error}; mend it or move its folder away") from None
    if lost is not None:
        lost += _partly(folder, record)
    return from_record(folder, record)


def _partly(folder: Path, record: RunRecord) -> list[str]:
    """What of a run that was read is not in the report."""
    damaged = record.curve_file.damaged if record.curve_file is not None else ()
    told = [f"{folder.name}: left out of its curves: {line}." for line in damaged]
    if record.unknown:
        keys = ", ".join(record.unknown)
        told.append(f"{folder.name}: its record is a later version's; left out: {keys}.")
    return told


def from_record(folder: Path, record: RunRecord) -> Run:
    """A record as the report holds it."""
    return Run(
        folder=folder,
        id=record.id,
        arm=_arm_of(record),
        recorded_arm=record.arm,
        status=record.status,
        seed=record.seed,
        config=record.config,
        config_hash=record.config_hash,
        started=record.started,
        commit=record.commit,
        dirty=record.dirty,
        data=record.data,
        metrics=record.metrics,
        seconds=record.seconds,
        hardware=record.hardware,
        versions=record.versions,
        error=record.error,
        files=record.files,
        curves=thin(record.curves),
        validations=tuple(_brief(validation) for validation in record.validations),
        memory=record.memory,
        val_metrics=record.val_metrics,
        ended=record.ended,
        last=_last_row(record.curves),
        ranks=record.ranks,
        arithmetic=record.arithmetic,
        compact=record.compact,
        replayed=_replayed(record),
    )


def _replayed(record: RunRecord) -> bool:
    played = record.tape.played.get("train") if record.tape is not None else None
    return played is not None and played.replayed > 0


def _last_row(points: Sequence[Point]) -> dict[str, float]:
    """What was in force at the end of training."""
    kept = ("progress", "gamma", "alpha")
    last = points[-1] if points else {}
    return {name: float(value) for name in kept if (value := last.get(name)) is not None}


def _arm_of(record: RunRecord) -> str:
    """The arm's name: the one that was given, else what its configuration is called now, so that
    records of versions that called it otherwise join it.
    """
    unnamed = "arm" in record.config and record.config["arm"] is None
    return arm_name(record.config) if unnamed else record.arm


def _brief(validation: Validation) -> Validation:
    """Without its classes, which no figure shows and which are most of a record's numbers."""
    return replace(validation, metrics=replace(validation.metrics, per_class={}))


def thin(points: Sequence[Point]) -> dict[str, NDArray[np.float64]]:
    """Columns of the curve points, at most CURVE_POINTS long: means of equal buckets.

    NaN stands where a point lacks a value. `iteration`, `progress` and `seconds` keep each
    bucket's last value, so that a curve ends where the run did.
    """
    if not points:
        return {}
    names = sorted(set().union(*points))
    table = _table(points, names)
    edges = np.linspace(0, len(points), min(len(points), CURVE_POINTS) + 1).astype(int)
    columns = {}
    for name, column in zip(names, table, strict=True):
        if name in ("iteration", "progress", "seconds"):
            columns[name] = column[edges[1:] - 1]
        else:
            columns[name] = np.add.reduceat(column, edges[:-1]) / np.diff(edges)
    return columns


def _table(points: Sequence[Point], names: Sequence[str]) -> NDArray[np.float64]:
    """The values by name, [names, points]; None and what is missing become NaN."""
    read = itemgetter(*names, names[0])  # the last: a tuple also where there is one name
    try:
        rows = list(map(read, points))
    except KeyError:  # some points lack some names
        rows = [tuple(point.get(name) for name in (*names, names[0])) for point in points]
    return np.array(rows, dtype=np.float64).T[:-1]
