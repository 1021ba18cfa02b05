"""Test images where best arm and baseline differ most: truth beside both runs' detections."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as parquet
from PIL import Image

from experiments.report.arms import Arm, Group
from experiments.report.load import Run
from experiments.report.matching import NO_BOXES, Matched, best_threshold, match, read_boxes

LONGEST_SIDE = 400  # pixels of the embedded image: enough for a panel, about 25 kB
MOST_IMAGES = 1000  # images looked at when choosing; the first by name


class Mark(NamedTuple):
    """One box of a panel, xyxy in pixels of the original image; kind: truth, ignored, found,
    false or missed.
    """

    kind: str
    label: str
    score: float | None
    x1: float
    y1: float
    x2: float
    y2: float


class Panel(NamedTuple):
    """One picture: whose boxes, and how many were found, missed and false (None for the truth)."""

    title: str
    words: str
    marks: tuple[Mark, ...]


class Picture(NamedTuple):
    """One test image with its panels. `jpeg` is base64, "" where the image file is gone."""

    image_id: str
    width: int
    height: int
    jpeg: str
    panels: tuple[Panel, ...]


class Grid(NamedTuple):
    """The pictures of one group; where there are none, `note` says why."""

    group: Group
    runs: tuple[Run, ...]  # baseline, best
    thresholds: tuple[float, ...]
    pictures: tuple[Picture, ...]
    note: str


def choose(group: Group, best: Arm | None, count: int) -> Grid:
    """The `count` images on which the two runs' errors (missed + false) differ most; ties by
    image id.

    The two runs share a seed where they can. Without a rival the one run is shown alone.
    """
    runs = _pair(group, best)
    if not runs:
        return Grid(group, (), (), (), "No finished run has detections to show.")
    dumps = [(run.file("truth"), run.file("detections"), run.file("images")) for run in runs]
    if any(path is None for dump in dumps for path in dump):
        return Grid(
            group,
            runs,
            (),
            (),
            "The detections, truth or image list is not beside the record any more.",
        )
    images = _images(dumps[0][2])
    truth = read_boxes(_known(dumps[0][0]), images)
    matched = []
    for dump in dumps:
        found = read_boxes(_known(dump[1]), images)
        matched.append({i: match(truth.get(i, NO_BOXES), found.get(i, NO_BOXES)) for i in images})
    thresholds = tuple(best_threshold(one) for one in matched)
    chosen = _most_different(matched, thresholds)[:count]
    classes = runs[0].classes
    pictures = tuple(
        _picture(image, images[image], runs, [one[image] for one in matched], thresholds, classes)
        for image in chosen
    )
    gone = sum(not picture.jpeg for picture in pictures)
    note = (
        f"{gone} of {len(pictures)} image files are gone; their boxes are drawn alone."
        if gone
        else ""
    )
    return Grid(group, runs, thresholds, pictures, note)


def _pair(group: Group, best: Arm | None) -> tuple[Run, ...]:
    """Baseline run and best run, of the lowest seed that both ran."""
    arms = [arm for arm in (group.baseline, best) if arm is not None and arm.finished]
    if len(arms) == 2 and arms[0] is arms[1]:
        arms = arms[:1]
    seeds = [{run.seed for run in arm.finished} for arm in arms]
    shared = set.intersection(*seeds) if seeds else set()
    return tuple(
        next(
            (run for run in arm.finished if run.seed == min(shared, default=None)), arm.finished[0]
        )
        for arm in arms
    )


def _known(path: Path | None) -> Path:
    assert path is not None
    return path


def _images(path: Path | None) -> dict[str, tuple[int, int, str]]:
    """Image id -> (width, height, path), the first MOST_IMAGES by id; paths as the run saw them."""
    table = parquet.read_table(_known(path)).to_pylist()
    rows = sorted(table, key=lambda row: str(row["image_id"]))[:MOST_IMAGES]
    return {
        str(row["image_id"]): (int(row["width"]), int(row["height"]), str(row["path"]))
        for row in rows
    }


def _most_different(
    matched: Sequence[dict[str, Matched]], thresholds: Sequence[float]
) -> list[str]:
    """Image ids, the largest difference of errors first; with one run, the most errors first."""

    def difference(image: str) -> int:
        errors = [
            missed + false
            for one, threshold in zip(matched, thresholds, strict=True)
            for _, missed, false in [one[image].counts(threshold)]
        ]
        return abs(errors[0] - errors[-1]) if len(errors) > 1 else errors[0]

    return sorted(matched[0], key=lambda image: (-difference(image), image))


def _picture(
    image: str,
    size: tuple[int, int, str],
    runs: Sequence[Run],
    matched: Sequence[Matched],
    thresholds: Sequence[float],
    classes: Sequence[str],
) -> Picture:
    panels = [_truth_panel(matched[0], classes)]
    names = ["baseline", "best"] if len(runs) > 1 else ["run"]
    for name, run, one, threshold in zip(names, runs, matched, thresholds, strict=True):
        panels.append(_run_panel(f"{name}: {run.arm}", one, threshold, classes))
    return Picture(image, size[0], size[1], encode(Path(size[2])), tuple(panels))


def _truth_panel(one: Matched, classes: Sequence[str]) -> Panel:
    marks = tuple(
        Mark("ignored" if value else "truth", _name(classes, label), None, *box)
        for box, label, value in zip(
            one.truth.boxes_N4.tolist(),
            one.truth.labels_N.tolist(),
            one.truth.value_N.tolist(),
            strict=True,
        )
    )
    count = sum(mark.kind == "truth" for mark in marks)
    return Panel("truth", f"{count} object{'' if count == 1 else 's'}", marks)


def _run_panel(title: str, one: Matched, threshold: float, classes: Sequence[str]) -> Panel:
    """Detections at the run's threshold, and the truths it missed."""
    kinds = {-1: "false", -2: "ignored"}
    marks, hit = [], set()
    boxes = one.detections
    for row in range(len(boxes.labels_N)):
        if boxes.value_N[row] < threshold:
            break  # by falling score
        target = int(one.found_D[row])
        hit.add(target)
        name = _name(classes, int(boxes.labels_N[row]))
        marks.append(
            Mark(
                kinds.get(target, "found"),
                name,
                float(boxes.value_N[row]),
                *boxes.boxes_N4[row].tolist(),
            )
        )
    for index in range(len(one.truth.labels_N)):
        if index not in hit and not one.truth.value_N[index]:
            name = _name(classes, int(one.truth.labels_N[index]))
            marks.append(Mark("missed", name, None, *one.truth.boxes_N4[index].tolist()))
    found, missed, false = one.counts(threshold)
    return Panel(title, f"{found} found, {missed} missed, {false} false", tuple(marks))


def encode(path: Path) -> str:
    """The image as a small base64 JPEG; "" where it cannot be read."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            small = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=80)
    return base64.b64encode(out.getvalue()).decode()


def _name(classes: Sequence[str], label: int) -> str:
    return classes[label] if 0 <= label < len(classes) else f"class {label}"
