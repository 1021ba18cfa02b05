"""The record of a run: all that a report needs, in one folder, readable while the run is going.

    record.json         written whole at the start ("running") and again at the end
    curves.jsonl        appended while running: points of the curves, and validations, a line each
    detections.parquet, truth.parquet, images.parquet    the dump of the test split

Percentages are 0..100, times are seconds, None is "undefined", never 0. No torch is imported here.
"""

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from experiments.record import origin as provenance
from experiments.record import typed
from experiments.record.curves import (
    CURVES_FILE,
    Curves,
    CurveWriter,
    read_curves,
    read_metrics,
)
from experiments.record.files import write_bytes
from experiments.record.origin import config_hash, file_hash
from experiments.record.parts import (
    Arithmetic,
    ClassMetrics,
    Compact,
    CurveFile,
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
    Tape,
    Validation,
)
from experiments.record.typed import RecordError

__all__ = [
    "CURVES_FILE",
    "ClassMetrics",
    "Compact",
    "CurveFile",
    "CurveWriter",
    "Curves",
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
    "Tape",
    "Validation",
    "changed_files",
    "describe_file",
    "find_records",
    "is_finished",
    "load_record",
    "read_curves",
    "read_metrics",
    "start_record",
    "timestamp",
    "with_curves",
    "write_record",
]

FORMAT = 1
RECORD_FILE = "record.json"

Status = Literal["running", "finished", "failed", "interrupted"]


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
    tape: Tape | None = None  # not in records of before there were tapes
    ranks: int = 1  # processes that trained together
    images_an_update: int | None = None  # of all ranks
    loss: LossFacts = LossFacts()
    curves: tuple[Point, ...] = ()
    curve_file: CurveFile | None = None  # records of before have none: `curves` are all points
    validations: tuple[Validation, ...] = ()
    metrics: Metrics | None = None
    val_metrics: Metrics | None = None  # of the same weights on val, to choose by; None: no own val
    files: dict[str, File] = field(default_factory=dict)
    compact: Compact | None = None  # None: all that the run left is here
    ended: str | None = None  # why training ended before its last iteration: patience or seconds
    error: Failure | None = None
    unknown: tuple[str, ...] = ()  # keys of a later version, which this one left out
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; numbers that JSON cannot hold (NaN, infinity) become None."""
        return cast(dict[str, Any], typed.plain(self))


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
    """Write `record.json` whole or not at all; returns its path.

    A compact one is on one line. Raises RecordError where a finished record would get another
    status, WriteError where the system refuses.
    """
    path = folder / RECORD_FILE
    if record.status != "finished" and is_finished(folder):
        raise RecordError(f"{path}: holds a finished run, which '{record.status}' does not replace")
    text = typed.encode(record)
    text = msgspec.json.format(text, indent=1) if record.compact is None else text
    write_bytes(path, text + b"\n")
    return path


def is_finished(folder: Path) -> bool:
    """Whether the folder holds the record of a finished run."""
    try:
        return _STATUS.decode((folder / RECORD_FILE).read_bytes()).status == "finished"
    except (OSError, msgspec.MsgspecError):
        return False


def load_record(folder: Path) -> RunRecord:
    """Read and check a run's record; of a run that is going or was cut off, with its curves so far.

    Raises RecordError: no record, broken JSON, another format, a type that does not fit, a key that
    is missing, or a config that is not the one `config_hash` was taken of.
    """
    path = folder / RECORD_FILE
    values = _read_json(path)
    if not isinstance(values, dict):
        raise RecordError(f"{path}: expected an object, found {type(values).__name__}")
    if values.get("format") != FORMAT:
        raise RecordError(f"{path}: format: found {values.get('format')!r}, allowed: {FORMAT}")
    record = typed.read(RunRecord, values, str(path))
    unknown = {*record.unknown, *typed.unknown_keys(RunRecord, values)}
    record = dataclasses.replace(record, unknown=tuple(sorted(unknown)))
    if config_hash(record.config) != record.config_hash:
        raise RecordError(f"{path}: config_hash: the config is not the one that was run")
    complete = record.status != "running" and (record.curves or record.validations)
    if complete or not (folder / CURVES_FILE).exists():
        return record
    return with_curves(record, read_curves(folder / CURVES_FILE))


def with_curves(record: RunRecord, curves: Curves) -> RunRecord:
    """The record with what its curves file says."""
    return dataclasses.replace(
        record, curves=curves.points, validations=curves.validations, curve_file=curves.file
    )


def find_records(folder: Path) -> list[Path]:
    """All run folders at or below `folder`, sorted by path.

    What lies inside a run's folder is the run's own: W&B's mirror keeps a copy of the record there.
    Links to folders are followed, none twice.
    """
    found = []
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        known = os.stat(place)
        if (known.st_dev, known.st_ino) in seen:
            folders.clear()
            continue
        seen.add((known.st_dev, known.st_ino))
        if RECORD_FILE in files:
            found.append(Path(place))
            folders.clear()
    return sorted(found)


class _StatusAlone(msgspec.Struct):
    status: str


_STATUS = msgspec.json.Decoder(_StatusAlone)


def _read_json(path: Path) -> Any:
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise RecordError(f"{path}: no such file; a run's folder holds one") from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    return typed.parse(text, str(path))
