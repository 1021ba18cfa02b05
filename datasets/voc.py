"""Data in PASCAL VOC's layout: one XML file an image.

A flat folder, or a devkit with a folder a year.

flat     root/{Annotations,JPEGImages,ImageSets[/Main]};          splits "train", "a+b"
devkit   root/VOC2007/{Annotations,JPEGImages,ImageSets/Main};    splits "2007/train+2012/train"
beside   root/train/{a.jpg,a.xml,..};                             splits "train", "train+valid"

A list may also be a file below the root ("lists/train.txt"), each line an image and its XML file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from datasets.dataset import Dataset, Split
from datasets.formats.findings import Findings
from datasets.formats.split_names import voc_splits
from datasets.formats.voc_columns import read_labels
from datasets.formats.voc_images import find_images
from datasets.formats.voc_lists import read_split
from datasets.index import texts
from datasets.parts import Val, labels_of, parted
from datasets.policy import BadLabel, Mark, Policy
from datasets.written import Written, check_settings, chosen


@dataclass(frozen=True, slots=True)
class VOC:
    """A VOC-layout folder.

    `classes` None: every class found in any of the splits, in alphabetical order.
    """

    root: str
    train: str = "2007/trainval+2012/trainval"
    val: Val = "2007/test"
    test: str = "2007/test"
    classes: tuple[str, ...] | None = None
    difficult: Mark = "ignore"  # neither rewarded nor punished; or left out; or like any other
    bad_label: BadLabel = "fix"  # mend or leave out with a report; leave out; or stop
    min_box_px: float = 0.0  # shorter side in the original image; smaller boxes are left out
    first_pixel: Literal[0, 1] = (
        1  # what the files call the first pixel; both corners are inclusive
    )

    def __post_init__(self) -> None:
        """Refuse impossible values; ValueError begins with the field's name."""
        check_settings(self.classes, self.min_box_px)

    FORM: ClassVar[str] = "ImageSets/Main/*.txt, or VOC2007/..."

    @staticmethod
    def is_at(root: Path) -> bool:
        """Whether a folder is in this layout."""
        return any(root.glob("ImageSets")) or any(root.glob("*/ImageSets"))

    @staticmethod
    def splits_in(root: Path) -> list[str]:
        """The splits of a folder in this layout, as `train` may name them."""
        return voc_splits(root)

    @classmethod
    def of_split(
        cls, root: Path, split: str, *, images: str | None, first_pixel: Literal[0, 1]
    ) -> Self:
        """Settings of which every split is `split`."""
        return cls(str(root), split, split, split, first_pixel=first_pixel)

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
        return Policy(self.difficult, "ignore", self.bad_label, self.min_box_px, inclusive=True)

    def written(self, split: Split) -> Written:
        """Labels of one split as written; DataError where the split itself isn't there."""
        split = labels_of(self.val, split)
        root = Path(self.root).expanduser()
        findings = Findings()
        entries = read_split(root, getattr(self, split), split, findings)
        raw, key = read_labels(root, entries, self.first_pixel, findings)
        files, twins = find_images(root, entries, texts(raw, "filename"))
        return Written(root, raw, key, files).noting(twins)

    def _classes(self, written: Written) -> tuple[str, ...]:
        found = set(written.names)
        if self.classes is not None and found.issuperset(self.classes):
            return self.classes
        roles: dict[object, Split] = {self.test: "test", self.val: "val", self.train: "train"}
        for split, role in roles.items():
            if isinstance(split, str):
                found |= set(self.written(role).names)
        where = f"{written.root}: classes: no object of class {{!r}} in any split"
        return chosen(self.classes, sorted(found), where)
