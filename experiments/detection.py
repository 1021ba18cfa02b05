"""The detect verb: images in, boxes drawn and written as JSON."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from datasets.decoding import decode
from datasets.sample import Sample, collate
from detectors.base import AnyDetector, Detections
from experiments.assembly import build_detector
from experiments.atomic import write_text
from experiments.config import RunConfig, read_config
from experiments.costs import without_weights
from experiments.engine.checkpoint import load_checkpoint, newest_good
from experiments.engine.inference import detect_batches
from experiments.errors import UsageError
from experiments.progress import shown

SUFFIXES = (".jpg", ".jpeg", ".png")
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


def load_trained(path: Path) -> tuple[RunConfig, AnyDetector, tuple[str, ...]]:
    """Config, detector and classes of a checkpoint file, or of the newest one in a run's folder."""
    if path.is_dir():
        found = newest_good(path if path.name == "checkpoints" else path / "checkpoints")
        if found is None:
            raise UsageError(
                f"{path}: no checkpoint here; name a run's folder or a checkpoint file"
            )
        path, state = found
    else:
        state = load_checkpoint(path)
    config = read_config(state["context"]["config"])
    classes = tuple(state["context"]["classes"])
    detector = build_detector(without_weights(config), classes)
    detector.load_state_dict(_weights(state))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return config, detector.to(device).eval(), classes


def _weights(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The averaged weights where there are any: they are the ones that were measured."""
    average = state["average"]
    if average is None:
        weights: dict[str, torch.Tensor] = state["detector"]
        return weights
    prefix = "module."
    return {
        name.removeprefix(prefix): value
        for name, value in average.items()
        if name.startswith(prefix)
    }


def image_files(paths: Sequence[Path]) -> list[Path]:
    """The named files and the images in the named folders, in order."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files.extend(sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES))
        elif path.is_file():
            files.append(path)
        else:
            raise UsageError(f"{path}: no such file or folder")
    if not files:
        raise UsageError(f"no images ({', '.join(SUFFIXES)}) in {', '.join(map(str, paths))}")
    return files


def detect_files(checkpoint: Path, paths: Sequence[Path], out: Path, *, least_score: float) -> int:
    """Detect in every image; writes `detections.json` and a picture an image into `out`."""
    config, detector, classes = load_trained(checkpoint)
    files = image_files(paths)
    out.mkdir(parents=True, exist_ok=True)
    found = detect_batches(
        detector,
        _batches(config, detector, files),
        bfloat16=config.train.precision == "bfloat16",
        channels_last=config.train.channels_last,
    )
    rows = []
    for file, (_, detections) in zip(files, shown(found, "detecting", len(files)), strict=True):
        rows.append({"image": str(file), "detections": _rows(detections, classes, least_score)})
        draw(file, detections, classes, least_score, out / f"{file.stem}.jpg")
    write_text(out / "detections.json", json.dumps(rows, indent=1) + "\n")
    count = sum(len(row["detections"]) for row in rows)
    print(f"{count} objects in {len(files)} images: {out}", file=sys.stderr)
    return 0


def _batches(config: RunConfig, detector: AnyDetector, files: Sequence[Path]) -> Iterable[Any]:
    pipeline = config.input.test()
    for index, file in enumerate(files):
        image_CHW = decode(file)
        sample = Sample(
            image_CHW=image_CHW,
            boxes_N4=torch.zeros(0, 4),
            labels_N=torch.zeros(0, dtype=torch.int64),
            ignore_N=torch.zeros(0, dtype=torch.bool),
            image_id=file.stem,
            index=index,
            original_hw=(image_CHW.shape[1], image_CHW.shape[2]),
        )
        yield collate([pipeline(sample)], multiple=detector.size_multiple)


def _rows(
    detections: Detections, classes: tuple[str, ...], least_score: float
) -> list[dict[str, Any]]:
    return [
        {"class": classes[label], "score": round(score, 4), "box": [round(x, 1) for x in box]}
        for box, score, label in zip(
            detections.boxes_D4.tolist(),
            detections.scores_D.tolist(),
            detections.labels_D.tolist(),
            strict=True,
        )
        if score >= least_score
    ]


def draw(
    file: Path, detections: Detections, classes: tuple[str, ...], least_score: float, out: Path
) -> None:
    """Write the image with its boxes; each class keeps its colour."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    pen = ImageDraw.Draw(image)
    for row in _rows(detections, classes, least_score):
        colour = COLOURS[classes.index(row["class"]) % len(COLOURS)]
        pen.rectangle(row["box"], outline=colour, width=2)
        pen.text((row["box"][0] + 2, row["box"][1]), f"{row['class']} {row['score']:.2f}", colour)
    image.save(out, quality=90)
