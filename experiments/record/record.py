"""The record of a run: all that a report needs, in one folder, readable while the run is going.

    record.json         written whole at the start ("running") and again at the end
    curves.jsonl        appended while running: points of the curves, and validations, a line each
    detections.parquet, truth.parquet, images.parquet    the dump of the test split

Percentages are 0..100, times are seconds, None is "undefined", never 0. No torch is imported here.
"""

import dataclasses
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

import orjson

from experiments.config.strict import Reader, Where
from experiments.errors import ConfigError, UserError
from experiments.record import origin as provenance
from experiments.record.files import write_text
from experiments.record.lines import Appender, BrokenLineError, read_lines
from experiments.record.origin import config_hash, file_hash
from experiments.record.parts import (
    Arithmetic,
    ClassMetrics,
    Data,
    Failure,
    File,
    Hardware,
    LossFacts,
    Memory,
    Metrics,
    Point,
    Seconds,
    Split,
    Validation,
)

__all__ = [
    "CURVES_FILE",
    "ClassMetrics",
    "CurveWriter",
    "Data",
    "FORMAT",
    "Failure",
    "File",
    "Hardware",
    "LossFacts",
    "Memory",
    "Metrics",
    "Point",
    "RECORD_FILE",
    "RecordError",
    "RunRecord",
    "Seconds",
    "Split",
    "Status",
    "Validation",
    "changed_files",
    "describe_file",
    "find_records",
    "load_record",
    "read_curves",
    "read_metrics",
    "start_record",
    "timestamp",
    "write_record",
]

FORMAT = 1
RECORD_FILE = "record.json"
CURVES_FILE = "curves.jsonl"

Status = Literal["running", "finished", "failed", "interrupted"]
_CURVES = tuple[Point, ...]
_CLASSES = dict[str, ClassMetrics]
_CLASS_NAMES = tuple(field.name for field in dataclasses.fields(ClassMetrics))
_NUMBER = {float, int, type(None)}
_SCALARS = {float, int, str, bool}
_PERCENT = float | None
_PERCENTS = {float, type(None)}


class RecordError(UserError):
    """A record that cannot be read; says which file and key, what was found and what is allowed."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. `arm` names what is compared; its runs differ in seed and share `config_hash`."""

    id: str
    arm: str
    status: Status
    started: str
    config: dict[str, Any]
    config_hash: str
    seed: int
    versions: dict[str, str]
    hardware: Hardware
    finished: str | None = None
    seconds: Seconds = Seconds()
    memory: Memory | None = None  # not in records of before it was measured
    overrides: dict[str, Any] = field(default_factory=dict)
    commit: str | None = None
    dirty: bool = False
    data: Data | None = None
    arithmetic: Arithmetic | None = None  # not in records of before it was chosen here
    ranks: int = 1  # processes that trained together
    images_an_update: int | None = None  # of all ranks
    loss: LossFacts = LossFacts()
    curves: tuple[Point, ...] = ()
    validations: tuple[Validation, ...] = ()
    metrics: Metrics | None = None
    files: dict[str, File] = field(default_factory=dict)
    ended: str | None = None  # why training ended before its last iteration: patience or seconds
    error: Failure | None = None
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; numbers that JSON cannot hold (NaN, infinity) become None."""
        return cast(dict[str, Any], _plain(dataclasses.asdict(self)))


def start_record(
    *,
    id: str,
    arm: str,
    config: Mapping[str, Any],
    seed: int,
    overrides: Mapping[str, Any] | None = None,
    checkout: Path | None = None,
    gpus: Sequence[str] | None = None,
    data: Data | None = None,
) -> RunRecord:
    """A "running" record of now and this machine; `checkout` defaults to the one this file is in.

    `gpus` are the devices the run uses; None lists all that the driver knows.
    """
    commit, dirty = provenance.commit_of(checkout or Path(__file__).parent)
    return RunRecord(
        id=id,
        arm=arm,
        status="running",
        started=timestamp(),
        config=dict(config),
        config_hash=config_hash(config),
        seed=seed,
        versions=provenance.versions(),
        hardware=Hardware(
            cpu=provenance.cpu_name(),
            cores=provenance.core_count(),
            memory_gib=provenance.memory_gib(),
            gpus=provenance.gpu_names() if gpus is None else tuple(gpus),
        ),
        overrides=dict(overrides or {}),
        commit=commit,
        dirty=dirty,
        data=data,
    )


def timestamp() -> str:
    """Now, in UTC, as ISO 8601 to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())


def describe_file(path: Path) -> File:
    """The entry of `RunRecord.files` for a file of the run's folder."""
    return File(path=path.name, sha256=file_hash(path))


def changed_files(folder: Path, record: RunRecord) -> list[str]:
    """The names of the record's files that are gone or whose bytes are not the recorded ones."""
    paths = {name: folder / entry.path for name, entry in record.files.items()}
    return [
        name
        for name, path in paths.items()
        if not path.is_file() or file_hash(path) != record.files[name].sha256
    ]


def write_record(folder: Path, record: RunRecord) -> Path:
    """Write `record.json` whole or not at all; returns its path."""
    path = folder / RECORD_FILE
    write_text(path, json.dumps(record.to_json(), indent=1, allow_nan=False) + "\n")
    return path


