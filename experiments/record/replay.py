"""Every row of a run's curves again, in order, for who mirrors them elsewhere; in little memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments.record.curves import CURVES_FILE, heads_of
from experiments.record.follow import objects_of
from experiments.record.lines import Tail


class _Cut(NamedTuple):
    """A resumed run went back: lines before `line` that are of `iteration` or later are void."""

    line: int
    iteration: int


class Replay:
    """The rows that `curves.jsonl` holds now: what is appended later is not among them.

    What a resumed run trained again comes once, as it was trained last.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CURVES_FILE
        self._lines = 0
        self._cuts: list[_Cut] = []
        self.last = 0  # the last iteration of any row
        newest = 0  # of the points
        for block in Tail(self._path).blocks():
            for head in heads_of(block):
                self._lines += 1
                if head is None:
                    continue
                if head.is_point and head.iteration <= newest:
                    self._cuts.append(_Cut(self._lines, head.iteration))
                newest = head.iteration if head.is_point else newest
                self.last = head.iteration
        for place in range(len(self._cuts) - 2, -1, -1):  # what voids a line is any cut after it
            later = min(self._cuts[place].iteration, self._cuts[place + 1].iteration)
            self._cuts[place] = self._cuts[place]._replace(iteration=later)

    def after(self, iteration: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Iterations beyond the given one, with their rows: points, or validations' `metrics`."""
        line, cuts = 0, iter(self._cuts)
        cut = next(cuts, None)
        for block in Tail(self._path).blocks():
            for row in objects_of(block):
                line += 1
                if line > self._lines:
                    return
                while cut is not None and line >= cut.line:
                    cut = next(cuts, None)
                place = row.get("iteration") if row is not None else None
                if not isinstance(place, int) or row is None or place <= iteration:
                    continue
                if cut is None or place < cut.iteration:
                    yield place, row
