"""Labels of any layout below a folder, and the images that belong to them, found by name."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from datasets import DATASETS
from datasets.coco import COCO
from datasets.errors import DataError, nearest
from datasets.formats.coco_json import read_document
from datasets.formats.finder import IMAGE_ENDINGS, files_below
from datasets.formats.findings import FATAL, LOSING, Findings, unpacked
from datasets.formats.values import is_text
from datasets.formats.voc_columns import read_labels as read_xml
from datasets.formats.voc_images import find_images
from datasets.formats.voc_lists import Entry
from datasets.formats.yolo_columns import read_labels as read_text
from datasets.formats.yolo_layout import described_by, read_layout
from datasets.formats.yolo_lists import Entry as TextEntry
from datasets.formats.yolo_lists import label_of, texts_alone
from datasets.index import Columns, source_of, texts

WITHOUT_IMAGE = "labels without an image"
UNREADABLE = "label files that can't be read"
UNUSABLE = "rows that can't be used"
TWICE = "labels of an image that has others"
TWINS = "images of the same name as another, where labels don't say which"
ELSEWHERE = "texts called as images: call their folder labels, beside images, or lay them there"
UNLABELLED = "images without labels"
NOT_TEXT = "files whose names aren't UTF-8"


@dataclass(frozen=True, slots=True)
class Item:
    """One image with labels: its file and its label file, relative to the root; its classes."""

    image: str
    source: str
    image_id: str
    classes: tuple[str, ...]


@dataclass(slots=True)
class Found:
    """What a folder holds; `left_out` counts what can't be used, `first` names one of each."""

    root: Path
    layout: str
    classes: tuple[str, ...]  # in the order in which they are learned
    items: list[Item] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)  # images that labels belong to, read or not

    def leave_out(self, why: str, what: str) -> None:
        """Count one more thing that can't be used."""
        self.left_out[why] += 1
        self.first.setdefault(why, what)


