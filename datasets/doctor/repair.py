"""A repaired copy of a data set, checked by reading both.

Boxes: swapped corners are put in order, boxes are cut at the image's edge; numbers that are text
become numbers, marks that are neither yes nor no become "0", a category given twice becomes one,
the image's own size is written down. What can't be understood is left out and counted: boxes
without area or numbers, rows that refer to nothing, boxes given twice, classes nobody asked for;
images that are missing or don't decode go with their labels. An image whose label file can't be
read is copied with it, but no list names it. Overlap between splits and another base are decisions,
not repairs: they stay.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from datasets.doctor.examine import Examination, examine
from datasets.doctor.fates import Fates, decide, too_much
from datasets.doctor.images import Report
from datasets.doctor.write_coco import write_coco
from datasets.doctor.write_voc import write_voc
from datasets.doctor.write_yolo import write_yolo
from datasets.errors import DataError
from datasets.index import Array, text_at, texts

_WRITERS: dict[str, Callable[[Examination, Fates, Path], dict[str, str]]] = {
    "voc": write_voc,
    "coco": write_coco,
    "yolo": write_yolo,
}
_TOLERANCE_PX = 0.05  # of boxes as files write them: six digits of a fraction of 10,000 pixels


@dataclass(frozen=True, slots=True)
class Balance:
    """One split before and after: objects that a reader takes as they were, mended, or not at all.

    `gone` and `images_gone` count by kind of finding.
    """

    images: int
    kept: int
    changed: int
    gone: Counter[str]
    images_gone: Counter[str]


def repair(
    seen: Examination, out: Path, *, allow_loss: bool = False, report: Report | None = None
) -> dict[str, Balance]:
    """Write the repaired copy to `out`, a new or empty folder outside the root; by split, what came
    of it.

    DataError for another folder; where more than 1 % of objects or images would go, or a split's
    last one, unless `allow_loss`; and where the copy doesn't read as it should.
    """
    source, target = seen.root.resolve(), out.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise DataError(f"{out}: the copy must lie outside {seen.root}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: holds files already; name a new folder for the copy")
    if seen.layout not in _WRITERS:
        raise DataError(f"{out}: not written: nothing writes labels in {seen.layout} layout yet")
    fates = decide(seen)
    loss = too_much(seen, fates)
    if loss is not None and not allow_loss:
        raise DataError(f"{out}: not written: {loss}. --allow-loss writes the copy all the same")
    out.mkdir(parents=True, exist_ok=True)
    names = _WRITERS[seen.layout](seen, fates, out)
    _copy_images(seen, out, report)
    _check(seen, fates, out, names)
    return {split: _balance(seen, fates, split) for split in seen.written}


def _copy_images(seen: Examination, out: Path, report: Report | None) -> None:
    rows = [row for row in range(len(seen.joined.splits)) if row not in seen.unusable]
    names = sorted({text_at(seen.raw, "image", row) for row in rows})
    for number, name in enumerate(names, 1):
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(seen.root / name, target)
        if report:
            report("copy images", number, len(names))


def _check(seen: Examination, fates: Fates, out: Path, names: Mapping[str, str]) -> None:
    """Read the copy as training does: it must hold just what was to stay, in the same order."""
    wanted = {
        split: name
        for split, name in names.items()
        if fates.image_stays_I[seen.joined.rows[split]].any()
    }
    if not wanted:
        return
    first_pixel: Literal[0, 1] = 0 if seen.raw.meta.get("first_pixel") == 0 else 1
    copy = examine(
        out, list(wanted.values()), images=seen.images, first_pixel=first_pixel, decode=False
    )
    there_N = np.zeros(len(copy.raw["name"]), np.bool_)
    there_N[copy.judged.kept_M] = True
    boxes_N4 = copy.raw["boxes"].astype(np.float32)
    boxes_N4[copy.judged.kept_M] = copy.judged.boxes_M4
    for split, name in wanted.items():
        meant, boxes_M4 = _told(seen, split, fates.stays_N, fates.boxes_N4)
        read, found_M4 = _told(copy, name, there_N, boxes_N4)
        if meant != read or (np.abs(boxes_M4 - found_M4) > _TOLERANCE_PX).any():
            raise DataError(
                f"{out}: split {name} of the copy does not read as it was meant: {len(read)}"
                f" objects for {len(meant)}. Don't use the copy; the original is untouched"
            )


def _told(
    seen: Examination, split: str, rows_N: Array, boxes_N4: Array
) -> tuple[list[tuple[str, str]], Array]:
    """(image, class) and box of the objects of one split, in its order."""
    first, names = seen.raw["first"], seen.raw.meta["names"]
    files = texts(seen.raw, "image")
    rows = [
        (int(image), row)
        for image in seen.joined.rows[split]
        for row in range(int(first[image]), int(first[image + 1]))
        if rows_N[row]
    ]
    named = [(files[image], names[seen.raw["name"][row]]) for image, row in rows]
    boxes: Array = boxes_N4[[row for _, row in rows]].reshape(-1, 4)
    return named, boxes


def _balance(seen: Examination, fates: Fates, split: str) -> Balance:
    rows = seen.joined.rows[split]
    objects = np.isin(seen.joined.image_N, rows)
    changed = int((fates.changed_N & objects).sum())
    return Balance(
        int(fates.image_stays_I[rows].sum()),
        int((fates.stays_N & objects).sum()) - changed,
        changed,
        fates.gone[split],
        fates.images_gone[split],
    )
