"""A repaired copy of a data set: what the doctor finds and can mend is mended, the rest is left
out.

Boxes: swapped corners are put in order, boxes are cut at the image's edge; boxes without area,
without numbers, given twice or of classes nobody asked for go. Images that are missing or don't
decode go with their labels. Overlap between splits and another base are decisions, not repairs:
they stay.
"""

import json
import os
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from defusedxml.ElementTree import fromstring

from datasets import voc_xml
from datasets.coco import image_folder, read_document, read_file
from datasets.doctor.coco import sound_rows
from datasets.doctor.examine import Examination, Report, examination
from datasets.errors import DataError
from datasets.index import text_at
from datasets.layouts import coco_splits, layout_of, voc_splits
from datasets.voc_splits import listed, split_file, split_folder

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
Mended = dict[tuple[int, int], tuple[float, float, float, float]]  # (image row, object) -> xyxy


def repair(
    root: Path,
    out: Path,
    splits: Sequence[str] = (),
    *,
    images: str | None = None,
    classes: Sequence[str] | None = None,
    first_pixel: Literal[0, 1] = 1,
    report: Report | None = None,
) -> Path:
    """Write the copy to `out`, a new or empty folder outside `root`; returns it.

    DataError otherwise.
    """
    source, target = root.resolve(), out.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise DataError(f"{out}: the copy must lie outside {root}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: holds files already; name a new folder for the copy")
    seen = examination(
        root, splits, images=images, classes=classes, first_pixel=first_pixel, report=report
    )
    mended = _mended(seen)
    if layout_of(root, splits) == "coco":
        for name in splits or coco_splits(root):
            _repair_coco(seen, out, name, images, mended)
    else:
        _repair_voc(seen, out, list(splits) or voc_splits(root), first_pixel, mended)
    _copy_images(seen, out, report)
    return out


def _mended(seen: Examination) -> Mended:
    """The box of every object that stays, as repaired; one that equals another by now goes."""
    image_N = np.repeat(np.arange(len(seen.raw["first"]) - 1), np.diff(seen.raw["first"]))
    kept: Mended = {}
    taken: set[tuple[int, int, bytes]] = set()
    for row, box in zip(seen.judged.kept_M.tolist(), seen.judged.boxes_M4, strict=True):
        image = int(image_N[row])
        if row not in seen.duplicates:
            same = (image, int(seen.raw["name"][row]), box.tobytes())
            if same not in taken:
                taken.add(same)
                x1, y1, x2, y2 = (float(value) for value in box)
                kept[image, int(seen.raw["object"][row])] = (x1, y1, x2, y2)
    return kept


def _repair_voc(
    seen: Examination, out: Path, splits: Sequence[str], first_pixel: int, mended: Mended
) -> None:
    whole = set()
    for image, name in enumerate(seen.files):
        if image in seen.unusable:
            continue
        whole.add(name)
        data = voc_xml.read_bytes(seen.root / name)
        root = fromstring(data)
        _repair_tree(seen, root, image, first_pixel, mended)
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ElementTree.ElementTree(root).write(path, encoding="utf-8")
    parts = [part.strip() for split in splits for part in split.split("+")]
    for folder, list_name in dict.fromkeys(split_folder(seen.root, part) for part in parts):
        path = split_file(seen.root, folder, list_name)
        stems = dict.fromkeys(stem for _, stem in listed(path))
        kept = [s for s in stems if os.path.join(folder, "Annotations", f"{s}.xml") in whole]
        target = out / path.relative_to(seen.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(f"{stem}\n" for stem in kept))


def _repair_tree(
    seen: Examination, root: ElementTree.Element, image: int, first_pixel: int, mended: Mended
) -> None:
    height, width = seen.raw["size_hw"][image].tolist()
    for tag, value in (("width", width), ("height", height)):
        _child(_child(root, "size"), tag).text = str(value)
    to_file = (first_pixel, first_pixel, first_pixel - 1, first_pixel - 1)
    for number, thing in enumerate(root.findall("object"), 1):
        box = mended.get((image, number))
        if box is None:
            root.remove(thing)
            continue
        if _child(thing, "difficult").text is None:
            _child(thing, "difficult").text = "0"
        corners = _child(thing, "bndbox")
        for tag, value, offset in zip(_CORNERS, box, to_file, strict=True):
            element = _child(corners, tag)
            written = float(element.text or "nan")
            if abs(written - (value + offset)) > 1e-3:  # a repair, not a float32's rounding
                element.text = f"{value + offset:g}"


def _child(parent: ElementTree.Element, tag: str) -> ElementTree.Element:
    found = parent.find(tag)
    return ElementTree.SubElement(parent, tag) if found is None else found


def _repair_coco(
    seen: Examination, out: Path, name: str, images: str | None, mended: Mended
) -> None:
    try:
        document = read_document(seen.root / name, read_file(seen.root / name))
    except DataError:
        return  # reported; nothing of it can be kept
    sound_images, annotations, categories = sound_rows(document, name, [])
    names = {row["id"]: row["name"] for row in categories}
    asked = {name for name in names.values()} - set(seen.judged.unknown)
    row_by_id = {
        text_at(seen.raw, "image_id", row): row
        for row in range(len(seen.files))
        if seen.files[row] == name
    }
    kept_images: list[dict[str, Any]] = []
    for image in sound_images:
        row = row_by_id[str(image["id"])]
        if row not in seen.unusable:
            height, width = seen.raw["size_hw"][row].tolist()
            kept_images.append(image | {"height": height, "width": width})
    alive = {image["id"] for image in kept_images}
    kept = []
    for number, annotation in enumerate(annotations):
        identity = annotation.get("id")
        identity = identity if isinstance(identity, int) else number
        box = mended.get((row_by_id[str(annotation["image_id"])], identity))
        if box is not None and annotation["image_id"] in alive:
            kept.append(_mended_row(annotation, identity, box))
    document |= {
        "images": kept_images,
        "annotations": kept,
        "categories": [row for row in categories if row["name"] in asked],
    }
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    (out / image_folder(seen.root, name, images)).mkdir(parents=True, exist_ok=True)


def _mended_row(
    annotation: dict[str, Any], identity: int, box: tuple[float, float, float, float]
) -> dict[str, Any]:
    xywh = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    if np.abs(np.array(annotation["bbox"], np.float64) - xywh).max() <= 1e-3:
        xywh = annotation["bbox"]
    area = annotation.get("area")
    if not isinstance(area, (int, float)):
        area = xywh[2] * xywh[3]
    return annotation | {"id": identity, "bbox": xywh, "area": area}


def _copy_images(seen: Examination, out: Path, report: Report | None) -> None:
    names = {
        text_at(seen.raw, "image", row)
        for row in range(len(seen.files))
        if row not in seen.unusable
    }
    for number, name in enumerate(sorted(names), 1):
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(seen.root / name, target)
        if report:
            report("copy images", number, len(names))
