"""One run from configuration to record: train, measure, write everything down, whatever happens."""

import dataclasses
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets.dataset import Dataset
from datasets.sample import Batch
from detectors.base import AnyDetector
from experiments.assembly import Splits, batches_from, build_detector, fit_plan, open_splits
from experiments.config import RunConfig, arm_name, plain_config
from experiments.engine.fit import Fit, Fitted
from experiments.errors import UsageError
from experiments.loss_preparation import prepare_loss
from experiments.measuring import Measured, dump, measure
from experiments.progress import TrainProgress
from experiments.provenance import config_hash
from experiments.record import (
    RECORD_FILE,
    CurveWriter,
    Data,
    Failure,
    LossFacts,
    RunRecord,
    Seconds,
    Split,
    load_record,
    read_metrics,
    start_record,
    timestamp,
    write_record,
)
from experiments.tracking import Tracker, open_tracker
from experiments.yaml_source import parse_overrides
from losses.base import ScheduledLoss

PROBLEMS_SHOWN = 5
DIFFERENCES_SHOWN = 3


def default_folder(path: Path, config: RunConfig) -> Path:
    """`runs/<config>-<hash>-seed<n>`: another configuration or seed gets another folder."""
    short = config_hash(plain_config(config))[:8]
    return Path("runs") / f"{path.parent.name}-{path.stem}-{short}-seed{config.seed}"


def train_run(config: RunConfig, folder: Path, overrides: Sequence[str] = ()) -> RunRecord:
    """Train and measure one run in `folder`, going on where an earlier sitting stopped.

    A finished run is returned as it is. A failed one leaves its record with the error, which is
    also
    printed; errors of the user's making (bad data, bad values) are raised after that.
    """
    finished = _finished(folder, config)
    if finished is not None:
        print(f"{folder}: already finished; its record stands", file=sys.stderr)
        return finished
    record = start_record(
        id=folder.name,
        arm=arm_name(config),
        config=plain_config(config),
        seed=config.seed,
        overrides=parse_overrides(overrides),
    )
    write_record(folder, record)
    began = time.perf_counter()
    mirrors: list[Tracker] = []  # one, once there are data to train on
    try:
        record = _train_and_measure(config, folder, record, mirrors)
    except Exception as error:
        record = dataclasses.replace(record, status="failed", error=_failure(error))
        if isinstance(error, ValueError):
            raise UsageError(str(error)) from error
        traceback.print_exc()
    finally:
        seconds = dataclasses.replace(record.seconds, total=time.perf_counter() - began)
        record = dataclasses.replace(record, finished=timestamp(), seconds=seconds)
        write_record(folder, record)
        for tracker in mirrors:
            tracker.finish(record)
    return record


def _train_and_measure(
    config: RunConfig, folder: Path, record: RunRecord, mirrors: list[Tracker]
) -> RunRecord:
    splits = open_splits(config)
    data = _describe(splits)
    detector = build_detector(config, splits.train.classes)
    loss, facts = _prepared(config, splits, detector)
    record = dataclasses.replace(record, data=data, loss=facts)
    write_record(folder, record)
    _tell_problems(data)
    tracker = open_tracker(
        config.tracking.wandb,
        folder,
        project=config.tracking.project,
        group=record.arm,
        config=record.config,
    )
    mirrors.append(tracker)
    with CurveWriter(folder) as curves:
        fitted = _fit(config, folder, record, splits, detector, loss, curves, tracker)
    record = _with_curves(record, folder, fitted)
    return _measured(config, folder, record, splits, fitted) if fitted.finished else record


def _prepared(
    config: RunConfig, splits: Splits, detector: AnyDetector
) -> tuple[ScheduledLoss, LossFacts]:
    first: Batch | None = None
    if config.train.match_gradient:
        first = next(iter(batches_from(config, splits.train, detector, 0)))
    return prepare_loss(config, splits.train, detector, first)


def _fit(
    config: RunConfig,
    folder: Path,
    record: RunRecord,
    splits: Splits,
    detector: AnyDetector,
    loss: ScheduledLoss,
    curves: CurveWriter,
    tracker: Tracker,
) -> Fitted:
    validation = _Validation(config, curves, tracker)

    def mirror(row: dict[str, float | None]) -> None:
        tracker.log(row, int(row["iteration"] or 0))

    sinks: list[Any] = [curves.point, mirror]
    fit = Fit(
        detector,
        lambda start: batches_from(config, splits.train, detector, start),
        folder,
        fit_plan(config, splits.train.classes, loss),
        sinks=sinks,
        validate=validation,
    )
    with TrainProgress(record.arm, config.train.iterations, fit.start) as progress:
        sinks.append(progress)
        return fit.run()


