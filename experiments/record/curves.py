"""A run's curves: `curves.jsonl` has a row an iteration, its record a sample of them.

The sample is every k-th iteration, k the smallest power of two that leaves at most MOST_POINTS,
with the first and the last row: real rows, no means of them. A run of up to MOST_POINTS iterations
keeps all.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import msgspec

from experiments.errors import shown
from experiments.record import typed
from experiments.record.lines import Appender, Tail
from experiments.record.parts import CurveFile, Metrics, Point, Validation

ValueT = TypeVar("ValueT")
CURVES_FILE = "curves.jsonl"
MOST_POINTS = 2000  # a figure is about 400 px wide; half a megabyte of a record
MOST_TOLD = 5  # damaged lines


class CurveWriter:
    """Appends points and validations to `curves.jsonl`; use as a context manager, or `close`."""

    def __init__(self, folder: Path) -> None:
        self._log = Appender(folder / CURVES_FILE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def point(self, values: Mapping[str, float | None]) -> None:
        """Append one point; `iteration` is needed, NaN and infinity are kept as None."""
        if not isinstance(values.get("iteration"), int):
            raise ValueError(f"iteration: a point needs one, found {sorted(values)}")
        self._log.append(values)

    def validation(self, iteration: int, metrics: Metrics | Mapping[str, Any]) -> None:
        """Append the numbers measured at `iteration`; they are on the disk when this returns."""
        if not isinstance(metrics, Metrics):
            metrics = read_metrics(metrics)
        self._log.append(Validation(iteration, metrics))
        self._log.sync()

    def close(self) -> None:
        """Sync and close; a second call does nothing."""
        self._log.close()


class Curves(NamedTuple):
    """What a curves file says: a sample of its points, and all validations, by iteration."""

    points: tuple[Point, ...]
    validations: tuple[Validation, ...]
    file: CurveFile


def read_curves(path: Path, most: int = MOST_POINTS) -> Curves:
    """Read `curves.jsonl`, a torn last line left out, in memory that does not grow with it.

    Where a resumed run went back to an earlier iteration, what came after it there replaces what
    was written before. Lines that are no row are counted and named in `file.damaged`.
    """
    tail, sample = Tail(path), _Sample(path.name, most)
    for block in tail.blocks():
        sample.take(block)
    rest = tail.rest() if path.exists() else b""
    if _head(rest) is not None:  # whole but for its end
        sample.take(rest + b"\n")
    return sample.read()


def read_metrics(values: Mapping[str, Any]) -> Metrics:
    """Metrics from the dictionary that `evaluation.evaluate` returns; raises RecordError."""
    return typed.read(Metrics, typed.plain(values), "metrics")


_NONE = msgspec.Raw()


IN_FORCE = ("iteration", "progress", "seconds", "lr", "gamma", "alpha")
DIGITS, IN_FORCE_DIGITS = 5, 7  # that count, of a mean and of what was in force


def averaged(
    points: Sequence[Point], file: CurveFile | None, most: int
) -> tuple[tuple[Point, ...], CurveFile]:
    """At most `most` points, each the mean of equally many neighbours but for what was in force,
    which is its last neighbour's; and what they are.
    """
    each = -(-len(points) // most) or 1
    ends = sorted(range(len(points), 0, -each))  # the last stands for as many as any
    means = tuple(_mean(points[max(0, end - each) : end]) for end in ends)
    file = file or CurveFile(rows=len(points))
    return means, dataclasses.replace(file, averaged=each * file.averaged)


def _mean(points: Sequence[Point]) -> Point:
    found: Point = {}
    for name in dict.fromkeys(name for point in points for name in point):
        values = [value for point in points if (value := point.get(name)) is not None]
        if name in IN_FORCE:
            value = points[-1].get(name)
            found[name] = _rounded(value, IN_FORCE_DIGITS) if isinstance(value, float) else value
        elif values:
            found[name] = _rounded(sum(values) / len(values), DIGITS)
    return found


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


class _Head(msgspec.Struct, gc=False):
    """What decides whether a line is kept; its other numbers are passed over, not read."""

    iteration: int
    metrics: msgspec.Raw = _NONE  # of a validation

    @property
    def is_point(self) -> bool:
        return self.metrics is _NONE


_HEADS = msgspec.json.Decoder(_Head)
_POINTS = msgspec.json.Decoder(Point)


class _Line(NamedTuple):
    iteration: int
    number: int  # in the file, from 1
    text: bytes


class _Sample:
    """Lines kept so far; their numbers are read at the end."""

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._every = 1
        self._rows = 0
        self._number = 1  # of the next line in the file
        self._first: _Line | None = None
        self._last: _Line | None = None
        self._kept: list[_Line] = []
        self._validations: list[_Line] = []
        self._damaged = 0
        self._told: list[str] = []

    def take(self, block: bytes) -> None:
        """Take in whole lines, the ones after those of the call before."""
        texts = block[:-1].split(b"\n")
        heads = _heads(block, texts)
        if not self._take_stretch(texts, heads):
            self._take_each(texts, heads)

    def _take_stretch(self, texts: list[bytes], heads: Sequence[_Head | None]) -> bool:
        """Take in a block of nothing but points of consecutive iterations, which most are: what is
        kept of them follows from the first. False for any other block.
        """
        whole = [head for head in heads if head is not None and head.metrics is _NONE]
        if self._last is None or len(whole) != len(heads):
            return False
        first = whole[0].iteration
        expected = list(range(first, first + len(whole)))
        if first <= self._last.iteration or [head.iteration for head in whole] != expected:
            return False
        for place in range(-first % self._every, len(heads), self._every):
            if (first + place) % self._every == 0:  # keeping one may have doubled the step
                self._keep(_Line(first + place, self._number + place, texts[place]))
        self._rows += len(heads)
        self._number += len(heads)
        self._last = _Line(expected[-1], self._number - 1, texts[-1])
        return True

    def _take_each(self, texts: list[bytes], heads: Sequence[_Head | None]) -> None:
        for place, (head, text) in enumerate(zip(heads, texts, strict=True), start=self._number):
            if head is None:
                self._damage(place, text)
            elif head.metrics is not _NONE:
                self._validate(_Line(head.iteration, place, text))
            else:
                self._take_point(_Line(head.iteration, place, text))
        self._number += len(texts)

    def _take_point(self, line: _Line) -> None:
        if self._last is not None and line.iteration <= self._last.iteration:
            self._go_back(line.iteration)
        self._rows += 1
        self._last = line
        if line.iteration % self._every == 0:
            self._keep(line)
        elif self._first is None:
            self._first = line

    def read(self) -> Curves:
        """The numbers of what was kept."""
        lines = {line.iteration: line for line in (self._first, *self._kept, self._last) if line}
        points = [self._decoded(line, _POINTS.decode) for line in lines.values()]
        validations = [self._decoded(line, _validation) for line in self._validations]
        more = self._damaged - len(self._told)
        told = (*self._told, f"{more} more such lines") if more else tuple(self._told)
        return Curves(
            tuple(point for point in points if point is not None),
            tuple(validation for validation in validations if validation is not None),
            CurveFile(rows=self._rows, every=self._every, damaged=told),
        )

    def _keep(self, line: _Line) -> None:
        self._first = self._first or line
        self._kept.append(line)
        while len(self._kept) > self._most:
            self._every *= 2
            self._kept = [old for old in self._kept if old.iteration % self._every == 0]

    def _validate(self, line: _Line) -> None:
        self._validations = _before(line.iteration, self._validations)
        self._validations.append(line)

    def _go_back(self, iteration: int) -> None:
        """What was written of `iteration` and later was trained again."""
        self._kept = _before(iteration, self._kept)
        self._validations = _before(iteration, self._validations)
        if self._first is not None and self._first.iteration >= iteration:
            self._first = None

    def _decoded(self, line: _Line, read: Callable[[bytes], ValueT]) -> ValueT | None:
        try:
            return read(line.text)
        except (msgspec.MsgspecError, typed.RecordError):
            self._damage(line.number, line.text)
            return None

    def _damage(self, number: int, text: bytes) -> None:
        if not text.strip():
            return
        self._damaged += 1
        if self._damaged <= MOST_TOLD:
            self._told.append(f"{self._name}:{number}: no row of curves: {shown(text)}")


def _before(iteration: int, lines: list[_Line]) -> list[_Line]:
    return [line for line in lines if line.iteration < iteration]


def heads_of(block: bytes) -> Sequence[_Head | None]:
    """The head of each line of a block of whole lines; None for what is no row."""
    return _heads(block, block[:-1].split(b"\n"))


def _heads(block: bytes, texts: list[bytes]) -> Sequence[_Head | None]:
    try:
        heads = _HEADS.decode_lines(block)
    except msgspec.MsgspecError:
        heads = []
    # Empty lines have no head, so that the counts differ.
    return heads if len(heads) == len(texts) else [_head(text) for text in texts]


def _head(text: bytes) -> _Head | None:
    try:
        return _HEADS.decode(text)
    except msgspec.MsgspecError:
        return None


def _validation(text: bytes) -> Validation:
    return typed.read(Validation, typed.parse(text, ""), "")
