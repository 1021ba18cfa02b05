"""Progress of a run: a bar with its numbers on a terminal, a plain line now and then in a log."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, ClassVar, Self, TextIO, TypeVar, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

SECONDS_BETWEEN_LINES = 15.0
WIDE = 120  # columns from which on the bar is long, and gamma, rate and speed are beside the loss

Row = dict[str, float | None]
ItemT = TypeVar("ItemT")


class Pace:
    """Seconds left of a run, by its own clock: what an iteration has taken on average since the
    first row, counted down between rows.
    """

    def __init__(self, iterations: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._iterations, self._clock = iterations, clock
        self._began: float | None = None  # the first row: opening data is not training
        self._start = 0
        self._ends: float | None = None

    def saw(self, done: int) -> None:
        """A row of iteration `done` has come; a resumed run does not begin at 0."""
        now = self._clock()
        if self._began is None:
            self._began, self._start = now, done
        elif done > self._start:
            each = (now - self._began) / (done - self._start)
            self._ends = now + each * (self._iterations - done)
        if done >= self._iterations:
            self._ends = now

    def left(self) -> float | None:
        """Seconds from now to the end; None before there are two rows."""
        return None if self._ends is None else max(0.0, self._ends - self._clock())


class _Left(ProgressColumn):
    """Time left, drawn anew with every refresh."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        left = self._pace.left()
        told = "-:--:--" if left is None else str(timedelta(seconds=math.ceil(left)))
        return Text(f"{told} left", style="progress.remaining")


class TrainProgress(AbstractContextManager["TrainProgress"]):
    """Shows rows of the curves as they come."""

    on_screen: "ClassVar[TrainProgress | None]" = None  # a terminal has room for one moving line

    def __init__(self, title: str, iterations: int) -> None:
        self._title, self._iterations = title, iterations
        self._pace = Pace(iterations)
        self._told: float | None = None
        self._validated: str | None = None
        self._numbers = ""
        self._console = Console(file=sys.stderr)
        self._bar = self._columns()
        self._task = self._bar.add_task(title, total=iterations, numbers="")

    def _columns(self) -> Progress:
        """What is always there keeps its width; the title is cut first."""
        fixed = Column(no_wrap=True)
        return Progress(
            TextColumn(
                "{task.description}",
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
                markup=False,
            ),
            BarColumn(bar_width=24 if self._console.width >= WIDE else 8),
            MofNCompleteColumn(table_column=fixed),
            TaskProgressColumn(table_column=fixed),
            _Left(self._pace),
            TextColumn("{task.fields[numbers]}", table_column=fixed, markup=False),
            console=self._console,
            expand=True,
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
            TrainProgress.on_screen = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()
            TrainProgress.on_screen = None

    def paused(self, words: str | None) -> None:
        """Say what is done instead of training, in place of the numbers; None: they are back."""
        self._bar.update(self._task, numbers=self._numbers if words is None else words)

    def validated(self, iteration: int, metrics: Mapping[str, Any]) -> None:
        """Show the last validation beside the rows from now on."""
        value = metrics.get("voc07_map")
        self._validated = None if value is None else f"mAP {value:.1f}"

    def __call__(self, row: Row) -> None:
        """Show one row."""
        done = int(row["iteration"] or 0)
        self._pace.saw(done)
        wide = not self._console.is_terminal or self._console.width >= WIDE
        numbers = "  ".join(_numbers(row, self._validated, wide=wide))
        if self._console.is_terminal:
            self._numbers = numbers
            self._bar.update(self._task, completed=done, numbers=numbers)
            return
        now = time.monotonic()
        soon = self._told is not None and now - self._told < SECONDS_BETWEEN_LINES
        if soon and done < self._iterations:
            return
        self._told = now
        left = self._pace.left()
        ending = "" if left is None else f"  ETA {left:.0f} s"
        print(
            f"{self._title}: {done}/{self._iterations}  {numbers}{ending}",
            file=sys.stderr,
            flush=True,
        )


def _numbers(row: Row, validated: str | None, *, wide: bool) -> Iterator[str]:
    """Loss and the last validation, and where there is room what else is worth a look."""
    if row.get("loss") is not None:
        yield f"loss {row['loss']:.3f}"
    if validated is not None:
        yield validated
    for name, form in (
        ("gamma", "gamma {:.2f}"),
        ("lr", "lr {:.2g}"),
        ("images_per_second", "{:.0f} images/s"),
    ):
        value = row.get(name)
        if wide and value is not None:
            yield form.format(value)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def shown(items: Iterable[ItemT], title: str, total: int) -> Iterator[ItemT]:
    """Yield `items` under a progress bar where there is a terminal."""
    console = Console(file=sys.stderr)
    training = TrainProgress.on_screen
    if training is not None:
        for number, item in enumerate(items, 1):
            yield item
            training.paused(f"{title} {number}/{total}")
        training.paused(None)
        return
    if not console.is_terminal:
        yield from items
        return
    with _bar(console) as bar:
        task = bar.add_task(title, total=total)
        for item in items:
            yield item
            bar.advance(task)


@contextmanager
def counted(title: str, unit: str) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar of something counted, on a terminal; gives (what, done, total or None) -> None."""
    console = Console(file=sys.stderr)
    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)

        def step(what: str, done: int, total: int | None) -> None:
            progress.update(task, description=what, completed=done, total=total)

        yield step


class _Unread:
    """A stream whose reader may leave: what nobody reads any longer goes nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write and flush; once the reader is gone, to nowhere."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
        return len(text)


@contextmanager
def outliving_its_log() -> Iterator[None]:
    """A training inside goes on where `train 2>&1 | head` has read enough of what it tells."""
    stream = sys.stderr
    sys.stderr = cast(TextIO, _Unread(stream))
    try:
        yield
    finally:
        sys.stderr = stream
