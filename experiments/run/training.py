"""One run from configuration to record: train, measure, write everything down, whatever happens."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets.dataset import Dataset
from datasets.sample import Batch
from detectors.base import AnyDetector
from experiments.config.resolve import parse_words
from experiments.config.run import RunConfig, arm_of, deciding, plain_config
from experiments.engine import distributed
from experiments.engine.arithmetic import (
    choose,
    computes_bfloat16,
    cost_of_emulation,
    device_here,
)
from experiments.engine.fit import Fit, Fitted
from experiments.engine.hooks import Interrupted, RowSink, Stop, raise_on_signals
from experiments.engine.machine import peak_memory, prepared, product_gflops
from experiments.errors import UsageError
from experiments.record.origin import config_hash
from experiments.record.parts import Arithmetic
from experiments.record.record import (
    CURVES_FILE,
    RECORD_FILE,
    CurveWriter,
    LossFacts,
    Metrics,
    RunRecord,
    Seconds,
    read_curves,
    read_metrics,
    start_record,
    timestamp,
    with_curves,
    write_record,
)
from experiments.run.assembly import (
    Splits,
    TrainingBatches,
    build_detector,
    describe,
    fit_task,
    loader_workers,
    open_splits,
    require_objects,
)
from experiments.run.choosing import open_val, require_unseen, shared_by
from experiments.run.earlier import begun_in, earlier_sitting, only_process, require_same_data
from experiments.run.loss_preparation import prepare_loss
from experiments.run.progress import TrainProgress
from experiments.run.tape import Tapes
from experiments.run.telling import (
    failure,
    tell_failure,
    tell_slow,
    tell_start,
    told_as,
)
from experiments.tracking.owed import mirror_finished, send_owed
from experiments.tracking.wandb import Tracker, open_tracker
from losses.base import ScheduledLoss

if TYPE_CHECKING:
    from experiments.run.measuring import Measured

_WHY = {
    Stop.PATIENCE: "no better validation for as long as train.patience allows; stopped",
    Stop.SECONDS: "train.seconds is used up; stopped",
}


def default_folder(path: Path, config: RunConfig) -> Path:
    """`runs/<config>-<hash>-seed<n>`: what has another result gets another folder."""
    short = config_hash(deciding(config))[:8]
    return Path("runs") / f"{path.parent.name}-{path.stem}-{short}-seed{config.seed}"


def train_run(
    config: RunConfig,
    folder: Path,
    overrides: Sequence[str] = (),
    *,
    tape_gib: float | None = None,
) -> RunRecord:
    """Train and measure one run in `folder`, going on where an earlier sitting stopped.

    `tape_gib` bounds its tapes, where it has any (`train.tape`).

    A finished run is returned as it is. A failed one leaves its record with the error, which is
    also printed; errors of the user's making (bad data, bad values, a folder that another process
    trains in) are raised after that.
    """
    with only_process(folder):
        plain, arm = plain_config(config), arm_of(config)
        earlier = earlier_sitting(folder, plain)
        if earlier is not None and earlier.status == "finished":
            print(f"{folder}: already finished; its record stands", file=sys.stderr)
            if distributed.is_first():
                mirror_finished(folder, earlier, plain["tracking"])
            return earlier
        record = start_record(
            id=folder.name,
            arm=arm,
            config=plain,
            seed=config.seed,
            overrides={key: node.value for key, node in parse_words(overrides)},
        )
        return _sitting(config, folder, record, earlier, tape_gib)


def _sitting(
    config: RunConfig,
    folder: Path,
    record: RunRecord,
    earlier: RunRecord | None,
    tape_gib: float | None,
) -> RunRecord:
    """This command's part of the run."""
    train = config.train
    with (
        prepared(train.threads, train.deterministic),
        distributed.joined(train.timeout, folder),
        raise_on_signals(),
    ):
        distributed.share_of(train.batch_size)
        record = dataclasses.replace(
            record,
            ranks=distributed.world(),
            images_an_update=train.images_an_update,
            hardware=dataclasses.replace(record.hardware, gflops=product_gflops()),
        )
        return _recorded_run(config, folder, record, earlier, tape_gib)


