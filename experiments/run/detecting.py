"""The detect verb: images in, boxes drawn and written as JSON and VOC's text."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.pixels.lettering import drawable, stand_ins, told
from datasets.sample import Sample
from detectors.base import Detections
from experiments.evaluation import DetectionCollector
from experiments.evaluation.interchange.devkit import write_devkit
from experiments.record.files import write_text
from experiments.run.drawing import Found, colour_of, drawn
from experiments.run.finder import Finder, load_finder
from experiments.run.photos import image_files, output_names, read_photo, warn
from experiments.run.progress import shown

FAILED_SHOWN = 5  # images that can't be read, one line each; the others are counted


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one image file: detections in its pixels, or why it could not be read."""

    file: Path
    sample: Sample | None = None
    turned: bool = False
    detections: Detections | None = None
    error: str = ""


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
    not of an ONNX file. Photos are turned upright as EXIF says, boxes are of the upright picture.

    An image that can't be read stands in `detections.json` with its `error`, which is written in
    any case. Returns the exit status: 1 where there is such an image.
    """
    files = image_files(paths)
    if files.left_out:
        warn(f"left out: {files.told()}")
    finder = load_finder(model, compiled=compiled)
    classes = finder.classes
    instead = stand_ins(classes)
    if instead:
        warn(f"{told(instead)}; pictures show the number, detections.json the name")
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    seen = _look(finder, files.images, batch)
    counts = dict.fromkeys(("found", "failed", "turned"), 0)
    collected = DetectionCollector()
    try:
        progress = shown(seen, "detecting", len(files.images))
        for name, one in zip(output_names(files.images), progress, strict=True):
            rows.append(_told(one, classes, least_score))
            counts["found"] += len(rows[-1]["detections"])
            counts["turned"] += one.turned
            counts["failed"] += bool(one.error)
            if not one.error:
                _keep(one, name, drawable(classes), least_score, out, collected)
            elif counts["failed"] <= FAILED_SHOWN:
                warn(f"{one.file}: {one.error}")
    finally:
        write_text(out / "detections.json", json.dumps(rows, indent=1) + "\n")
    if voc:
        write_devkit(out / "voc", collected.table(), classes, "")
    return _summary(counts, len(files.images), out)


def _summary(counts: dict[str, int], images: int, out: Path) -> int:
    if counts["turned"]:
        turned = f"{counts['turned']} of them turned upright as EXIF says, boxes with them"
        print(f"{images} images, {turned}", file=sys.stderr)
    if counts["failed"]:
        warn(f"{counts['failed']} of {images} images can't be read; detections.json says why")
    good = images - counts["failed"]
    print(f"{counts['found']} objects in {good} images: {out}", file=sys.stderr)
    return 1 if counts["failed"] else 0


def _look(finder: Finder, files: Sequence[Path], batch: int) -> Iterator[Seen]:
    """Every file, in order, detected in as many at a time as `batch` says."""
    for start in range(0, len(files), batch):
        part = [_read(file) for file in files[start : start + batch]]
        found = iter(finder([one.sample for one in part if one.sample is not None]))
        for one in part:
            if one.sample is None:
                yield one
            else:
                yield Seen(one.file, one.sample, one.turned, next(found))


def _read(file: Path) -> Seen:
    try:
        return Seen(file, *read_photo(file))
    except OSError as error:
        return Seen(file, error=f"can't be read: {error.strerror}")
    except ValueError as error:
        return Seen(file, error=f"not a readable image: {error}")


def _told(seen: Seen, classes: tuple[str, ...], least_score: float) -> dict[str, Any]:
    """What detections.json says of one image."""
    if seen.detections is None:
        return {"image": str(seen.file), "detections": [], "error": seen.error}
    return {"image": str(seen.file), "detections": _rows(seen.detections, classes, least_score)}


def _keep(
    seen: Seen,
    name: str,
    names: Sequence[str],
    least_score: float,
    out: Path,
    collected: DetectionCollector,
) -> None:
    """Draw one image, classes by these names, and collect all its detections."""
    assert seen.sample is not None and seen.detections is not None
    pixels_HWC = seen.sample.image_CHW.permute(1, 2, 0).numpy()
    found = [
        Found(names[label], score, (x1, y1, x2, y2), colour_of(label))
        for label, score, (x1, y1, x2, y2) in zip(
            seen.detections.labels_D.tolist(),
            seen.detections.scores_D.tolist(),
            seen.detections.boxes_D4.tolist(),
            strict=True,
        )
        if score >= least_score
    ]
    drawn(pixels_HWC, found).save(out / f"{name}.jpg", quality=90)
    collected.add(
        name,
        seen.detections.boxes_D4.numpy(),
        seen.detections.scores_D.numpy(),
        seen.detections.labels_D.numpy(),
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