def load_record(folder: Path) -> RunRecord:
    """Read and check a run's record; of a run that is going or was cut off, with its curves so far.

    Raises RecordError: no record, broken JSON, another format, a key or type that does not fit, or
    a config that is not the one `config_hash` was taken of.
    """
    path = folder / RECORD_FILE
    values = _read_json(path)
    if not isinstance(values, dict):
        raise RecordError(f"{path}: expected an object, found {type(values).__name__}")
    if values.get("format") != FORMAT:
        raise RecordError(f"{path}: format: found {values.get('format')!r}, allowed: {FORMAT}")
    record: RunRecord = _read(RunRecord, values, str(path))
    if config_hash(record.config) != record.config_hash:
        raise RecordError(f"{path}: config_hash: the config is not the one that was run")
    complete = record.status != "running" and (record.curves or record.validations)
    if complete or not (folder / CURVES_FILE).exists():
        return record
    points, validations = read_curves(folder / CURVES_FILE)
    return dataclasses.replace(record, curves=points, validations=validations)


def find_records(folder: Path) -> list[Path]:
    """All run folders at or below `folder`, sorted by path.

    What lies inside a run's folder is the run's own: W&B's mirror keeps a copy of the record there.
    """
    found = []
    for place, folders, files in os.walk(folder):
        if RECORD_FILE in files:
            found.append(Path(place))
            folders.clear()
    return sorted(found)


class CurveWriter:
    """Appends points and validations to `curves.jsonl`; use as a context manager, or `close`."""

    def __init__(self, folder: Path) -> None:
        self._log = Appender(folder / CURVES_FILE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def point(self, values: Mapping[str, float | None]) -> None:
        """Append one point; `iteration` is needed, NaN and infinity are kept as None."""
        if not isinstance(values.get("iteration"), int):
            raise ValueError(f"iteration: a point needs one, found {sorted(values)}")
        self._log.append(_plain(dict(values)))

    def validation(self, iteration: int, metrics: Metrics | Mapping[str, Any]) -> None:
        """Append the numbers measured at `iteration`; they are on the disk when this returns."""
        if not isinstance(metrics, Metrics):
            metrics = read_metrics(metrics)
        self._log.append(_plain({"iteration": iteration, "metrics": dataclasses.asdict(metrics)}))
        self._log.sync()

    def close(self) -> None:
        """Sync and close; a second call does nothing."""
        self._log.close()


def read_curves(path: Path) -> tuple[tuple[Point, ...], tuple[Validation, ...]]:
    """Read `curves.jsonl`: points and validations, each in order of iteration.

    A torn last line is left out. Where a resumed run went back to an earlier iteration, what came
    after it there replaces what was written before. Raises RecordError for a line that is no entry.
    """
    points: list[Point] = []
    validations: list[Validation] = []
    try:
        for place, values in read_lines(path):
            if "metrics" in values:
                validation: Validation = _read(Validation, values, place)
                validations = _before(validation.iteration, validations) + [validation]
                continue
            point: Point = _read(dict[str, float | int | None], values, place)
            iteration = point.get("iteration")
            if iteration is None:
                raise RecordError(f"{place}: missing 'iteration'")
            if points and cast(float, points[-1]["iteration"]) >= iteration:
                points = [old for old in points if cast(float, old["iteration"]) < iteration]
                validations = _before(iteration, validations)
            points.append(point)
    except BrokenLineError as error:
        raise RecordError(str(error)) from error
    return tuple(points), tuple(validations)


def _before(iteration: float, validations: list[Validation]) -> list[Validation]:
    return [validation for validation in validations if validation.iteration < iteration]


def read_metrics(values: Mapping[str, Any]) -> Metrics:
    """Metrics from the dictionary that `evaluation.evaluate` returns; raises RecordError."""
    metrics: Metrics = _read(Metrics, values, "metrics")
    return metrics


class _JsonReader(Reader):
    """The strict reader of settings; parts without a declared shape pass as they are."""

    def read(
        self, kind: Any, value: Any, where: Where, key: str = "", *, kept: bool = False
    ) -> Any:
        # Points and percentages are most of a record: the general way, which words the errors,
        # takes 30 times as long and is left to what does not fit.
        if type(value) is kind and kind in _SCALARS:
            return value
        if kind == _PERCENT and (value is None or type(value) is float):
            return value
        if kind == _CURVES and _fits_curves(value):
            return tuple(value)
        if kind == _CLASSES and type(value) is dict and all(map(_fits_class, value.values())):
            return {name: ClassMetrics(*row.values()) for name, row in value.items()}
        return value if kind is Any else super().read(kind, value, where, key)


def _fits_curves(value: Any) -> bool:
    """True for a list of objects whose values are numbers or null."""
    if not isinstance(value, list) or set(map(type, value)) - {dict}:
        return False
    return _NUMBER.issuperset(map(type, chain.from_iterable(map(dict.values, value))))


def _fits_class(value: Any) -> bool:
    """True for what ClassMetrics was written as: its names, floats or null, then whole numbers."""
    if type(value) is not dict or tuple(value) != _CLASS_NAMES:
        return False
    kinds = tuple(map(type, value.values()))
    return kinds[4:] == (int, int, int) and _PERCENTS.issuperset(kinds[:4])


def _read(kind: Any, value: Any, place: str) -> Any:
    try:
        return _JsonReader(()).read(kind, value, lambda key: place)
    except ConfigError as error:
        raise RecordError(str(error)) from error


def _read_json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())  # 0.7 ms a record, json 2.6 ms
    except FileNotFoundError as error:
        raise RecordError(f"{path}: no such file; a run's folder holds one") from error
    except orjson.JSONDecodeError as error:
        raise RecordError(f"{path}:{error.lineno}: broken JSON: {error.msg}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
