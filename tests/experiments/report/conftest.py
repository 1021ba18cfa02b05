"""Synthetic studies on disk: real records, real Parquet dumps, real photographs where they are
there.
"""

import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from experiments.evaluation.dump import Tables, write_dump
from experiments.evaluation.tables import DETECTION_TYPES, IMAGE_TYPES, TRUTH_TYPES
from experiments.record.record import (
    Data,
    File,
    Hardware,
    Memory,
    Metrics,
    RunRecord,
    Seconds,
    Split,
    Validation,
    config_hash,
    file_hash,
    read_metrics,
    write_record,
)
from experiments.report.arms import slug

PHOTOGRAPHS = Path(__file__).parents[4] / "shared/data/BCCD"
PAINTED = 20  # objects on an image that stands in for one of them
CLASSES = ("Platelets", "RBC", "WBC")
Truth = dict[
    str, tuple[Path, int, int, np.ndarray, np.ndarray]
]  # id -> path, width, height, boxes, labels


@dataclass(frozen=True)
class Setting:
    """One arm of a synthetic study; `level` is its true mAP, `spread` the SD over seeds."""

    detector: str
    arm: str
    loss: dict[str, Any]
    level: float
    spread: float = 0.5


def focal(detector: str, alpha: float | None, gamma: Any, level: float) -> Setting:
    words = (
        f"linear {gamma['start']:g}-{gamma['end']:g}" if isinstance(gamma, dict) else f"{gamma:g}"
    )
    name = f"{detector} focal alpha {alpha} gamma {words}"
    return Setting(detector, name, {"name": "focal", "alpha": alpha, "gamma": gamma}, level)


def study() -> list[Setting]:
    """A grid over alpha and gamma with a soft-gamma arm, for both detectors."""
    ramp = {"schedule": "linear", "start": 0.0, "end": 2.0, "ramp": [0.0, 0.5]}
    arms = []
    for detector, level in (("yolov2", 70.0), ("retinanet", 82.0)):
        arms.append(
            Setting(detector, f"{detector} cross-entropy", {"name": "cross_entropy"}, level)
        )
        for alpha in (0.25, 0.5, 0.75):
            for gamma, gain in ((0.0, -0.8), (1.0, 1.1), (2.0, 2.4), (5.0, -2.0)):
                arms.append(
                    focal(
                        detector, alpha, gamma, level + gain - 4 * (alpha - 0.25) ** 2 * (1 + gamma)
                    )
                )
        arms.append(focal(detector, 0.25, ramp, level + 2.9))
    return arms


def photographs(count: int, scratch: Path) -> Truth:
    """Labelled test images: BCCD's where it is there, else painted ones."""
    if PHOTOGRAPHS.is_dir():
        names = (PHOTOGRAPHS / "ImageSets/Main/test.txt").read_text().split()[:count]
        return {name: _photograph(name) for name in names}
    return {f"painted_{index}": _painted(index, scratch) for index in range(count)}


def _photograph(name: str) -> tuple[Path, int, int, np.ndarray, np.ndarray]:
    root = ElementTree.parse(
        PHOTOGRAPHS / f"Annotations/{name}.xml"
    ).getroot()  # our own data, not input
    boxes = [
        [float(node.findtext(f"bndbox/{key}", "0")) for key in ("xmin", "ymin", "xmax", "ymax")]
        for node in root.iter("object")
    ]
    labels = [CLASSES.index(node.findtext("name", "")) for node in root.iter("object")]
    path = PHOTOGRAPHS / f"JPEGImages/{name}.jpg"
    with Image.open(path) as image:
        width, height = image.size
    return path, width, height, np.array(boxes).reshape(-1, 4), np.array(labels)


