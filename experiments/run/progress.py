"""Progress of a run: a bar with its numbers on a terminal, a plain line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SECONDS_BETWEEN_LINES = 15.0

Row = dict[str, float | None]
ItemT = TypeVar("ItemT")


class TrainProgress(AbstractContextManager["TrainProgress"]):
    """Shows rows of the curves as they come."""

    def __init__(self, title: str, iterations: int) -> None:
        self._title = title
        self._iterations = iterations
        self._start = 0
        self._began: float | None = None  # the first row: opening data is not training
        self._told = 0.0
        self._validated = ""
        self._console = Console(file=sys.stderr)
        self._bar = _bar(self._console, TextColumn("{task.fields[numbers]}"))
        self._task = self._bar.add_task(title, total=iterations, numbers="")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def validated(self, iteration: int, metrics: Mapping[str, Any]) -> None:
        """Show the last validation beside the rows from now on."""
        value = metrics.get("voc07_map")
        self._validated = "" if value is None else f"  mAP {value:.1f}"

    def __call__(self, row: Row) -> None:
        """Show one row."""
        done = int(row["iteration"] or 0)
        if self._began is None:
            self._began, self._start = time.monotonic(), done
            self._bar.reset(self._task, completed=done)  # a resumed run does not begin at 0
        if self._console.is_terminal:
            self._bar.update(self._task, completed=done, numbers=_numbers(row) + self._validated)
            return
        now = time.monotonic()
        if now - self._told < SECONDS_BETWEEN_LINES and done < self._iterations:
            return
        self._told = now
        left = (now - self._began) / max(1, done - self._start) * (self._iterations - done)
        print(
            f"{self._title}: {done}/{self._iterations}  {_numbers(row)}{self._validated}"
            f"  ETA {left:.0f} s",
            file=sys.stderr,
            flush=True,
        )


def _numbers(row: Row) -> str:
    told = []
    for name, form in (
        ("loss", "loss {:.3f}"),
        ("gamma", "gamma {:.2f}"),
        ("lr", "lr {:.2g}"),
        ("images_per_second", "{:.0f} images/s"),
    ):
        value = row.get(name)
        if value is not None:
            told.append(form.format(value))
    return "  ".join(told)


def _bar(console: Console, *more: TextColumn) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        *more,
        console=console,
    )


def shown(items: Iterable[ItemT], title: str, total: int) -> Iterator[ItemT]:
    """Yield `items` under a progress bar where there is a terminal."""
    console = Console(file=sys.stderr)
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
