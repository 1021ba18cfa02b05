"""A repaired copy in VOC's layout: XML files with what changes in them, and the lists of splits."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from datasets.doctor.examine import Examination
from datasets.doctor.fates import Fates
from datasets.errors import DataError
from datasets.formats import voc_xml
from datasets.formats.findings import Findings
from datasets.formats.values import flag
from datasets.formats.voc_lists import Entry, read_split, split_file, split_folder, xml_folder
from datasets.index import source_of

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def write_voc(seen: Examination, fates: Fates, out: Path) -> dict[str, str]:
    """Write label files and lists below `out`; returns the name of each split there."""
    first_pixel = int(seen.raw.meta["first_pixel"])
    whole = set()
    for image in range(len(seen.joined.splits)):
        name = source_of(seen.raw, image)
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            data = voc_xml.read_bytes(seen.root / name)
        except DataError:
            continue
        if not fates.image_stays_I[image]:
            path.write_bytes(data)  # as it is, and named by no list: nothing is lost
            continue
        root = voc_xml.element(data, seen.root / name)
        _mend(seen, fates, root, image, first_pixel)
        ElementTree.ElementTree(root).write(path, encoding="utf-8")
        whole.add(name)
    for split in seen.written:
        for part in split.split("+"):
            _write_list(seen.root, out, part.strip(), whole)
    return {split: split for split in seen.written}


def _write_list(root: Path, out: Path, part: str, whole: set[str]) -> None:
    folder, name = split_folder(root, part)
    if xml_folder(root, folder, name) is not None:
        for path in (out / folder / name).glob("*.xml"):  # the folder is the list
            if path.relative_to(out).as_posix() not in whole:
                path.unlink()
        return
    path = split_file(root, folder, name)
    lines = [
        _line(folder, e) for e in read_split(root, part, part, Findings()) if e.annotation in whole
    ]
    if not lines:
        return  # counted; readers refuse a split without an image
    target = out / path.relative_to(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _line(folder: str, entry: Entry) -> str:
    within = f"{folder}/" if folder else ""
    annotation, image = entry.annotation.removeprefix(within), entry.image.removeprefix(within)
    own = Path(image).stem == Path(annotation).stem
    if not image or (own and annotation.startswith("Annotations/")):
        return annotation.removeprefix("Annotations/").removesuffix(".xml")
    return f"{image} {annotation}"


def _mend(
    seen: Examination, fates: Fates, root: ElementTree.Element, image: int, first_pixel: int
) -> None:
    height, width = seen.raw["size_hw"][image].tolist()
    if height and width:
        for tag, value in (("width", width), ("height", height)):
            _child(_child(root, "size"), tag).text = str(value)
    to_file = (first_pixel, first_pixel, first_pixel - 1, first_pixel - 1)
    start, end = seen.raw["first"][image : image + 2].tolist()
    things = dict(enumerate(root.findall("object"), 1))
    for row in range(start, end):
        thing = things[int(seen.raw["place"][row])]
        if not fates.stays_N[row]:
            root.remove(thing)
            continue
        mark = _child(thing, "difficult")
        mark.text = "1" if flag(mark.text)[0] else "0"
        corners = _child(thing, "bndbox")
        for other in thing.findall("bndbox")[1:]:
            thing.remove(other)
        for tag, value, offset in zip(_CORNERS, fates.box(row), to_file, strict=True):
            element = _child(corners, tag)
            written = float(element.text or "nan")
            if not abs(written - (value + offset)) <= 1e-3:  # a repair, not a float32's rounding
                element.text = f"{np.round(value + offset, 3):.10g}"


def _child(parent: ElementTree.Element, tag: str) -> ElementTree.Element:
    found = parent.find(tag)
    return ElementTree.SubElement(parent, tag) if found is None else found
