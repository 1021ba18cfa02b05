"""Is a report still what its records say? Every number is computed again; nothing is written to it.

Four links are checked: the report's files (against its manifest), its tables (made again from the
records), the records' files (against their hashes), and the metrics (from the detections).
"""

import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.evaluation.compact import unlike_as_printed
from experiments.evaluation.dump import read_dump
from experiments.evaluation.summary import evaluate
from experiments.evaluation.tables import EvaluationError
from experiments.record.origin import file_hash
from experiments.record.record import RecordError, RunRecord, changed_files, load_record
from experiments.report import ReportError, write_report
from experiments.report.evidence.diagnoses import STORE
from experiments.report.render import MANIFEST

LATER = "more."  # metrics that a record of before may lack
TOLERANCE = 1e-6  # percent; two builds of one evaluator differ by less


def verify(report: Path, *, metrics: bool = True) -> list[str]:
    """Everything in which the report in folder `report` differs from its records; empty if sound.

    `metrics` False leaves out computing the metrics from the detections, which takes longest.

    Raises:
        ReportError: the folder holds no report.
    """
    manifest = read_manifest(report)
    found = list(_changed_outputs(report, manifest["files"]))
    damaged = False
    for name, known in manifest["records"].items():
        lines, sound = _changed_record(report / name, known, metrics)
        found, damaged = found + lines, damaged or not sound
    # What is computed from detections is compared only where the records' files are sound.
    return found + list(_changed_tables(report, manifest, diagnose=metrics and not damaged))


def read_manifest(report: Path) -> dict[str, Any]:
    """What the report was made of.

    Raises:
        ReportError: the folder holds no manifest, or none of ours.
    """
    path = report / MANIFEST
    if not path.is_file():
        raise ReportError(f"{path}: no such file; give the folder that `report` wrote")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        known = {"format", "directories", "options", "records", "files"} <= set(manifest)
    except (ValueError, TypeError) as error:
        raise ReportError(f"{path}: not a manifest ({error})") from None
    if not known or manifest["format"] != 1:
        raise ReportError(f"{path}: not a manifest of format 1")
    return dict(manifest)


def _changed_outputs(report: Path, files: dict[str, str]) -> Iterator[str]:
    for name, known in files.items():
        path = report / name
        if not path.is_file():
            yield f"{path}: is gone"
        elif file_hash(path) != known:
            yield f"{path}: was changed after the report was made"


def _changed_record(folder: Path, known: str, metrics: bool) -> tuple[list[str], bool]:
    """What differs in one run's folder, and whether its files are the recorded ones."""
    path = folder / "record.json"
    if not path.is_file():
        return [f"{path}: is gone"], False
    found = [] if file_hash(path) == known else [f"{path}: was changed after the report was made"]
    try:
        record = load_record(folder)
    except RecordError as error:
        return [*found, str(error)], False
    changed = changed_files(folder, record)
    found += [f"{folder / record.files[name].path}: is not the file recorded" for name in changed]
    if metrics and record.files and record.metrics is not None and not changed:
        found += _changed_metrics(folder, record)
    return found, not changed


def _changed_metrics(folder: Path, record: RunRecord) -> list[str]:
    """The recorded numbers that the detections do not give again."""
    assert record.metrics is not None
    try:
        dump = read_dump(folder)
        again = evaluate(
            dump.detections, dump.truth, dump.images, dump.classes, split=record.metrics.split
        )
    except EvaluationError as error:
        return [f"{folder}: cannot be measured again: {error}"]
    recorded = record.to_json()["metrics"]
    if record.compact is not None:  # fewer bits give the numbers to the printed digit
        place = folder / "record.json"
        return [f"{place}: metrics.{line}" for line in unlike_as_printed(recorded, again)]
    ours = dict(_flat(recorded))
    return [
        f"{folder / 'record.json'}: metrics.{name}: recorded {ours.get(name)}, measured {value}"
        for name, value in _flat(again)
        if not _equal(ours.get(name), value) and (name in ours or not name.startswith(LATER))
    ]


def _changed_tables(report: Path, manifest: dict[str, Any], *, diagnose: bool) -> Iterator[str]:
    """Tables made again from the records; `diagnose`: also those made from detections."""
    directories = [report / name for name in manifest["directories"]]
    # A report of before questions were asked has none of them; figures are not compared.
    options = {"questions": False} | manifest["options"] | {"images": 0, "formats": ()}
    options |= {} if diagnose else {"diagnose": False}
    tables = [
        name for name in manifest["files"] if name.endswith((".csv", ".tex")) or name == STORE
    ]
    with tempfile.TemporaryDirectory() as scratch:
        again = Path(scratch)
        try:
            write_report(directories, again, **options)
        except ReportError as error:
            yield f"the tables cannot be made again: {error}"
            return
        for name in tables:
            path, made = report / name, again / name
            if path.is_file() and made.is_file() and path.read_bytes() != made.read_bytes():
                yield f"{path}: is not the table that the records give"


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _equal(one: Any, two: Any) -> bool:
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=0.0, abs_tol=TOLERANCE)
    return bool(one == two)
