"""Finds what is wrong with a data set, and says where.

Labels are read by the readers of training, which note what they can't use; what counts as a bad box
is decided by the same function that training uses (`policy.judge`). Shapes: N objects.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from datasets.doctor.images import Report, look_at_images
from datasets.doctor.joined import Joined, join
from datasets.errors import Finding, nearest
from datasets.formats.box_forms import other_forms
from datasets.headers import remarks, undecided
from datasets.index import Array, Columns, source_of
from datasets.layouts import layout_of, settings_of, written_all
from datasets.policy import Judged, judge, other_size
from datasets.written import Written


@dataclass(frozen=True, slots=True)
class Split:
    """What one split holds: objects as written, and those that training would use or ignore."""

    images: int
    written: int
    objects: int  # not ignored
    ignored: int


@dataclass(frozen=True, slots=True)
class Examination:
    """What was looked at, what was found, and what the repair needs to know."""

    root: Path
    layout: str
    written: Mapping[str, Written]
    joined: Joined
    judged: Judged
    findings: list[Finding]
    splits: Mapping[str, Split]
    images: str | None  # COCO's folder of images, as asked
    decoded: bool
    duplicates: frozenset[int]  # object rows that repeat an earlier one
    unusable: Mapping[int, str]  # image rows: missing or not decodable

    @property
    def raw(self) -> Columns:
        """The labels of all splits, as written."""
        return self.joined.labels


def examine(
    root: Path,
    splits: Sequence[str] = (),
    *,
    images: str | None = None,
    classes: Sequence[str] | None = None,
    first_pixel: Literal[0, 1] = 1,
    decode: bool = True,
    report: Report | None = None,
) -> Examination:
    """Examine the splits named, or all there are; findings are sorted by file.

    `images`: COCO's folder of images; `classes`: others become findings; `decode` False: of images
    only the headers are read. DataError when the folder or a split named isn't there at all.
    """
    layout = layout_of(root, splits)
    written = written_all(root, splits, images=images, first_pixel=first_pixel)
    joined = join(written)
    raw = joined.labels
    wanted = tuple(classes) if classes else tuple(raw.meta["names"])
    policy = settings_of(root, layout, next(iter(written)), images=images).policy
    judged = judge(raw, wanted, policy)
    duplicates = _twice(raw, joined.image_N)
    looked = look_at_images(root, joined, decoding=decode, report=report)
    counts = _counted(written, joined, judged)
    findings = (
        *(finding for one in written.values() for finding in one.findings),
        *judged.findings,
        *undecided(raw),
        *remarks(raw),
        *other_forms(raw),
        *_other_sizes(raw),
        *_classes(raw, joined.image_N, wanted),
        *_base(root, raw, layout),
        *(_finding_twice(raw, joined.image_N, row) for row in sorted(duplicates)),
        *looked.findings,
        *_without_objects(root, counts),
    )
    return Examination(
        root,
        layout,
        written,
        joined,
        judged,
        _once_by_file(findings),
        counts,
        images,
        decode,
        frozenset(duplicates),
        looked.unusable,
    )


def _once_by_file(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(
        dict.fromkeys(findings), key=lambda found: (found.file, found.object or 0, found.kind)
    )


def _counted(written: Mapping[str, Written], joined: Joined, judged: Judged) -> dict[str, Split]:
    images = len(joined.splits)
    kept_image_M = joined.image_N[judged.kept_M]
    ignored_M = judged.difficult_M | judged.crowd_M
    used_I = np.bincount(kept_image_M[~ignored_M], minlength=images)
    ignored_I = np.bincount(kept_image_M[ignored_M], minlength=images)
    written_I = np.diff(joined.labels["first"])
    return {
        name: Split(
            len(rows),
            int(written_I[rows].sum()) + int(written[name].raw.meta["lost"]),
            int(used_I[rows].sum()),
            int(ignored_I[rows].sum()),
        )
        for name, rows in joined.rows.items()
    }


def _without_objects(root: Path, splits: Mapping[str, Split]) -> Iterable[Finding]:
    for name, split in splits.items():
        if not split.objects:
            what = f"split {name}: no usable object in {split.images} images"
            yield Finding(str(root), None, "no_objects", f"{what} ({split.written} written)")


def _other_sizes(raw: Columns) -> Iterable[Finding]:
    written = raw["written_hw"]
    other = (written > 0).all(1) & (written != raw["size_hw"]).any(1) & (raw["turn"] != 0)
    return [other_size(raw, row) for row in np.flatnonzero(other).tolist()]


def _classes(raw: Columns, image_N: Array, wanted: Sequence[str]) -> Iterable[Finding]:
    names: list[str] = raw.meta["names"]
    for number, name in enumerate(names):
        rows = np.flatnonzero(raw["name"] == number)
        if len(rows) and name not in wanted:
            source, thing = _place(raw, image_N, int(rows[0]))
            what = f"class {name!r} ({len(rows)} objects, first here) was not asked for"
            yield Finding(source, thing, "unknown_class", what + nearest(name, wanted))
    spelt: dict[str, list[str]] = {}
    for name in names:
        spelt.setdefault(name.lower(), []).append(name)
    for same in spelt.values():
        rows_of = [np.flatnonzero(raw["name"] == names.index(name)) for name in same]
        if sum(len(rows) > 0 for rows in rows_of) > 1:
            source, thing = _place(raw, image_N, int(max(rows_of, key=len)[0]))
            counts = zip(same, rows_of, strict=True)
            told = ", ".join(f"{name!r} ({len(rows)} objects)" for name, rows in counts)
            what = f"classes that differ in capitals alone: {told}; learned as different ones"
            yield Finding(source, thing, "class_alike", what)


def _base(root: Path, raw: Columns, layout: str) -> Iterable[Finding]:
    """Whether boxes touch one edge beyond the image and never the other: a sign of another base."""
    boxes_N4 = raw["boxes"]
    sizes_N2 = np.repeat(raw["size_hw"], np.diff(raw["first"]), axis=0)
    known = (sizes_N2 > 0).all(1) & np.isfinite(boxes_N4).all(1)
    low = boxes_N4[known, :2]
    over = boxes_N4[known, 2:] - sizes_N2[known, ::-1]
    before, beyond = int((low == -1).any(1).sum()), int((over == 1).any(1).sum())
    if before and not (over >= 0).any():
        what = f"{before} boxes begin at pixel 0 and none reaches the far edge: counted from 0?"
        yield Finding(str(root), None, "other_base", f"{what} set first_pixel: 0")
    elif beyond and not (low <= 0).any():
        remedy = "set first_pixel: 1" if layout == "voc" else "subtract 1"
        what = f"{beyond} boxes end a pixel beyond the image and none begins at its first pixel"
        yield Finding(str(root), None, "other_base", f"{what}: counted from 1? {remedy}")


def _twice(raw: Columns, image_N: Array) -> set[int]:
    """Object rows that repeat an earlier one of their image."""
    finite = np.flatnonzero(np.isfinite(raw["boxes"]).all(1))
    if not len(finite):
        return set()
    keys = np.column_stack([image_N, raw["name"], raw["boxes"].astype(np.float64)])[finite]
    order = np.lexsort((finite, *keys.T))  # equal ones side by side, the first of them first
    same = (keys[order[1:]] == keys[order[:-1]]).all(1)
    return set(finite[order[1:][same]].tolist())


def _finding_twice(raw: Columns, image_N: Array, row: int) -> Finding:
    source, thing = _place(raw, image_N, row)
    name = raw.meta["names"][raw["name"][row]]
    return Finding(source, thing, "duplicate_object", f"{name}: the same box is there before")


def _place(raw: Columns, image_N: Array, row: int) -> tuple[str, int]:
    return source_of(raw, int(image_N[row])), int(raw["object"][row])
