"""Data in YOLO's layout: one text file an image, boxes in fractions of it.

ultralytics, Roboflow   root/data.yaml, root/train/{images,labels}; or root/{images,labels}/train
Darknet                 root/obj.data, obj.names, train.txt; labels beside images or in `labels`
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from datasets.dataset import Dataset, Split
from datasets.formats.yolo_columns import read_labels
from datasets.formats.yolo_layout import described_by, read_layout
from datasets.formats.yolo_lists import entries, splits, without_image
from datasets.parts import Val, labels_of, parted
from datasets.policy import BadLabel, Policy
from datasets.written import Written, check_settings, chosen


@dataclass(frozen=True, slots=True)
class YOLO:
    """A folder with text labels.

    `data`: the file below the root that describes it (data.yaml, obj.data); None: the one there is.
    `train`, `val`, `test`: splits that it names, or folders of images or lists below the root.
    `classes` None: all that the description names, in its order.
    """

    root: str
    train: str = "train"
    val: Val = "val"
    test: str = "test"
    data: str | None = None
    classes: tuple[str, ...] | None = None
    bad_label: BadLabel = "fix"  # mend or leave out with a report; leave out; or stop
    min_box_px: float = 0.0  # shorter side in the original image; smaller boxes are left out

    def __post_init__(self) -> None:
        """Refuse impossible values; ValueError begins with the field's name."""
        check_settings(self.classes, self.min_box_px)

    FORM: ClassVar[str] = "data.yaml, obj.data, images/train"

    @staticmethod
    def is_at(root: Path) -> bool:
        """Whether a folder is in this layout."""
        return described_by(root) is not None or bool(splits(read_layout(root)))

    @staticmethod
    def splits_in(root: Path) -> list[str]:
        """The splits of a folder in this layout, as `train` may name them."""
        return splits(read_layout(root))

    @classmethod
    def of_split(
        cls, root: Path, split: str, *, images: str | None, first_pixel: Literal[0, 1]
    ) -> Self:
        """Settings of which every split is `split`."""
        return cls(str(root), split, split, split)

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
        return Policy("ignore", "ignore", self.bad_label, self.min_box_px, inclusive=False)

    def written(self, split: Split) -> Written:
        """Labels of one split as written; DataError where the split itself isn't there."""
        split = labels_of(self.val, split)
        root = Path(self.root).expanduser()
        layout = read_layout(root, self.data)
        name = getattr(self, split)
        found = entries(layout, name, split)
        raw, key = read_labels(layout, found, without_image(layout, name, split, found))
        return Written(root, raw, key, [entry.image for entry in found])

    def _classes(self, written: Written) -> tuple[str, ...]:
        known = written.names
        if not read_layout(written.root, self.data).names:  # numbers, as many as any split has
            roles: tuple[Split, ...] = ("train", "val", "test")
            others = [self.written(role) for role in roles if isinstance(getattr(self, role), str)]
            known = max((other.names for other in others), key=len)
        return chosen(self.classes, known, f"{written.root}: classes: no class {{!r}}")