def _recorded_run(
    config: RunConfig,
    folder: Path,
    record: RunRecord,
    earlier: RunRecord | None,
    tape_gib: float | None,
) -> RunRecord:
    """The run with its record, which the first rank alone writes, whatever happens."""
    began = time.perf_counter()
    mirrors: list[Tracker] = []  # one, once there are data to train on
    try:
        _write(folder, record)  # in here: a signal may come as soon as there is a record
        record = _train_and_measure(config, folder, record, earlier, mirrors, tape_gib)
    except Interrupted:
        record = dataclasses.replace(record, status="interrupted")
    except Exception as error:
        told = told_as(error, config.train, folder)
        record = dataclasses.replace(record, status="failed", error=failure(told, error))
        distributed.leave_trace(folder, told)
        if isinstance(told, ValueError):
            raise UsageError(str(told)) from error
        tell_failure(told, error)
    finally:
        seconds = dataclasses.replace(record.seconds, total=time.perf_counter() - began)
        memory = peak_memory(loader_workers(config))
        record = dataclasses.replace(record, finished=timestamp(), seconds=seconds, memory=memory)
        _write_last(folder, record)
        reached = [tracker.finish(record) for tracker in mirrors]
    if any(reached) and record.status == "finished":  # W&B is there: what others owe goes too
        send_owed(other for other in folder.parent.iterdir() if other != folder)
    return record


def _train_and_measure(
    config: RunConfig,
    folder: Path,
    record: RunRecord,
    earlier: RunRecord | None,
    mirrors: list[Tracker],
    tape_gib: float | None,
) -> RunRecord:
    with distributed.in_turn():
        splits = dataclasses.replace(open_splits(config), val=open_val(config))
    require_objects(splits, config.data.root)
    shared = distributed.shared(shared_by(splits) if distributed.is_first() else {})
    require_unseen(config, splits, shared)
    data = describe(splits, shared)
    if earlier is not None:
        require_same_data(folder, earlier, data)
    detector = build_detector(config, splits.train.classes)
    begun = None if earlier is None else begun_in(earlier)
    arithmetic = _arithmetic(config, detector, begun)
    loss, facts = _prepared(config, arithmetic, splits, detector)
    tapes = Tapes(config, folder, arithmetic, detector, tape_gib)
    run = _Run(config, folder, arithmetic, splits, shared, detector, loss, tapes)
    record = dataclasses.replace(record, data=data, loss=facts, arithmetic=arithmetic)
    _write(folder, record)
    with contextlib.closing(tapes):
        with _listening(run, record, mirrors) as (rows, validations):
            fitted = run.fit(rows, validations)
        record = _measured(run, _ended(record, folder, fitted), fitted)
    if distributed.is_first():
        tell_slow([slow for dataset in splits.named.values() for slow in dataset.slowly_decoded])
    return dataclasses.replace(record, tape=tapes.facts(), data=describe(splits, shared))


ValidationSink = Callable[[int, Mapping[str, Any]], None]  # of an iteration and its numbers


@dataclass(frozen=True, slots=True)
class _Run:
    """One run, built and ready to train."""

    config: RunConfig
    folder: Path
    arithmetic: Arithmetic
    splits: Splits
    shared: dict[str, int]
    detector: AnyDetector
    loss: ScheduledLoss
    tapes: Tapes

    def fit(
        self,
        rows: list[RowSink],
        validations: list[ValidationSink],
    ) -> Fitted:
        """Train to the end, or until something stops it, and tell who listens."""
        train, splits = self.splits.train, self.splits

        def validate(detector: AnyDetector, iteration: int) -> Mapping[str, Any]:
            val = splits.measured if splits.val is None else splits.val
            metrics = self.measure(detector, val, "val").metrics
            for listener in validations:
                listener(iteration, metrics)
            return metrics

        fit = Fit(
            self.detector,
            lambda start: self.tapes.train(train, self.detector, start),
            self.folder,
            fit_task(self.config, train.classes, self.loss, self.arithmetic),
            sinks=rows,
            validate=validate,
            file_names=train.files_of,
        )
        return fit.run()

    def measure(self, detector: AnyDetector, dataset: Dataset, split: str) -> "Measured":
        """All metrics of `detector` on a split, with its tables; of several ranks each takes part.

        Brings pandas, which training does not need before its first validation.
        """
        from experiments.run.measuring import measure

        return measure(self.config, self.arithmetic, detector, dataset, split, self.tapes)