class _Validation:
    """Measures the validation split in the middle of training; it is opened at first use."""

    def __init__(self, config: RunConfig, curves: CurveWriter, tracker: Tracker) -> None:
        self._config = config
        self._curves = curves
        self._tracker = tracker
        self._dataset: Dataset | None = None

    def __call__(self, detector: AnyDetector, iteration: int) -> None:
        if self._dataset is None:
            data: Any = self._config.data
            self._dataset = data.open("val")
        metrics = measure(self._config, detector, self._dataset, "val").metrics
        self._curves.validation(iteration, metrics)
        self._tracker.validated(metrics, iteration)


def _measured(
    config: RunConfig, folder: Path, record: RunRecord, splits: Splits, fitted: Fitted
) -> RunRecord:
    measured: Measured = measure(config, fitted.detector, splits.measured, splits.measured_name)
    files = dump(measured, folder, splits.measured.classes)
    seconds = dataclasses.replace(record.seconds, evaluate=measured.seconds)
    metrics = read_metrics(measured.metrics)
    print(
        f"{record.arm}: {metrics.voc07_map:.2f} mAP (VOC07), {metrics.coco_ap:.2f} AP (COCO) "
        f"on {len(splits.measured)} {splits.measured_name} images"
        if metrics.voc07_map is not None and metrics.coco_ap is not None
        else f"{record.arm}: no objects to measure on",
        file=sys.stderr,
    )
    return dataclasses.replace(
        record, status="finished", metrics=metrics, files=files, seconds=seconds
    )


def _with_curves(record: RunRecord, folder: Path, fitted: Fitted) -> RunRecord:
    """The record with what its curves file holds, rows of earlier sittings included."""
    running = load_record(folder)
    return dataclasses.replace(
        record,
        status="interrupted",
        curves=running.curves,
        validations=running.validations,
        seconds=Seconds(train=fitted.seconds),
    )


def _finished(folder: Path, config: RunConfig) -> RunRecord | None:
    if not (folder / RECORD_FILE).is_file():
        return None
    record = load_record(folder)
    differing = list(_differing(record.config, plain_config(config)))
    if differing:
        more = "; ..." if len(differing) > DIFFERENCES_SHOWN else ""
        raise UsageError(
            f"{folder}: holds a run of another configuration "
            f"({'; '.join(differing[:DIFFERENCES_SHOWN])}{more}): choose another --out, or remove "
            "the folder"
        )
    return record if record.status == "finished" else None


def _differing(old: Any, new: Any, key: str = "") -> Iterator[str]:
    """What differs between two configurations, as `key: then, now`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from _differing(old.get(name), new.get(name), f"{key}.{name}".strip("."))
    elif old != new:
        yield f"{key}: {old!r} there, {new!r} now"


def _describe(splits: Splits) -> Data:
    described = {"train": splits.train, splits.measured_name: splits.measured}
    problems = [str(problem) for dataset in described.values() for problem in dataset.problems]
    return Data(
        classes=splits.train.classes,
        problems=tuple(problems),
        **{name: _split(dataset) for name, dataset in described.items()},
    )


def _split(dataset: Dataset) -> Split:
    labels = [dataset.annotation(index) for index in range(len(dataset))]
    ignored = sum(int(label.ignore_N.sum()) for label in labels)
    objects = sum(len(label.ignore_N) for label in labels) - ignored
    return Split(images=len(dataset), objects=objects, ignored=ignored, hash=dataset.content_hash())


def _tell_problems(data: Data) -> None:
    for problem in data.problems[:PROBLEMS_SHOWN]:
        print(f"label: {problem}", file=sys.stderr)
    more = len(data.problems) - PROBLEMS_SHOWN
    if more > 0:
        print(
            f"label: {more} more; all are in {RECORD_FILE} and in the 'doctor' verb's list",
            file=sys.stderr,
        )


def _failure(error: BaseException) -> Failure:
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return Failure(type=type(error).__name__, message=str(error), where=where)
