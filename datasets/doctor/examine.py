"""Finds what is wrong with a data set in VOC or COCO layout, and says where.

Unlike the readers it goes on after a fault. What counts as a bad box is decided by the same
function that training uses (`policy.judge`).
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from datasets.decoding import decode_told
from datasets.doctor import coco as doctor_coco
from datasets.doctor import voc as doctor_voc
from datasets.errors import DataError, Finding, nearest
from datasets.headers import image_headers, remarks, undecided, with_sizes
from datasets.index import Columns, text_at
from datasets.layouts import layout_of
from datasets.policy import Judged, Policy, judge

Report = Callable[[str, int, int | None], None]  # what is looked at, how many so far, of how many

KINDS: dict[str, str] = {
    "broken_labels": "a label file that can't be read",
    "missing_labels": "a split names an annotation that isn't there",
    "bad_row": "a COCO row without a needed field, or that refers to nothing",
    "not_a_number": "a coordinate that is missing or no number",
    "zero_size": "a box without area",
    "swapped": "min and max of a box in the wrong order",
    "outside": "a box that leaves its image",
    "other_base": "coordinates that seem to count from another first pixel",
    "missing_difficult": "an object without `difficult` (VOC)",
    "missing_area": "an annotation without `area` (COCO)",
    "missing_size": "an annotation without the image's size",
    "duplicate_id": "an id or an image that is there twice",
    "duplicate_object": "the same box of the same class twice in an image",
    "unknown_class": "a class nobody asked for, or without a name",
    "missing_image": "an image that isn't there",
    "unreadable_image": "an image that doesn't decode",
    "other_size": "an image of another size than its labels say",
    "in_two_splits": "the same image in two splits",
    "undecided_turn": "an image that EXIF turns, with labels that fit neither frame",
    "deep_grey": "images of 16 or 32 bit grey, which are scaled to 8 bit (no fault)",
    "turned": "images turned upright as EXIF says (no fault)",
    "other_decoder": "an image that only the slower decoder reads (no fault)",
}
REMARKS = frozenset({"deep_grey", "turned", "other_decoder"})  # kinds that need no repair


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found, and what the repair needs to know. Image rows are those of `raw`."""

    root: Path
    findings: list[Finding]
    raw: Columns
    judged: Judged
    files: list[str]  # label file of each image, relative to the root
    splits: list[frozenset[str]]  # of each image
    duplicates: set[int] = field(default_factory=set)  # object rows
    unusable: set[int] = field(default_factory=set)  # image rows: missing or not decodable


def examine(
    root: Path,
    splits: Sequence[str] = (),
    *,
    images: str | None = None,
    classes: Sequence[str] | None = None,
    first_pixel: Literal[0, 1] = 1,
    decode: bool = True,
    report: Report | None = None,
) -> list[Finding]:
    """All findings of the splits named, or of all there are, sorted by file.

    `images`: COCO's folder of images; `classes`: others become findings; `decode` False: images are
    not opened. DataError when the folder or a split named isn't there at all.
    """
    return examination(
        root,
        splits,
        images=images,
        classes=classes,
        first_pixel=first_pixel,
        decode=decode,
        report=report,
    ).findings


def examination(
    root: Path,
    splits: Sequence[str] = (),
    *,
    images: str | None = None,
    classes: Sequence[str] | None = None,
    first_pixel: Literal[0, 1] = 1,
    decode: bool = True,
    report: Report | None = None,
) -> Examination:
    """As `examine`, with what the repair needs."""
    coco = layout_of(root, splits) == "coco"
    if coco:
        found = doctor_coco.read(root, splits, images)
    else:
        found = doctor_voc.read(root, splits, first_pixel, report)
    raw = with_sizes(found.raw, image_headers(root, found.raw))
    wanted = tuple(classes) if classes else tuple(raw.meta["names"])
    judged = judge(raw, "", wanted, Policy(inclusive=not coco))
    seen = Examination(root, list(found.findings), raw, judged, found.files, found.splits)
    seen.findings.extend([*judged.findings, *undecided(raw), *remarks(raw)])
    seen.findings.extend(_classes(raw, wanted))
    seen.findings.extend(_base(root, raw, coco))
    seen.duplicates.update(_twice(raw))
    seen.findings.extend(_finding_twice(raw, row) for row in sorted(seen.duplicates))
    _look_at_images(seen, decode, report)
    seen.findings.sort(key=lambda finding: (finding.file, finding.object or 0, finding.kind))
    return seen


def _classes(raw: Columns, wanted: Sequence[str]) -> Iterable[Finding]:
    names: list[str] = raw.meta["names"]
    for number, name in enumerate(names):
        rows = np.flatnonzero(raw["name"] == number)
        if len(rows) and (name not in wanted or not name):
            source, thing = _place(raw, int(rows[0]))
            hint = nearest(name, wanted) if name else ""
            yield Finding(
                source,
                thing,
                "unknown_class",
                f"class {name!r} ({len(rows)} objects, first here) was not asked for;{hint}",
            )


