"""What can be wrong with data: the room's exception, and the record of one flaw found in a label or
an image.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

# Said wherever layout, splits or classes are not those that were asked for.
IMPORT = "'python -m experiments data import FOLDER' makes splits and a recipe of labels"


class DataError(ValueError):
    """Data that can't be used as asked; the message names the file, the fault and the remedy."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One flaw in a data set.

    `object` is the 1-based place of the object in its file (VOC) or its annotation id (COCO); None
    where the flaw is the file's.
    """

    file: str
    object: int | None
    kind: str  # one of `datasets.doctor.examine.KINDS`
    message: str

    def __str__(self) -> str:
        """`file, object 3: message [kind]`, on one line."""
        where = self.file if self.object is None else f"{self.file}, object {self.object}"
        return f"{where}: {self.message} [{self.kind}]"


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'cat'?` for the closest of `known`, or nothing when none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