def _painted(index: int, scratch: Path) -> tuple[Path, int, int, np.ndarray, np.ndarray]:
    """As crowded as a blood smear: of few detections no bin of scores is worth a mark."""
    draw = np.random.default_rng(index)
    path = scratch / f"painted_{index}.jpg"
    Image.fromarray(draw.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(path)
    corners = draw.uniform(0, 40, (PAINTED, 2))
    boxes = np.concatenate([corners, corners + 15], axis=1)
    return path, 80, 60, boxes, draw.integers(0, 3, PAINTED)


def write_dumps(folder: Path, truth: Truth, quality: float, seed: int) -> dict[str, File]:
    """Truth, images and noisy detections; `quality` in 0..1 is the share of objects found."""
    draw = np.random.default_rng(seed)
    tables: dict[str, list[dict[str, Any]]] = {"truth": [], "images": [], "detections": []}
    for image, (path, width, height, boxes, labels) in truth.items():
        tables["images"].append(
            {"image_id": image, "width": width, "height": height, "path": str(path)}
        )
        for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
            corner = dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))
            area = (box[2] - box[0]) * (box[3] - box[1])
            tables["truth"].append(
                {
                    "image_id": image,
                    "label": label,
                    **corner,
                    "difficult": False,
                    "crowd": False,
                    "area": area,
                }
            )
            if draw.random() < quality:
                moved = {key: value + draw.normal(0, 3) for key, value in corner.items()}
                tables["detections"].append(
                    {"image_id": image, "label": label, "score": draw.uniform(0.3, 1), **moved}
                )
        for _ in range(draw.poisson(4 * (1 - quality))):
            x, y = draw.uniform(0, width * 0.8), draw.uniform(0, height * 0.8)
            wrong = {"x1": x, "y1": y, "x2": x + width * 0.15, "y2": y + height * 0.15}
            tables["detections"].append(
                {
                    "image_id": image,
                    "label": int(draw.integers(3)),
                    "score": draw.uniform(0.05, 0.7),
                    **wrong,
                }
            )
    found = {
        "detections": DETECTION_TYPES, "truth": TRUTH_TYPES, "images": IMAGE_TYPES
    }  # fmt: skip
    frames = {
        name: pd.DataFrame(tables[name], columns=list(types)).astype(types)
        for name, types in found.items()
    }
    paths = write_dump(folder, Tables(**frames, classes=CLASSES))
    return {name: File(path.name, file_hash(path)) for name, path in paths.items()}


def metrics(level: float, draw: np.random.Generator, classes: Sequence[str]) -> dict[str, Any]:
    """Invented but coherent numbers around a VOC07 mAP of `level` percent."""
    per_class = {}
    for index, label in enumerate(classes):
        ap = float(
            np.clip(level + 9 - 18 * index / max(1, len(classes) - 1) + draw.normal(0, 0.8), 0, 100)
        )
        per_class[label] = {
            "voc07_ap": ap,
            "voc_area_ap": ap + 1.3,
            "coco_ap": ap * 0.55,
            "coco_ap50": ap + 1.1,
            "objects": 4000 // (1 + index) ** 2,
            "difficult": 0,
            "detections": 4000,
        }
    mean = {
        key: float(np.mean([row[key] for row in per_class.values()]))
        for key in ("voc07_ap", "voc_area_ap", "coco_ap", "coco_ap50")
    }
    coco = mean["coco_ap"]
    return {
        "split": "test",
        "voc07_map": mean["voc07_ap"],
        "voc_area_map": mean["voc_area_ap"],
        "coco_ap": coco,
        "coco_ap50": mean["coco_ap50"],
        "coco_ap75": coco * 0.9,
        "coco_ap_small": None,
        "coco_ap_medium": coco * 0.8,
        "coco_ap_large": coco * 1.2,
        "per_class": per_class,
    }


def curves(
    loss: dict[str, Any], iterations: int, draw: np.random.Generator, points: int
) -> tuple[dict[str, float | None], ...]:
    gamma = loss.get("gamma", 0.0)
    out = []
    for step in np.linspace(iterations / points, iterations, points):
        progress = step / iterations
        now = (
            gamma
            if not isinstance(gamma, dict)
            else gamma["start"]
            + (gamma["end"] - gamma["start"]) * min(1.0, progress / gamma["ramp"][1])
        )
        value = (0.3 + 3 * np.exp(-5 * progress)) * 0.6**now * (1 + draw.normal(0, 0.06))
        point = {
            "iteration": int(step),
            "progress": progress,
            "seconds": step * 0.3,
            "loss": value,
            "gamma": now,
        }
        out.append(
            point
            | {"alpha": loss.get("alpha"), "images_per_second": 9 + draw.normal(0, 0.2), "lr": 0.01}
        )
    return tuple(out)