def _base(root: Path, raw: Columns, coco: bool) -> Iterable[Finding]:
    """Whether boxes touch one edge beyond the image and never the other: a sign of another base."""
    boxes_N4 = raw["boxes"]
    sizes_N2 = np.repeat(raw["size_hw"], np.diff(raw["first"]), axis=0)
    known = (sizes_N2 > 0).all(1) & np.isfinite(boxes_N4).all(1)
    low = boxes_N4[known, :2]
    over = boxes_N4[known, 2:] - sizes_N2[known, ::-1]
    before, beyond = int((low == -1).any(1).sum()), int((over == 1).any(1).sum())
    if before and not (over >= 0).any():
        yield Finding(
            str(root),
            None,
            "other_base",
            f"{before} boxes begin at pixel 0 and none reaches the far edge: counted from 0?"
            " set first_pixel: 0",
        )
    elif beyond and not (low <= 0).any():
        remedy = "subtract 1" if coco else "set first_pixel: 1"
        yield Finding(
            str(root),
            None,
            "other_base",
            f"{beyond} boxes end a pixel beyond the image and none begins at its first pixel:"
            f" counted from 1? {remedy}",
        )


def _twice(raw: Columns) -> set[int]:
    """Object rows that repeat an earlier one of their image."""
    image_N = np.repeat(np.arange(len(raw["first"]) - 1), np.diff(raw["first"]))
    keys = np.column_stack([image_N, raw["name"], raw["boxes"].astype(np.float64)])
    keys = keys[np.isfinite(keys).all(1)] if len(keys) else keys
    finite = np.flatnonzero(np.isfinite(raw["boxes"]).all(1))
    if not len(keys):
        return set()
    _, first = np.unique(keys, axis=0, return_index=True)
    return set(finite[np.setdiff1d(np.arange(len(keys)), first)].tolist())


def _finding_twice(raw: Columns, row: int) -> Finding:
    source, thing = _place(raw, row)
    name = raw.meta["names"][raw["name"][row]]
    return Finding(source, thing, "duplicate_object", f"{name}: the same box is there before")


def _place(raw: Columns, row: int) -> tuple[str, int]:
    image = int(np.searchsorted(raw["first"], row, side="right")) - 1
    return text_at(raw, "source", image), int(raw["object"][row])


def _look_at_images(seen: Examination, decoding: bool, report: Report | None) -> None:
    count = len(seen.raw["first"]) - 1
    by_content: dict[bytes, list[int]] = defaultdict(list)
    by_id: dict[str, list[int]] = defaultdict(list)

    def look(row: int) -> tuple[bytes | None, str]:
        path = seen.root / text_at(seen.raw, "image", row)
        if not path.is_file():
            return None, "missing_image"
        if not decoding:
            return None, ""
        try:
            _, slow = decode_told(path)
        except DataError as error:
            return None, str(error).removeprefix(f"{path}: ")
        return sha256(path.read_bytes()).digest(), "other_decoder" if slow else ""

    with ThreadPoolExecutor(2) as pool:
        for row, (content, fault) in enumerate(pool.map(look, range(count))):
            if report:
                report("look at images", row + 1, count)
            by_id[text_at(seen.raw, "image", row)].append(row)
            if content:
                by_content[content].append(row)
            _note_image(seen, row, fault)
    for rows in [*by_content.values(), *by_id.values()]:
        _note_overlap(seen, rows)


_TOLD = {
    "missing_image": "the image isn't there",
    "other_decoder": "a JPEG that torchvision refuses and Pillow reads",
}


def _note_image(seen: Examination, row: int, fault: str) -> None:
    image = text_at(seen.raw, "image", row)
    if fault:
        kind = fault if fault in _TOLD else "unreadable_image"
        seen.findings.append(Finding(image, None, kind, _TOLD.get(fault, fault)))
        if kind not in REMARKS:
            seen.unusable.add(row)
    height, width = seen.raw["size_hw"][row].tolist()
    written = seen.raw["written_hw"][row].tolist()
    if written not in ([0, 0], [height, width]):
        what = f"is {width}x{height}, its labels say {written[1]}x{written[0]}"
        seen.findings.append(Finding(image, None, "other_size", what))


def _note_overlap(seen: Examination, rows: Sequence[int]) -> None:
    """A finding when images that are the same belong to different splits."""
    places = Counter(split for row in rows for split in seen.splits[row])
    if len(places) < 2:
        return
    images = sorted({text_at(seen.raw, "image", row) for row in rows})
    others = f" (also as {', '.join(images[1:4])})" if len(images) > 1 else ""
    finding = Finding(
        images[0], None, "in_two_splits", f"is in the splits {', '.join(sorted(places))}{others}"
    )
    if finding not in seen.findings:
        seen.findings.append(finding)