def find(root: Path, layout: str | None = None, *, without: str = "") -> Found:
    """The labelled images below `root`, of the layout that labels most, or of `layout`.

    `without`: a folder that is passed over. DataError where there are no labels, or no images.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    if layout is not None and layout not in DATASETS:
        raise DataError(f"--labels: no layout {layout!r}{nearest(layout, DATASETS)}")
    rows = [layout] if layout else list(DATASETS)
    found = [_READERS.get(name, partial(_of_row, name))(root, without) for name in rows]
    best = max(found, key=lambda one: len(one.items))
    if not best.items:
        told = "; ".join(
            f"{count} {why} ({one.first[why]})"
            for one in found
            for why, count in one.left_out.items()
        )
        raise DataError(
            f"{root}: no image with labels: neither VOC's XML by the name of an image, COCO's JSON,"
            " nor YOLO's text, labels/a.txt for images/a.jpg or beside it"
            f"{f'; found {told}' if told else ''}{_others(root)}"
        )
    for path in _files(root, IMAGE_ENDINGS, Found(root, best.layout, ()), without):
        if path not in best.named:
            best.leave_out(UNLABELLED, path)
    for other in found:
        for item in other.items if other is not best else ():
            name = other.layout
            best.leave_out(f"{name.upper()} labels beside them (--labels {name})", item.source)
    return best


def _others(root: Path) -> str:
    """What may hold the images or labels that were not found, in words."""
    told = ""
    for what, endings in _OTHERS.items():
        files = [*files_below(root, endings)]
        more = ", .." if len(files) > 3 else ""
        told += f"; {what}: {', '.join(files[:3])}{more}" if files else ""
    return told


_OTHERS = {
    "archives lie there, to be unpacked": (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar"),
    "tables aren't read, export COCO, VOC or YOLO": (".csv", ".tsv", ".parquet", ".xlsx"),
}


def _of_voc(root: Path, without: str) -> Found:
    found = Found(root, "voc", ())
    annotations = list(_files(root, (".xml",), found, without))
    entries = [Entry(Path(path).stem, path, "") for path in annotations]
    raw, _ = read_xml(root, entries, 1, Findings())
    unread = set(raw.meta["unread"])
    files, twins = find_images(root, entries, texts(raw, "filename"))
    for finding in twins:
        found.leave_out(TWINS, f"{finding.file}: {finding.message}")
    _take(found, raw, files, annotations, unread)
    found.classes = tuple(sorted({name for item in found.items for name in item.classes}))
    return found


def _of_coco(root: Path, without: str) -> Found:
    found = Found(root, "coco", ())
    names = sorted(_files(root, (".json",), found, without), key=lambda n: "instances" not in n)
    classes: dict[str, None] = {}
    for name in names:
        try:
            read_document(root / name)
        except DataError as error:
            found.leave_out(UNREADABLE, str(error))
            continue
        written = COCO(str(root), name, name, name).written("train")
        classes |= dict.fromkeys(written.names)
        for finding in written.findings:
            if finding.kind in FATAL:
                found.leave_out(UNREADABLE, f"{name}: {finding.message}")
        _take(found, written.raw, list(written.files), [name] * len(written.files), set())
    used = {name for item in found.items for name in item.classes}
    for name in classes:
        if name not in used:  # a supercategory, most often
            found.leave_out("categories without an object", name)
    found.classes = tuple(name for name in classes if name in used)
    return found


def _of_yolo(root: Path, without: str) -> Found:
    layout = read_layout(root)
    found = Found(root, "yolo", layout.names)
    images = list(_files(root, IMAGE_ENDINGS, found, without))
    labels = [label_of(root, image) for image in images]
    there = [(root / label).is_file() for label in labels]
    folders = _homes(image for image, known in zip(images, there, strict=True) if known)
    entries = [
        TextEntry(image, label, image)  # one without a label file is background
        for image, label in zip(images, labels, strict=True)
        if image.rpartition("/")[0] in folders
    ]
    if entries:
        sources = [entry.label for entry in entries]
        raw, _ = read_text(layout, entries, texts_alone(root, _homes(sources), set(sources)))
        for finding in unpacked(raw.meta["findings"]):
            if finding.kind == "missing_image":
                found.leave_out(WITHOUT_IMAGE, finding.file)
        for path in () if layout.names else _files(root, (".yaml", ".yml"), found, without):
            if described_by((root / path).parent) == root / path:
                found.leave_out("names of classes in folders below: import those", path)
        _take(found, raw, [e.image for e in entries], sources, set(raw.meta["unread"]))
        found.classes = tuple(raw.meta["names"])
    else:
        _note_folders(found, images, without)
    return found


def _note_folders(found: Found, images: Sequence[str], without: str) -> None:
    """Name folders of texts called as images, which hold labels that no rule leads to."""
    stems = {Path(image).stem for image in images}
    folders = Counter(
        path.rpartition("/")[0] or "."
        for path in _files(found.root, (".txt",), found, without)
        if Path(path).stem in stems
    )
    for folder, count in folders.items():
        for _ in range(count):
            found.leave_out(ELSEWHERE, folder)


def _of_row(name: str, root: Path, without: str) -> Found:
    """A layout of which only the row is known: the images of all splits that it finds."""
    found = Found(root, name, ())
    row = DATASETS[name]
    classes: dict[str, None] = {}
    for split in row.splits_in(root) if row.is_at(root) else ():
        one = row.of_split(root, split, images=None, first_pixel=1).written("train")
        classes |= dict.fromkeys(one.names)
        sources = [source_of(one.raw, place) for place in range(len(one.files))]
        _take(found, one.raw, one.files, sources, set(one.raw.meta.get("unread", ())))
    found.classes = tuple(classes)
    return found


_READERS: dict[str, Callable[[Path, str], Found]] = {
    "voc": _of_voc,
    "coco": _of_coco,
    "yolo": _of_yolo,
}


def _homes(paths: Iterable[str]) -> set[str]:
    return {path.rpartition("/")[0] for path in paths}


def _files(root: Path, endings: tuple[str, ...], found: Found, without: str) -> Iterator[str]:
    for path in files_below(root, endings):
        if without and path.startswith(f"{without}/"):
            continue
        if is_text(path):
            yield path
        else:
            found.leave_out(NOT_TEXT, repr(path))


def _take(
    found: Found, raw: Columns, files: Sequence[str], sources: Sequence[str], unread: set[int]
) -> None:
    """Add the images of one reading that are there, each once."""
    known = {item.image for item in found.items}
    names = np.array([*raw.meta["names"], ""], object)
    first = raw["first"].tolist()
    findings = unpacked(raw.meta["findings"])
    why = {f.file: f.message for f in findings if f.kind in FATAL}
    for finding in findings:
        if finding.kind in LOSING:
            found.leave_out(UNUSABLE, f"{finding.file}: {finding.message}")
    for row, (image, source, name) in enumerate(
        zip(files, sources, texts(raw, "image_id"), strict=True)
    ):
        found.named.add(image)
        if row in unread:
            found.leave_out(UNREADABLE, f"{source}: {why[source]}" if source in why else source)
        elif not (found.root / image).is_file():
            found.leave_out(WITHOUT_IMAGE, source if found.layout != "coco" else image)
        elif image in known:
            found.leave_out(TWICE, image)
        else:
            known.add(image)
            labels = raw["name"][first[row] : first[row + 1]]
            classes = tuple(sorted({str(n) for n in names[labels] if n}))
            found.items.append(Item(image, source, name, classes))
