"""Labels of one split as written, and the way from there to labels as used.

Every verb goes this way: a format reads its files to `Columns` (cached by content), the images are
found and their headers read, sizes are settled, then `policy.judge` decides on each object.
Columns as written: `first`, `size_hw`, `boxes`, `name`, `difficult`, `crowd`, `area`, `object`, and
text `image_id`, `source` (label file) and what the format needs to find an image; `meta` has
`names`, `findings`, `lost` and the format's own.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

from datasets import index
from datasets.dataset import Dataset
from datasets.errors import IMPORT, DataError, Finding, nearest
from datasets.formats.findings import FATAL, packed, unpacked
from datasets.headers import image_headers, with_sizes
from datasets.index import Columns, pack_text
from datasets.policy import Policy, judged


@dataclass(frozen=True, slots=True)
class Written:
    """`files`: the image of each row, relative to the root; it may not be there."""

    root: Path
    raw: Columns
    key: str  # of the content of `raw`
    files: Sequence[str]

    @property
    def names(self) -> list[str]:
        """Classes that the labels name."""
        names: list[str] = self.raw.meta["names"]
        return names

    @property
    def findings(self) -> list[Finding]:
        """Flaws met while reading."""
        return unpacked(self.raw.meta["findings"])

    def noting(self, more: Sequence[Finding]) -> Self:
        """With findings of its images among those of its labels."""
        if not more:
            return self
        told = packed([*self.findings, *more])
        raw = Columns(self.raw.arrays, self.raw.meta | {"findings": told})
        return replace(self, raw=raw, key=index.digest(self.key, told))

    def sized(self) -> Columns:
        """The columns with `image`, and with the sizes of the images as they are used."""
        text, ends = pack_text(self.files)
        raw = Columns(self.raw.arrays | {"image": text, "image_ends": ends}, self.raw.meta)
        headers = image_headers(self.root, self.files)
        return with_sizes(raw, headers)

    def dataset(self, classes: Sequence[str], policy: Policy) -> Dataset:
        """Labels as used; DataError where a label file can't be read."""
        fatal = [finding for finding in self.findings if finding.kind in FATAL]
        if fatal:
            more = f" (and {len(fatal) - 1} more files: the doctor names them)"
            raise DataError(
                f"{self.root / fatal[0].file}: {fatal[0].message}{more if len(fatal) > 1 else ''}"
            )
        headers = image_headers(self.root, self.files)
        names = "\n".join(self.files).encode()
        key = index.digest(self.key, headers.meta["key"], names, asdict(policy), list(classes))
        columns = index.cached(key, partial(self._judged, tuple(classes), policy))
        return Dataset(self.root, columns)

    def _judged(self, classes: tuple[str, ...], policy: Policy) -> Columns:
        return judged(self.sized(), classes, policy)


def check_settings(classes: Sequence[str] | None, min_box_px: float) -> None:
    """Refuse impossible values; ValueError begins with the field's name."""
    if classes is not None and len(set(classes)) != len(classes):
        raise ValueError(f"classes: each may be named once, found {list(classes)}")
    if min_box_px < 0:
        raise ValueError(f"min_box_px: must be >= 0, found {min_box_px}")


def chosen(asked: Sequence[str] | None, known: Sequence[str], where: str) -> tuple[str, ...]:
    """The classes asked for, or all that are known; DataError, which begins with `where`, of the
    first that isn't among them.
    """
    for number, name in enumerate(asked or ()):
        if name in (asked or ())[:number]:
            raise DataError(f"classes: each may be named once, found {name!r} twice")
        if name not in known:
            raise DataError(
                f"{where.format(name)}{nearest(name, known)}"
                f" (found: {', '.join(known) or 'no object'}). Is the recipe for other data?"
                f" data.classes=null learns all classes there are; {IMPORT}"
            )
    return tuple(known if asked is None else asked)
