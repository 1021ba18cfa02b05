"""Flaws met while labels are read: nothing stops at the first, all are kept with the labels.

Each is said as precisely as its kind deserves. A row that is lost is named by itself; what only
makes the reader take a default is one finding for all its objects, which counts them and names the
first.
"""

from collections.abc import Sequence
from typing import Any

from datasets.errors import Finding

# A label file that can't be read: training would lose objects without a trace, so it stops.
FATAL = ("broken_labels", "missing_labels")
# A row that can't be used: it is left out.
LOSING = ("bad_row",)
# The reader knows what is meant; only the doctor says so.
DEFAULTS = (
    *("missing_difficult", "missing_area", "missing_size", "duplicate_id", "no_label_file"),
    "extra_number",
)


class Findings:
    """Collects the flaws of one reading; `lost` counts the objects that no column holds."""

    def __init__(self) -> None:
        self._rows: list[Finding] = []
        self._counted: dict[tuple[str, str], list[Any]] = {}
        self.lost = 0

    def add(self, file: str, thing: int | None, kind: str, message: str, lost: int = 0) -> None:
        """One flaw by itself; `lost`: the objects that are left out for it."""
        self._rows.append(Finding(file, thing, kind, message))
        self.lost += lost

    def count(self, file: str, thing: int | None, kind: str, what: str) -> None:
        """One more of a flaw that many share, which `what` tells."""
        place = self._counted.setdefault((kind, what), [file, thing, 0])
        place[2] += 1

    def all(self) -> list[Finding]:
        """Everything so far, by file and place."""
        shared = [
            Finding(
                file, thing, kind, f"{what} ({number} such, first here)" if number > 1 else what
            )
            for (kind, what), (file, thing, number) in self._counted.items()
        ]
        return sorted(self._rows + shared, key=lambda f: (f.file, f.object or 0, f.kind))


def as_written(file: str, thing: int) -> str:
    """The key in `meta["words"]` of a box that is no four numbers, as its file has it."""
    return f"{file}\t{thing}"


def packed(findings: Sequence[Finding]) -> list[list[Any]]:
    """As JSON can hold them."""
    return [[f.file, f.object, f.kind, f.message] for f in findings]


def unpacked(rows: Sequence[Sequence[Any]]) -> list[Finding]:
    """The findings that `packed` wrote."""
    return [Finding(*row) for row in rows]
