"""Records made small enough to be committed: detections that decide something in whole pixels, the
others counted (`evaluation/compact.py`), curves thinned, truth and images once for all runs.

    FOLDER/records.json             what was left out of each; tells the folder as ours
    FOLDER/.../RUN/record.json      with the hashes of the files beside it, and `compact`
    FOLDER/.../RUN/detections.parquet, diagnosis.json
    FOLDER/.../truth-HASH/          truth.parquet and images.parquet of the runs beside it
"""

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.evaluation.anatomy import ANATOMY_FILE
from experiments.evaluation.compact import write_compacted
from experiments.evaluation.diagnosis import diagnose_run, write_diagnosis
from experiments.evaluation.dump import FILES
from experiments.evaluation.tables import EvaluationError
from experiments.record.curves import averaged
from experiments.record.files import SWEEP_FILE, whole_file, write_text
from experiments.record.parts import Compact
from experiments.record.record import (
    RECORD_FILE,
    RunRecord,
    changed_files,
    describe_file,
    find_records,
    load_record,
    write_record,
)
from experiments.report.load import ReportError, find_folders

LIST = "records.json"
MOST_POINTS = 48  # of curves: 10 kB of a record


def keep_records(directories: Sequence[Path], folder: Path, *, ours: bool) -> list[str]:
    """Write every record at or below `directories` to `folder`, in place of what was kept there
    before; gives what is to be said of it. `ours`: whether the folder is known to hold a gallery's.

    Raises ReportError: no record, a folder that holds something else, or what is to be kept.
    """
    find_folders(directories)  # names a folder that is missing or holds no record
    target = folder.resolve()
    for directory in directories:
        source = directory.resolve()
        if source == target or target in source.parents or source in target.parents:
            raise ReportError(f"{folder}: {directory} cannot be kept there: one holds the other")
    if folder.exists() and any(folder.iterdir()):
        if not ours and not (folder / LIST).is_file():
            raise ReportError(f"{folder}: is in the way, and no gallery made it")
    with _in_place_of(folder) as new:
        listed = _keep_all(directories, new)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return [f"records: {len(listed)} in {folder}, {size / 1e6:.1f} MB", *_told(listed)]


@contextlib.contextmanager
def _in_place_of(folder: Path) -> Iterator[Path]:
    """A folder to write to, which takes the place of `folder` when all is there; until then what
    was kept before stays.
    """
    new, old = (folder.with_name(f".{folder.name}.{name}") for name in ("new", "old"))
    for left in (new, old):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def _keep_all(directories: Sequence[Path], folder: Path) -> dict[str, dict[str, Any]]:
    """By the kept run's place, what was left out of it."""
    listed = {}
    for directory in directories:
        below = folder / directory.resolve().name if len(directories) > 1 else folder
        if (directory / SWEEP_FILE).is_file():  # its words and roles are the report's
            _copy(directory / SWEEP_FILE, below / SWEEP_FILE)
        for run in find_records(directory):
            place = run.relative_to(directory)
            kept = below / (place if place.parts else run.resolve().name)
            listed[kept.relative_to(folder).as_posix()] = _keep(run, kept)
    write_text(folder / LIST, json.dumps({"format": 1, "runs": listed}, indent=1) + "\n")
    return listed


def _told(listed: dict[str, dict[str, Any]]) -> Iterator[str]:
    small = [one for one in listed.values() if "kept" in one]
    if small:
        kept, left = sum(one["kept"] for one in small), sum(one["left_out"] for one in small)
        yield (
            f"compact: {kept:,} detections of {len(small)} runs kept, {left:,} that take no object"
            " of their class at any overlap counted by rank and size"
        )
    exact = sum(one["step"] is None for one in small)
    if exact:
        yield f"compact: {exact} of them with corners as they were, to print the same numbers"
    for name, one in listed.items():
        if one.get("whole"):
            yield f"{name}: kept whole: {one['whole']}"


def _keep(run: Path, target: Path) -> dict[str, Any]:
    """Keep one run, compactly where that can be; what was left out, or why it is whole."""
    record = load_record(run)
    if record.compact is not None:
        _copy_files(run, record, target)
        return dataclasses.asdict(record.compact)
    why = _why_whole(run, record)
    if not why:
        try:
            return _compact(run, record, target)
        except EvaluationError as error:
            why = str(error)
    _copy_files(run, record, target)
    if record.files:
        return {"whole": why}
    write_record(target, _thinned(record))
    return {}


def _why_whole(run: Path, record: RunRecord) -> str:
    if record.metrics is None or not record.files:
        return "it was not measured"
    if not set(FILES) <= set(record.files):
        return "it has no truth beside its detections"
    changed = changed_files(run, record)
    return f"{', '.join(changed)} changed since it was written" if changed else ""


def _compact(run: Path, record: RunRecord, target: Path) -> dict[str, Any]:
    shared = [record.files[kind].sha256 for kind in ("truth", "images")]
    place = f"truth-{hashlib.sha256(' '.join(shared).encode()).hexdigest()[:12]}"
    truth = target.parent / place
    for kind in ("truth", "images"):
        if not (truth / FILES[kind]).is_file():
            _copy(run / record.files[kind].path, truth / FILES[kind])
    metrics = record.to_json()["metrics"]
    done = write_compacted(run, metrics, target, f"../{place}")
    files = {
        "detections": describe_file(done.path),
        "diagnosis": describe_file(write_diagnosis(target, diagnose_run(run))),
    }
    for kind in ("truth", "images"):
        files[kind] = dataclasses.replace(record.files[kind], path=f"../{place}/{FILES[kind]}")
    compact = Compact(done.kept, done.left_out, done.step, record.files["detections"].sha256)
    write_record(target, dataclasses.replace(_thinned(record), files=files, compact=compact))
    if (run / ANATOMY_FILE).is_file():
        _copy(run / ANATOMY_FILE, target / ANATOMY_FILE)
    return dataclasses.asdict(compact)


def _thinned(record: RunRecord) -> RunRecord:
    points, curve_file = averaged(record.curves, record.curve_file, MOST_POINTS)
    return dataclasses.replace(record, curves=points, curve_file=curve_file)


def _copy_files(run: Path, record: RunRecord, target: Path) -> None:
    """The record and the files that it and the report name: in its folder, or shared beside it."""
    names = [RECORD_FILE, *(entry.path for entry in record.files.values()), ANATOMY_FILE]
    for name in names:
        parts = Path(name).parts
        here = len(parts) == 1 or (parts[0] == ".." and len(parts) == 3 and parts[1] != "..")
        if here and (run / name).is_file():
            _copy(run / name, target / name)


def _copy(source: Path, target: Path) -> None:
    with whole_file(target) as temporary:
        shutil.copyfile(source, temporary)