def _arithmetic(config: RunConfig, detector: AnyDetector, begun: Arithmetic | None) -> Arithmetic:
    """What the run began in, else what is chosen now, the same on every rank; told if slow."""
    device = device_here()
    chosen: Arithmetic = distributed.shared(begun or choose(config.train, detector, device))
    if chosen.precision == "float16" and device.type == "cpu":
        raise UsageError("train.precision: this run began in float16, which needs a GPU")
    if chosen.precision == "bfloat16" and not computes_bfloat16(device)[0]:
        told = cost_of_emulation(device)
        if distributed.is_first():
            print(
                f"warning: this machine only emulates bfloat16 ({chosen.why}): a convolution takes "
                f"about {told:.0f} times as long as in float32 (measured now). train.precision="
                "float32 is faster here, and auto, the default, chooses it",
                file=sys.stderr,
            )
    return chosen


def _prepared(
    config: RunConfig, arithmetic: Arithmetic, splits: Splits, detector: AnyDetector
) -> tuple[ScheduledLoss, LossFacts]:
    first: Batch | None = None
    if config.train.match_gradient:
        first = next(iter(TrainingBatches(config, splits.train, detector).few([0])))
    return prepare_loss(config, splits.train, detector, arithmetic, first)


@contextlib.contextmanager
def _listening(
    run: _Run, record: RunRecord, mirrors: list[Tracker]
) -> Iterator[tuple[list[RowSink], list[ValidationSink]]]:
    """Who hears of the rows and of the validations of a training: its file, the terminal and the
    mirror, which joins `mirrors`; nobody but on the first rank.
    """
    if not distributed.is_first():
        yield [], []
        return
    tell_start(record)
    tracker = open_tracker(run.folder, record, record.config["tracking"])
    mirrors.append(tracker)

    def mirrored(row: dict[str, float | None]) -> None:
        tracker.log(row, int(row["iteration"] or 0))

    def tracked(iteration: int, metrics: Mapping[str, Any]) -> None:
        tracker.validated(metrics, iteration)

    with (
        CurveWriter(run.folder) as curves,
        TrainProgress(record.arm, run.config.train.iterations) as progress,
    ):
        yield [curves.point, progress, mirrored], [curves.validation, progress.validated, tracked]


def _measured(run: _Run, record: RunRecord, fitted: Fitted) -> RunRecord:
    if not fitted.finished:
        return record
    from experiments.run.measuring import dump

    splits = run.splits
    measured = run.measure(fitted.detector, splits.measured, splits.measured_name)
    on_val = _on_val(run, record, fitted)
    if not distributed.is_first():
        return dataclasses.replace(record, status="finished")
    files = dump(measured, run.folder, splits.measured.classes)
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
        record,
        status="finished",
        metrics=metrics,
        val_metrics=on_val,
        files=files,
        seconds=seconds,
    )


def _on_val(run: _Run, record: RunRecord, fitted: Fitted) -> Metrics | None:
    """The measured weights on val, by which a sweep or a report may choose; None where val is not a
    split of its own. Every rank asks, the first one's answer counts.
    """
    val = run.splits.val
    if val is None or run.shared.get(f"val/{run.splits.measured_name}"):
        return None
    last = record.validations[-1] if record.validations else None
    known = None
    if last is not None and last.iteration == fitted.iteration:
        known = last.metrics if run.config.train.measure == "last" else None
    if distributed.shared(known is not None):
        return known
    found = run.measure(fitted.detector, val, "val").metrics
    return read_metrics(found) if distributed.is_first() else None


def _ended(record: RunRecord, folder: Path, fitted: Fitted) -> RunRecord:
    """The record after training, with what its curves file holds, earlier sittings' rows too."""
    early = fitted.stop in (Stop.PATIENCE, Stop.SECONDS)
    record = dataclasses.replace(
        record,
        status="interrupted",
        ended=fitted.stop.name.lower() if early else None,
        seconds=Seconds(train=fitted.seconds),
    )
    if not distributed.is_first():
        return record
    if early:
        print(f"{record.arm}: {_WHY[fitted.stop]} at iteration {fitted.iteration}", file=sys.stderr)
    curves = read_curves(folder / CURVES_FILE)
    for line in curves.file.damaged:
        print(f"{folder}: {line}", file=sys.stderr)
    return with_curves(record, curves)


def _write(folder: Path, record: RunRecord) -> None:
    if distributed.is_first():
        write_record(folder, record)


def _write_last(folder: Path, record: RunRecord) -> None:
    """The record as it ends; on a full disk the one of the beginning stands."""
    try:
        _write(folder, record)
    except OSError as error:
        print(
            f"{folder / RECORD_FILE}: the end of this run is not in it: {error.strerror}",
            file=sys.stderr,
        )
