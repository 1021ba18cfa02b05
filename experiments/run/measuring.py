"""A trained detector to numbers: detections and truth of a split, dumped once, then measured."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from datasets.dataset import Dataset
from datasets.sample import Batch
from detectors.base import AnyDetector, Detections
from experiments.config.run import RunConfig
from experiments.engine import distributed
from experiments.engine.frames import Frame
from experiments.engine.inference import detect_batches
from experiments.evaluation import DetectionCollector, Tables, TruthCollector, evaluate, write_dump
from experiments.record.parts import Arithmetic
from experiments.record.record import File, describe_file
from experiments.run.assembly import batches_in_order
from experiments.run.progress import shown
from experiments.run.tape import Tapes


@dataclass(frozen=True, slots=True)
class Measured:
    """The tables of one evaluation and the metrics computed from them, as the record keeps them."""

    detections: pd.DataFrame
    truth: pd.DataFrame
    images: pd.DataFrame
    metrics: dict[str, Any]
    seconds: float


def measure(
    config: RunConfig,
    arithmetic: Arithmetic,
    detector: AnyDetector,
    dataset: Dataset,
    split: str,
    tapes: Tapes | None = None,
) -> Measured:
    """Detect on every image of `dataset` and compute all metrics; `tapes`: of a run, if it has any.

    Of several ranks each detects on its share; every one gets all detections, and the metrics that
    the first computed.
    """
    began = time.perf_counter()
    if tapes is None:
        batches: Iterable[Batch | Frame] = batches_in_order(config, dataset, detector)
    else:
        batches = tapes.split(split, dataset, detector)
    table = _detections(detect_batches(detector, batches, arithmetic), dataset, split)
    truth, images = truth_tables(dataset)
    metrics: dict[str, Any] = {}
    if distributed.is_first():
        metrics = evaluate(table, truth, images, dataset.classes, split=split)
    metrics = distributed.shared(metrics)
    return Measured(table, truth, images, metrics, time.perf_counter() - began)


def _detections(
    found: Iterable[tuple[str, Detections]], dataset: Dataset, split: str
) -> pd.DataFrame:
    """Each image's detections once, in the order of the data set."""
    if distributed.is_first():
        found = shown(found, f"detecting on {split}", len(dataset) // distributed.world())
    ranks = distributed.gathered(list(found))
    collected = DetectionCollector()
    for index in range(len(dataset)):
        image_id, each = ranks[index % len(ranks)][index // len(ranks)]
        collected.add(image_id, each.boxes_D4, each.scores_D, each.labels_D)
    return collected.table()


def truth_tables(dataset: Dataset) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The truth and images tables of a split."""
    truth = TruthCollector()
    for index in range(len(dataset)):
        labels = dataset.annotation(index)
        height, width = labels.size_hw
        truth.add(
            labels.image_id,
            width=width,
            height=height,
            path=str(labels.path),
            boxes_N4=labels.boxes_N4,
            labels_N=labels.labels_N,
            difficult_N=labels.difficult_N,
            crowd_N=labels.crowd_N,
            area_N=labels.area_N,
            turn=labels.turn,
        )
    return truth.tables()


def dump(measured: Measured, folder: Path, classes: tuple[str, ...]) -> dict[str, File]:
    """Write the three tables beside the record; returns the record's entries for them."""
    tables = Tables(measured.detections, measured.truth, measured.images, classes)
    return {name: describe_file(path) for name, path in write_dump(folder, tables).items()}
