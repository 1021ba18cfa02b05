"""A data set as opened: labels from mapped columns, pixels from disk.

Shapes: N boxes of one image, I images.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np
import torch

from datasets.decoding import OTHER_DECODER, decode_told
from datasets.errors import Finding
from datasets.index import Array, Columns, digest, text_at, texts
from datasets.sample import Annotation, Batch, Sample

if TYPE_CHECKING:
    from datasets.policy import Policy
    from datasets.written import Written

Split = Literal["train", "val", "test"]


class Dataset:
    """Images and labels of one split; cheap to pickle, safe to share between processes.

    `problems` are the bad labels met while reading; `unknown` counts the objects of classes nobody
    asked for.
    """

    def __init__(self, root: Path, columns: Columns) -> None:
        self.root = root
        self._columns = columns
        self.classes: tuple[str, ...] = tuple(columns.meta["classes"])
        self._by_pillow: set[int] = set()

    def __len__(self) -> int:
        return len(self._columns["first"]) - 1

    def __getitem__(self, index: int) -> Sample:
        """The original image and its labels; DataError names the file when it can't be decoded."""
        labels = self.annotation(index)
        image_CHW, by_pillow = decode_told(labels.path, labels.turn)
        return Sample(
            image_CHW=image_CHW,
            boxes_N4=torch.from_numpy(labels.boxes_N4),
            labels_N=torch.from_numpy(labels.labels_N),
            ignore_N=torch.from_numpy(labels.ignore_N),
            image_id=labels.image_id,
            index=index,
            original_hw=(image_CHW.shape[1], image_CHW.shape[2]),
            by_pillow=by_pillow,
        )

    def annotation(self, index: int) -> Annotation:
        """Labels of one image, no pixels read; IndexError outside 0..len-1."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        columns = self._columns
        rows = slice(int(columns["first"][index]), int(columns["first"][index + 1]))
        height, width = columns["size_hw"][index].tolist()
        return Annotation(
            image_id=text_at(columns, "image_id", index),
            path=self._path(text_at(columns, "image", index)),
            size_hw=(height, width),
            boxes_N4=columns["boxes"][rows].copy(),
            labels_N=columns["label"][rows].astype(np.int64),
            difficult_N=columns["difficult"][rows].astype(np.bool_),
            crowd_N=columns["crowd"][rows].astype(np.bool_),
            area_N=columns["area"][rows].copy(),
            object_N=columns["object"][rows].copy(),
            turn=int(columns["turn"][index]),
        )

    def files_of(self, image_ids: Sequence[str]) -> list[str]:
        """The files of these images, for messages: found by looking through all ids. What is no id
        of this split stands as it is.
        """
        ids = texts(self._columns, "image_id")
        place = {image_id: index for index, image_id in enumerate(ids)}
        files = texts(self._columns, "image")
        return [self._path(files[place[one]]) if one in place else one for one in image_ids]

    def _path(self, name: str) -> str:
        """As text: each part of a `Path` goes through the interpreter's table of all names, which
        on Python 3.13 made place for more after some 30,000 images, 3.8 MB in each loader process.
        """
        return os.path.join(self.root, name)

    @property
    def problems(self) -> list[Finding]:
        """Bad labels met while reading, in order of the images."""
        return [Finding(*fields) for fields in self._columns.meta["findings"]]

    @property
    def remarks(self) -> list[Finding]:
        """What is done to the pixels of this split, one each: no faults, but to be known."""
        return [Finding(*fields) for fields in self._columns.meta["remarks"]] + self.slowly_decoded

    def note_batches(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches as they come, of images of this data set; `slowly_decoded` learns of them."""
        for batch in batches:
            self._by_pillow.update(batch.by_pillow)
            yield batch

    @property
    def slowly_decoded(self) -> list[Finding]:
        """The JPEGs so far that the faster decoder refused and Pillow read, as one finding."""
        if not self._by_pillow:
            return []
        first = text_at(self._columns, "image", min(self._by_pillow))
        what = f"{len(self._by_pillow)} such images: {OTHER_DECODER}"
        return [Finding(first, None, "other_decoder", what)]

    @property
    def counts(self) -> tuple[int, int]:
        """Objects that count, and objects that are ignored (difficult, crowd)."""
        ignored = int((self._columns["difficult"] | self._columns["crowd"]).sum())
        return len(self._columns["label"]) - ignored, ignored

    @property
    def unknown(self) -> dict[str, int]:
        """Objects of classes nobody asked for, by name."""
        return dict(self._columns.meta["unknown"])

    @property
    def sizes_I2(self) -> Array:
        """(height, width) of all images as they are used; mapped, read-only."""
        return self._columns["size_hw"]

    @property
    def columns(self) -> Columns:
        """All labels at once, for statistics: `boxes`, `label`, `difficult`, `crowd`, `area`,
        `first`.
        """
        return self._columns

    def content_hash(self) -> str:
        """SHA-256 of ids, labels and classes as used, and of the images' sizes in bytes.

        The same on every machine, and in records of every version.
        """
        columns = self._columns
        names = list(_HASHED)
        if (columns["turn"] != 1).any():
            names.append("turn")
        labels = [columns[name].tobytes() for name in names]
        return digest(list(self.classes), *labels, columns["bytes"].tolist(), version=2)


# In the order in which records of the first version hold their digest.
_HASHED = (
    *("area", "boxes", "crowd", "difficult", "first", "image_ends", "image_id", "image_id_ends"),
    *("label", "object", "size_hw"),
)


class DataSettings(Protocol):
    """A row of `datasets.DATASETS`: frozen settings that open a split."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    FORM: ClassVar[str]  # what a folder of this layout is told by, in words

    @staticmethod
    def is_at(root: Path) -> bool:
        """Whether a folder is in this layout."""
        ...

    @staticmethod
    def splits_in(root: Path) -> list[str]:
        """The splits of a folder in this layout, as `train` may name them."""
        ...

    @classmethod
    def of_split(
        cls, root: Path, split: str, *, images: str | None, first_pixel: Literal[0, 1]
    ) -> Self:
        """Settings of which every split is `split`; the options may mean nothing to a layout."""
        ...

    @property
    def root(self) -> str: ...  # noqa: D102
    @property
    def val(self) -> object: ...  # noqa: D102
    @property
    def test(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> tuple[str, ...] | None: ...  # noqa: D102
    @property
    def policy(self) -> "Policy": ...  # noqa: D102

    def written(self, split: Split) -> "Written":
        """Labels of one split as written; DataError where the split itself isn't there."""
        ...

    def open(self, split: Split) -> Dataset:
        """The split's labels; DataError says what is missing or wrong, and where."""
        ...
