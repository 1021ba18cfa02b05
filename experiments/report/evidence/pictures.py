"""Test images where baseline and nearest rival differ most: truth beside both runs' detections.

Detections against truth for the pictures: found, missed, false. N truths and D detections of
one image.

This only explains pictures; the numbers of a report come from the records.
Boxes are xyxy in pixels of the original image.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from PIL import Image

from datasets.pixels.reading import read_pixels
from experiments.evaluation.dump import read_table
from experiments.evaluation.plates import Plate, place_plates, text_width
from experiments.report.arms import Arm, Group
from experiments.report.load import Run

Floats = NDArray[np.float64]
LEAST_SCORE = 0.02  # below it no detection is worth a picture
MOST_BOXES = 60  # detections an image that are looked at, the highest scores first


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of one image. `value_N` is a detection's score, or 1 where a truth is difficult or
    a crowd.
    """

    boxes_N4: Floats
    labels_N: NDArray[np.int64]
    value_N: Floats


NO_BOXES = Boxes(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))


class Matched(NamedTuple):
    """One image: its truth, its detections by falling score, and what each detection found.

    found_D is the index of the truth found, -1 for a false detection, -2 for one that lies on
    an ignored truth.
    """

    truth: Boxes
    detections: Boxes
    found_D: NDArray[np.int64]

    def counts(self, threshold: float) -> tuple[int, int, int]:
        """Found, missed and false at scores >= threshold; ignored truths count nowhere."""
        kept_D = self.detections.value_N >= threshold
        found = int((self.found_D[kept_D] >= 0).sum())
        wanted = int((self.truth.value_N == 0).sum())
        return found, wanted - found, int((self.found_D[kept_D] == -1).sum())


def read_boxes(path: Path, images: Iterable[str] | None = None) -> dict[str, Boxes]:
    """A detections or truth dump as boxes by image id; only `images` where given.

    Detections come by falling score, at most MOST_BOXES an image and none below LEAST_SCORE, nor
    below the score from which compact ones are all there.
    """
    table, _ = read_table(path, "detections" if path.stem == "detections" else "truth")
    least = max(LEAST_SCORE, table.attrs.get("complete_from", 0.0))
    if images is not None:
        table = table[table["image_id"].isin(set(images))]
    columns = {name: table[name].to_numpy() for name in table.columns if name != "image_id"}
    ids = table["image_id"].tolist()
    boxes = np.stack([columns[name] for name in ("x1", "y1", "x2", "y2")], axis=1).astype(
        np.float64
    )
    if "score" in columns:
        value = columns["score"].astype(np.float64)
        order = np.argsort(-value, kind="stable")
        order = order[value[order] >= least]
    else:
        value = (columns["difficult"].astype(bool) | columns["crowd"].astype(bool)).astype(
            np.float64
        )
        order = np.arange(len(ids))
    rows: dict[str, list[int]] = {}
    for row in order.tolist():
        mine = rows.setdefault(str(ids[row]), [])
        if "score" not in columns or len(mine) < MOST_BOXES:
            mine.append(row)
    labels = columns["label"].astype(np.int64)
    return {image: Boxes(boxes[mine], labels[mine], value[mine]) for image, mine in rows.items()}


def match(truth: Boxes, detections: Boxes, *, overlap: float = 0.5) -> Matched:
    """Match detections by falling score to the truth of their class that they overlap most (IoU
    >= `overlap`).

    A truth is found once; a later detection of it is false. Best overlap first, then taken, as
    VOC's devkit does.
    """
    found_D = np.full(len(detections.labels_N), -1, np.int64)
    if not len(truth.labels_N) or not len(found_D):
        return Matched(truth, detections, found_D)
    iou_DN = overlaps(detections.boxes_N4, truth.boxes_N4)
    iou_DN[detections.labels_N[:, None] != truth.labels_N[None, :]] = 0.0
    best_D = iou_DN.argmax(axis=1)
    taken: set[int] = set()
    for row in np.flatnonzero(iou_DN[np.arange(len(best_D)), best_D] >= overlap).tolist():
        target = int(best_D[row])
        if truth.value_N[target]:
            found_D[row] = -2
        elif target not in taken:
            taken.add(target)
            found_D[row] = target
    return Matched(truth, detections, found_D)


def overlaps(one_D4: Floats, two_N4: Floats) -> Floats:
    """Intersection over union of every pair, [D, N]; 0 where a box has no area."""
    top_left = np.maximum(one_D4[:, None, :2], two_N4[None, :, :2])
    bottom_right = np.minimum(one_D4[:, None, 2:], two_N4[None, :, 2:])
    shared_DN = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    areas = [
        np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (one_D4, two_N4)
    ]
    union_DN = areas[0][:, None] + areas[1][None, :] - shared_DN
    safe_DN: Floats = np.where(union_DN > 0, union_DN, 1.0)
    return np.asarray(shared_DN / safe_DN, dtype=np.float64)


def best_threshold(matched: Mapping[str, Matched]) -> float:
    """The score at which F1 over all images is highest: each run is shown at its own best
    working point.

    One threshold for all would favour losses that give high scores; a larger gamma lowers them.
    """
    scores = np.concatenate(
        [image.detections.value_N for image in matched.values()] or [np.zeros(0)]
    )
    found = np.concatenate([image.found_D for image in matched.values()] or [np.zeros(0, np.int64)])
    wanted = sum(int((image.truth.value_N == 0).sum()) for image in matched.values())
    order = np.argsort(-scores, kind="stable")
    order = order[found[order] != -2]
    if not len(order) or not wanted:
        return 0.5
    hits = np.cumsum(found[order] >= 0)
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + wanted)
    last = np.append(np.diff(scores[order]) != 0, True)  # equal scores are kept or dropped together
    return float(scores[order][np.argmax(np.where(last, f1, -1.0))])