def write_run(
    folder: Path,
    setting: Setting,
    seed: int,
    *,
    classes: Sequence[str] = CLASSES,
    truth: Truth | None = None,
    status: str = "finished",
    points: int = 200,
    test_hash: str | None = "b",
    val_level: float | None = None,
    ended: str | None = None,
    share: float = 1.0,
    memory: Memory | None = None,
    **changes: Any,
) -> Path:
    """One run's folder; `changes` are top-level keys of the configuration. `val_level`: its mAP on
    a val of its own; `share` of the training was done when it `ended`.
    """
    folder.mkdir(parents=True)
    draw = np.random.default_rng(abs(hash((setting.level, seed))) % 2**32)
    config = {
        "data": {"name": "voc", "root": "data/BCCD"},
        "detector": {"name": setting.detector},
        "loss": setting.loss,
        "optimizer": {"lr": 0.01},
        "train": {"iterations": 2000},
        "seed": seed,
    } | changes
    done = status == "finished"
    split = Split(72, 900, 0, f"{test_hash or '':b<64}")

    val = split if val_level is None else Split(20, 90, 0, "c" * 64)
    data = Data(tuple(classes), Split(205, 2400, 0, "a" * 64), val, split) if test_hash else None

    def measured(level: float) -> Metrics:
        return read_metrics(metrics(level, draw, classes))

    record = RunRecord(
        id=folder.name,
        arm=setting.arm,
        status=status,
        started=f"2026-01-0{1 + seed % 9}T00:00:00+00:00",
        config=config,
        config_hash=config_hash(config),
        seed=seed,
        versions={"torch": "2.14.1", "numpy": "2.4"},
        hardware=Hardware("a CPU", 2, 8.0),
        seconds=Seconds(600.0, 12.0, 615.0),
        memory=memory,
        commit="0123456789abcdef" * 2,
        data=data,
        curves=curves(setting.loss, 2000, draw, points)[: round(points * share)],
        ended=ended,
        val_metrics=None if val_level is None else measured(val_level),
        validations=tuple(
            Validation(step, measured(setting.level * (1 - np.exp(-step / 500))))
            for step in (500, 1000, 1500, 2000)
        ),
        metrics=measured(setting.level + draw.normal(0, setting.spread)) if done else None,
        files=write_dumps(folder, truth, setting.level / 100, seed) if truth and done else {},
    )
    write_record(folder, record)
    return folder


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three arms of each detector, three seeds each, with dumps; one run failed."""
    root = tmp_path_factory.mktemp("study")
    truth = photographs(6, root)
    chosen = [
        setting
        for setting in study()
        if "alpha 0.5" not in setting.arm and "alpha 0.75" not in setting.arm
    ]
    for index, setting in enumerate(chosen):
        for seed in range(3):
            write_run(
                root / f"sweep/trial-{index}/seed-{seed}", setting, seed, truth=truth, points=30
            )
    write_run(root / "sweep/trial-bad", chosen[1], 9, status="failed")
    return root / "sweep"


@pytest.fixture(scope="session")
def small_report(small_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a report on the small study."""
    from experiments.report import write_report

    return write_report([small_study], tmp_path_factory.mktemp("out"), images=2)


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms of one detector, two seeds each, with dumps."""
    root = tmp_path_factory.mktemp("tiny")
    truth = photographs(3, root)
    for setting in study()[:3:2]:
        for seed in range(2):
            write_run(
                root / f"sweep/{slug(setting.arm)}-{seed}", setting, seed, truth=truth, points=9
            )
    return root / "sweep"


@pytest.fixture
def make_run() -> Callable[..., Path]:
    return write_run


@pytest.fixture
def make_setting() -> Callable[..., Setting]:
    return Setting


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no chromium is installed")
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"], timeout=240_000
        )
        yield chromium
        chromium.close()
