"""The detect verb: images in, boxes drawn and written as JSON and VOC's text."""

import glob
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from datasets.decoding import decode
from datasets.sample import Batch, Sample, collate
from detectors.base import Detections
from experiments.config.run import RunConfig
from experiments.engine.arithmetic import device_here, placed
from experiments.engine.inference import detect_batches, found_by
from experiments.engine.machine import check_compiler, compile_parts
from experiments.errors import UsageError
from experiments.evaluation import DetectionCollector
from experiments.evaluation.interchange.devkit import write_devkit
from experiments.record.files import write_text
from experiments.run.progress import shown
from experiments.run.trained import load_trained

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
ONNX_SUFFIX = ".onnx"
SIZE_MULTIPLE = 32  # of both detectors' inputs
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


def image_files(paths: Sequence[Path]) -> list[Path]:
    """The named files, those that patterns (*, ?, [..], **) match, and the images in the named
    folders, in order.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_file():
            files.append(path)
        elif path.is_dir():
            files.extend(_images(path.rglob("*")))
        elif glob.has_magic(str(path)):
            matched = map(Path, glob.glob(str(path), recursive=True))
            files.extend(_images(p for p in matched if p.is_file()))
        else:
            raise UsageError(f"{path}: no such file or folder")
    if not files:
        raise UsageError(f"no images ({', '.join(SUFFIXES)}) in {', '.join(map(str, paths))}")
    return list(dict.fromkeys(files))


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in SUFFIXES)


def detect_files(
    model: Path,
    paths: Sequence[Path],
    out: Path,
    *,
    least_score: float,
    batch: int = 1,
    voc: bool = False,
    compiled: bool = False,
) -> int:
    """Detect in every image; writes `detections.json` and a picture an image into `out`.

    `model`: a checkpoint, a run's folder, or an ONNX file, which ONNX Runtime executes. `batch`:
    images a forward pass. `voc`: also `out/voc/<class>.txt` as VOC's devkit wants them, with every
    detection that the recipe's own threshold leaves. `compiled`: torch.compile the network first;
    not of an ONNX file.
    """
    files = image_files(paths)
    config, classes, run = _finder(model, compiled)
    names = _names(files)
    out.mkdir(parents=True, exist_ok=True)
    rows, collected = [], DetectionCollector()
    found = run(_batches(config, files, batch))
    for file, name, (_, detections) in zip(
        files, names, shown(found, "detecting", len(files)), strict=True
    ):
        rows.append({"image": str(file), "detections": _rows(detections, classes, least_score)})
        draw(file, detections, classes, least_score, out / f"{name}.jpg")
        collected.add(
            name,
            detections.boxes_D4.numpy(),
            detections.scores_D.numpy(),
            detections.labels_D.numpy(),
        )
    write_text(out / "detections.json", json.dumps(rows, indent=1) + "\n")
    if voc:
        write_devkit(out / "voc", collected.table(), classes, "")
    count = sum(len(row["detections"]) for row in rows)
    print(f"{count} objects in {len(files)} images: {out}", file=sys.stderr)
    return 0


Found = Iterator[tuple[str, Detections]]


def _finder(
    model: Path, compiled: bool
) -> tuple[RunConfig, tuple[str, ...], Callable[[Iterable[Batch]], Found]]:
    """Recipe, classes, and what turns batches into detections in the original images."""
    if model.suffix == ONNX_SUFFIX:
        from experiments.run.onnx import load_onnx

        loaded = load_onnx(model)
        return loaded.config, loaded.classes, partial(found_by, loaded)
    trained = load_trained(model)
    detector = placed(trained.detector.fuse(), device_here(), trained.arithmetic)
    if compiled:
        check_compiler()
        compile_parts(detector, frozen=True)
    return (
        trained.config,
        trained.classes,
        lambda batches: detect_batches(detector, batches, trained.arithmetic),
    )


def _names(files: Sequence[Path]) -> list[str]:
    """A name an image: its stem, with the folder before it where stems alone would collide."""
    stems = Counter(file.stem for file in files)
    names = [
        file.stem if stems[file.stem] == 1 else "_".join((*file.parts[-2:-1], file.stem))
        for file in files
    ]
    seen: Counter[str] = Counter()
    for place, name in enumerate(names):
        seen[name] += 1
        if seen[name] > 1:
            names[place] = f"{name}_{seen[name]}"
    return names


def _batches(config: RunConfig, files: Sequence[Path], batch: int) -> Iterator[Batch]:
    pipeline = config.input.test()
    for start in range(0, len(files), batch):
        samples = [pipeline(_sample(file)) for file in files[start : start + batch]]
        yield collate(samples, multiple=SIZE_MULTIPLE)


def _sample(file: Path) -> Sample:
    image_CHW = decode(file)
    return Sample(
        image_CHW=image_CHW,
        boxes_N4=torch.zeros(0, 4),
        labels_N=torch.zeros(0, dtype=torch.int64),
        ignore_N=torch.zeros(0, dtype=torch.bool),
        image_id=file.stem,
        index=0,
        original_hw=(image_CHW.shape[1], image_CHW.shape[2]),
    )


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
