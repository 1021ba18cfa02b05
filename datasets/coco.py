"""Data in COCO's layout: one instances JSON a split and a folder of images.

Crowd regions become `crowd`.

COCO       root/annotations/instances_train2017.json, root/train2017/
Roboflow   root/train/{_annotations.coco.json, a.jpg, ..}; a split may be named by its folder
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from datasets import index
from datasets.dataset import Dataset, Split
from datasets.errors import IMPORT, DataError, nearest
from datasets.formats import coco_columns
from datasets.formats.coco_images import find_images
from datasets.formats.coco_json import read_document
from datasets.formats.findings import Findings
from datasets.formats.split_names import coco_split, coco_splits
from datasets.index import Columns, texts
from datasets.parts import Val, labels_of, parted
from datasets.policy import BadLabel, Mark, Policy
from datasets.written import Written, check_settings, chosen


@dataclass(frozen=True, slots=True)
class COCO:
    """Instances JSON and image folders, by split.

    `classes` None: all categories, in order of their ids.

    `images` names the folder of images, of all splits or of each; None: the name the JSON file ends
    on (`instances_train2017.json` -> `train2017`), else `images`, else where the JSON file is.
    """

    root: str
    train: str = "annotations/instances_train2017.json"
    val: Val = "annotations/instances_val2017.json"
    test: str = "annotations/instances_val2017.json"
    images: str | dict[str, str] | None = None
    classes: tuple[str, ...] | None = None
    crowd: Mark = "ignore"  # neither rewarded nor punished; or left out; or like any other
    bad_label: BadLabel = "fix"  # mend or leave out with a report; leave out; or stop
    min_box_px: float = 0.0  # shorter side in the original image; smaller boxes are left out

    def __post_init__(self) -> None:
        """Refuse impossible values; ValueError begins with the field's name."""
        check_settings(self.classes, self.min_box_px)
        if isinstance(self.images, Mapping) and set(self.images) - {"train", "val", "test"}:
            raise ValueError(f"images: a folder for train, val, test, found {list(self.images)}")

    FORM: ClassVar[str] = "annotations/instances_*.json, train/_annotations.coco.json"

    @staticmethod
    def is_at(root: Path) -> bool:
        """Whether a folder is in this layout."""
        return bool(coco_splits(root))

    @staticmethod
    def splits_in(root: Path) -> list[str]:
        """The splits of a folder in this layout, as `train` may name them."""
        return coco_splits(root)

    @classmethod
    def of_split(
        cls, root: Path, split: str, *, images: str | None, first_pixel: Literal[0, 1]
    ) -> Self:
        """Settings of which every split is `split`: a file, its folder, or a word in its name."""
        name = coco_split(root, split)
        return cls(str(root), name, name, name, images=images)

    def open(self, split: Split) -> Dataset:
        """Read one split's labels (or their cached index).

        DataError says what is missing or wrong, and where.
        """
        written = self.written(split)
        dataset = written.dataset(self._classes(written), self.policy)
        return parted(dataset, self.val, split)

    @property
    def policy(self) -> Policy:
        """How doubtful labels are treated."""
        return Policy("ignore", self.crowd, self.bad_label, self.min_box_px, inclusive=False)

    def written(self, split: Split) -> Written:
        """Labels of one split as written; DataError where its file isn't there."""
        split = labels_of(self.val, split)
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise DataError(
                f"{root}: no such folder; point `root` at a folder in COCO layout,"
                " or fetch one: python -m experiments data --help"
            )
        name = json_of(root, getattr(self, split))
        raw, key = _raw(root / name, name)
        asked = self.images.get(split) if isinstance(self.images, Mapping) else self.images
        return Written(root, raw, key, find_images(root, name, asked, texts(raw, "filename")))

    def _classes(self, written: Written) -> tuple[str, ...]:
        where = f"{written.root / written.raw.meta['source']}: classes: no category {{!r}}"
        return chosen(self.classes, written.names, where)


def category_ids(dataset: Dataset) -> tuple[int, ...]:
    """The JSON's category id of each label of a data set opened by `COCO`."""
    return tuple(ids[0] for ids in dataset.columns.meta["category_ids"])


def label_by_category(dataset: Dataset) -> dict[int, int]:
    """The label of each category id of the JSON; empty for a data set of another layout."""
    ids = dataset.columns.meta.get("category_ids", ())
    return {i: label for label, same in enumerate(ids) for i in same if isinstance(i, int)}


def json_of(root: Path, split: str) -> str:
    """The instances file of a split, relative to the root; a folder means the only one in it."""
    if (root / split).is_dir():
        found = sorted((root / split).glob("*.json"))
        if len(found) == 1:
            return f"{split.rstrip('/')}/{found[0].name}"
    return split


def _raw(path: Path, name: str) -> tuple[Columns, str]:
    """Labels as written, and their content key."""
    try:
        stamp = index.stamp(path)
    except OSError:
        found = sorted(other.name for other in path.parent.glob("*.json"))
        raise DataError(
            f"{path}: no such file{nearest(path.name, found)}"
            f" (found: {', '.join(found[:12]) or 'none'}); {IMPORT}"
        ) from None

    def content() -> str:
        with path.open("rb") as file:
            return index.digest("coco", name, hashlib.file_digest(file, "sha256").hexdigest())

    def build() -> Columns:
        try:
            return coco_columns.columns(read_document(path), name)
        except DataError as error:
            findings = Findings()
            message = str(error).removeprefix(f"{path}: ")
            findings.add(name, None, "broken_labels", message)
            return coco_columns.empty(findings, name)

    key = index.content_key(index.digest("coco", name, str(path.resolve()), stamp), content)
    return index.cached(key, build), key