LONGEST_SIDE = 400  # pixels of the embedded image: enough for a panel, about 25 kB
TEXT_SIZE = 0.03  # of the longer side: 12 px in a panel of LONGEST_SIDE
MOST_IMAGES = 1000  # images looked at when choosing; the first by name


class ImageFile(NamedTuple):
    """A measured image as its run saw it; `turn`: EXIF's orientation that was applied, 1: none."""

    width: int
    height: int
    path: Path
    turn: int


class Mark(NamedTuple):
    """One box of a panel, xyxy in pixels of the original image; kind: truth, ignored, found,
    false or missed. `plate` is where its name stands, None for a box without one.
    """

    kind: str
    label: str
    score: float | None
    x1: float
    y1: float
    x2: float
    y2: float
    plate: Plate | None = None

    @property
    def name(self) -> str:
        """What the plate says."""
        return self.label if self.score is None else f"{self.label} {self.score:.2f}"


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
    runs: tuple[tuple[Arm, Run], ...]  # of baseline and rival
    thresholds: tuple[float, ...]
    pictures: tuple[Picture, ...]
    note: str


def choose(group: Group, rival: Arm | None, count: int) -> Grid:
    """The `count` images on which the errors (missed + false) of baseline and `rival` differ most;
    ties by image id.

    The two runs share a seed where they can. Without a rival, or a baseline, one is shown alone.
    """
    pair = _pair(group, rival)
    if not pair:
        return Grid(group, (), (), (), "No finished run has detections to show.")
    runs = [run for _, run in pair]
    dumps = [(run.file("truth"), run.file("detections"), run.file("images")) for run in runs]
    if any(path is None for dump in dumps for path in dump):
        return Grid(
            group,
            pair,
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
        _picture(image, images[image], pair, [one[image] for one in matched], thresholds, classes)
        for image in chosen
    )
    gone = sum(not picture.jpeg for picture in pictures)
    note = (
        f"{gone} of {len(pictures)} image files are gone; their boxes are drawn alone."
        if gone
        else ""
    )
    return Grid(group, pair, thresholds, pictures, note)


def _pair(group: Group, rival: Arm | None) -> tuple[tuple[Arm, Run], ...]:
    """Baseline's run and the rival's, of the lowest seed that both ran."""
    arms = [arm for arm in (group.baseline, rival) if arm is not None and arm.finished]
    if len(arms) == 2 and arms[0] is arms[1]:
        arms = arms[:1]
    seeds = [{run.seed for run in arm.finished} for arm in arms]
    shared = set.intersection(*seeds) if seeds else set()
    seed = min(shared, default=None)
    return tuple(
        (arm, next((run for run in arm.finished if run.seed == seed), arm.finished[0]))
        for arm in arms
    )


def _known(path: Path | None) -> Path:
    assert path is not None
    return path


def _images(path: Path | None) -> dict[str, ImageFile]:
    """By image id, the first MOST_IMAGES by id; paths as the run saw them."""
    table = parquet.read_table(_known(path)).to_pylist()
    rows = sorted(table, key=lambda row: str(row["image_id"]))[:MOST_IMAGES]
    return {
        str(row["image_id"]): ImageFile(
            int(row["width"]), int(row["height"]), Path(str(row["path"])), int(row.get("turn", 1))
        )
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
    file: ImageFile,
    runs: Sequence[tuple[Arm, Run]],
    matched: Sequence[Matched],
    thresholds: Sequence[float],
    classes: Sequence[str],
) -> Picture:
    panels = [_truth_panel(matched[0], classes)]
    for (arm, _), one, threshold in zip(runs, matched, thresholds, strict=True):
        panels.append(_run_panel(arm.short, one, threshold, classes))
    named = [
        panel._replace(marks=_with_plates(panel.marks, (file.width, file.height), place == 0))
        for place, panel in enumerate(panels)
    ]
    return Picture(image, file.width, file.height, encode(file.path, file.turn), tuple(named))


def _with_plates(
    marks: tuple[Mark, ...], picture: tuple[int, int], truth: bool
) -> tuple[Mark, ...]:
    """Names for all objects of the truth, for what a run found or took for one."""
    size = TEXT_SIZE * max(picture)
    named = [mark for mark in marks if truth or mark.kind in ("found", "false")]
    boxes = [(mark.x1, mark.y1, mark.x2, mark.y2) for mark in named]
    widths = [size * text_width(mark.name) for mark in named]
    plates = iter(place_plates(boxes, widths, size, picture))
    return tuple(mark._replace(plate=next(plates)) if mark in named else mark for mark in marks)


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


def encode(path: Path, turn: int = 1) -> str:
    """The image as training saw it, as a small base64 JPEG; "" where it cannot be read."""
    try:
        small = Image.fromarray(read_pixels(path.read_bytes(), turn))
    except (OSError, ValueError):
        return ""
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=80)
    return base64.b64encode(out.getvalue()).decode()


def _name(classes: Sequence[str], label: int) -> str:
    return classes[label] if 0 <= label < len(classes) else f"class {label}"
