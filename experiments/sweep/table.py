"""A sweep for the eye: a live table on a terminal, plain lines elsewhere, `status` of a folder."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from experiments.config.words import path_words, short
from experiments.record.follow import Progress
from experiments.sweep.coordinator import Coordinator
from experiments.sweep.state import State, Trial

MOST_DRAWN = 200  # rows of a table with lines around its cells
ROWS = 24  # of a live table; the rest is counted in its caption
LONGEST_WORD = 24  # of a value that is not cut where room is short
REFRESHES = 2  # a second
STYLES = {"finished": "green", "failed": "bold red", "stopped": "yellow", "running": "cyan"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `progress` is a fraction, `seconds_left` None where unknown."""

    trial: Trial
    progress: float
    metric: float | None
    seconds: float
    seconds_left: float | None
    quiet: float | None = None  # seconds without a new row, where that is long


def live_rows(coordinator: Coordinator) -> list[Row]:
    """Trials that run or have ended, as they stand now."""
    rows = []
    now = time.monotonic()
    for trial in coordinator.state.trials.values():
        if trial.status == "pending":
            continue
        running = coordinator.running.get(trial.n)
        seconds = trial.seconds + (now - coordinator.began[trial.n] if running else 0.0)
        rows.append(row(trial, running, seconds))
    return rows


def row(trial: Trial, running: Progress | None, seconds: float) -> Row:
    """One trial's line; a running one is judged by its own curves."""
    if running is None:
        return Row(trial, 1.0 if trial.status == "finished" else 0.0, trial.metric, seconds, None)
    done = running.progress
    left = seconds * (1 - done) / done if done > 0 else None
    metric = running.history[-1] if running.history else None
    quiet = running.quiet(time.time(), trial.started or time.time())
    return Row(trial, done, metric, seconds, left, quiet)


class Left(NamedTuple):
    """Seconds to the end of a sweep; `guessed` of its trials are of a kind that none has ended."""

    seconds: float
    guessed: int

    @property
    def told(self) -> str:
        """For a caption."""
        doubt = f" ({self.guessed} trials of a kind that none has ended)" if self.guessed else ""
        return f"; about {clock(self.seconds)} to go{doubt}"


def left_of(
    state: State, rows: Sequence[Row], waiting: int | None, unseen: int, slots: int
) -> Left | None:
    """Time left: what running trials need, and for each of so many `waiting` trials, and `unseen`
    points, the mean of those like it. Trials are alike in their kind, and in whether they write a
    tape or replay it: of those that wait, all that write will run. None where nothing tells it.
    """
    writing = writers(state.trials.values())
    taken: dict[tuple[str | None, bool], list[float]] = {}
    for known in (_ended_seconds(rows), _expected_seconds(rows)):
        found: dict[tuple[str | None, bool], list[float]] = {}
        for trial, seconds in known:
            found.setdefault((trial.kind, trial.n in writing), []).append(seconds)
        taken = {**found, **taken}
    if not taken or waiting is None:
        return None
    means = {group: sum(each) / len(each) for group, each in taken.items()}

    def mean(trial: Trial) -> float:
        """Of the trials like it, else of its kind, else of all."""
        own = means.get((trial.kind, trial.n in writing))
        kind = [value for (kind, _), value in means.items() if kind == trial.kind]
        others = kind or [*means.values()]
        return sum(others) / len(others) if own is None else own

    pending = state.with_status("pending")
    firsts = [trial for trial in pending if trial.n in writing][:waiting]
    others = [trial for trial in pending if trial.n not in writing]
    share = (waiting - len(firsts)) / max(1, len(others))
    left = [
        max(0.0, mean(r.trial) - r.seconds) if r.seconds_left is None else r.seconds_left
        for r in rows
        if r.trial.status == "running"
    ]
    ahead = sum(map(mean, firsts)) + share * sum(map(mean, others))
    ahead += unseen * sum(means.values()) / len(means)
    strange = [trial for trial in firsts + others if (trial.kind, trial.n in writing) not in taken]
    seconds = max([(sum(left) + ahead) / max(1, slots), *left])
    return Left(seconds, round(len(strange) * (waiting / max(1, len(pending)))))


def writers(trials: Iterable[Trial]) -> set[int]:
    """The trials that compute what a tape lacks: the first one of each, in the order that they ran
    and will run.
    """
    order = sorted(trials, key=lambda each: (each.status == "pending", each.started or 0.0, each.n))
    first = {trial.tape: trial.n for trial in reversed(order) if trial.tape is not None}
    return {*first.values()}


def _ended_seconds(rows: Sequence[Row]) -> Iterator[tuple[Trial, float]]:
    return ((r.trial, r.seconds) for r in rows if r.trial.status in ("finished", "stopped"))


def _expected_seconds(rows: Sequence[Row]) -> Iterator[tuple[Trial, float]]:
    return ((r.trial, r.seconds + r.seconds_left) for r in rows if r.seconds_left is not None)


def rendered(
    state: State,
    rows: Sequence[Row],
    metric: str,
    varying: Sequence[str],
    caption: str,
    *,
    maximize: bool = True,
) -> Table:
    """The table of `rows`: trial (the best has a star), the parameters that vary, state, progress,
    metric, time, ETA; columns that say nothing are left out.
    """
    table = Table(
        caption=caption,
        caption_justify="left",
        box=SIMPLE_HEAD,
        collapse_padding=True,  # room for a column more at 80 columns
        pad_edge=False,
    )
    best = _best(rows, maximize)
    lines = _lines(rows, varying)
    heads = ["state", "done", metric, "time", "left"]
    said = [any(line[place - len(heads)] for line in lines) for place in range(len(heads))]
    said[1] = any(item.progress < 1 for item in rows)
    table.add_column("trial", justify="right", no_wrap=True)
    for place, name in enumerate(varying, start=1):
        word = all(" " not in line[place] and len(line[place]) <= LONGEST_WORD for line in lines)
        heading = name.rpartition(".")[2] if _alone(name, varying) else name
        table.add_column(heading, no_wrap=word)
    for heading, shown in zip(heads, said, strict=True):
        if shown:
            if heading == "state":  # in lines, where it has more than one word
                table.add_column(heading, min_width=len("finished"))
            else:
                table.add_column(heading, justify="right", no_wrap=True)
    for item, line in zip(rows, lines, strict=True):
        kept = [cell for cell, shown in zip(line[-len(heads) :], said, strict=True) if shown]
        number = f"★ {line[0]}" if item is best else line[0]
        style = STYLES.get(item.trial.status, "dim")
        table.add_row(number, *line[1 : -len(heads)], *kept, style=style)
    return table


def by_choice(rows: Sequence[Row], *, maximize: bool = True) -> list[Row]:
    """The best of the finished first, then what has no metric yet, in the order of trials."""

    def place(item: Row) -> tuple[bool, float, int]:
        ended = item.trial.status == "finished" and item.metric is not None
        value = (item.metric or 0.0) if ended else 0.0
        return not ended, -value if maximize else value, item.trial.n

    return sorted(rows, key=place)


def _best(rows: Sequence[Row], maximize: bool) -> Row | None:
    """The best finished trial, where there is another."""
    found = [r for r in rows if r.trial.status == "finished" and r.metric is not None]
    return by_choice(found, maximize=maximize)[0] if len(found) > 1 else None


def listed(rows: Sequence[Row], metric: str, varying: Sequence[str], caption: str) -> str:
    """The same as plain lines: a drawn table of 2,000 rows takes seconds to lay out."""
    names = [name.rpartition(".")[2] if _alone(name, varying) else name for name in varying]
    head = ["trial", *names, "state", "done", metric, "time", "left"]
    lines = [head, *_lines(rows, varying)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return "\n".join([*texts, caption])


def _lines(rows: Sequence[Row], varying: Sequence[str]) -> list[list[str]]:
    """The cells of each row; schedules by their values alone where these tell them apart, since
    they are what a narrow terminal has no room for.
    """
    columns = []
    for name in varying:
        values = [short(item.trial.told.get(name, "")) for item in rows]
        brief = {value: path_words(value) for value in values}
        apart = len(set(brief.values())) == len(brief)
        columns.append([brief[value] if apart else value for value in values])
    return [_cells(item, values) for item, *values in zip(rows, *columns, strict=True)]


def _cells(item: Row, values: Sequence[str]) -> list[str]:
    metric = "" if item.metric is None else f"{item.metric:.2f}"
    left = "" if item.seconds_left is None else clock(item.seconds_left)
    state: str = item.trial.status
    if item.quiet is not None:
        state += f", quiet {clock(item.quiet)}"
    if item.trial.over is not None:
        state += ", time used up"
    told = [state, f"{item.progress:.0%}", metric, clock(item.seconds), left]
    return [str(item.trial.n), *values, *told]


def varying_names(state: State) -> list[str]:
    """Parameters that take more than one value among the sweep's points."""
    values: dict[str, set[str]] = {}
    for trial in state.trials.values():
        for name, value in trial.parameters.items():
            values.setdefault(name, set()).add(repr(value))
    return [name for name, seen in values.items() if len(seen) > 1]


def counts(state: State) -> str:
    """`3 finished, 1 running, 8 pending of 12`."""
    found: Counter[str] = Counter(trial.status for trial in state.trials.values())
    order = ("finished", "stopped", "passed", "failed", "running", "pending")
    told = ", ".join(f"{found[status]} {status}" for status in order if found[status])
    return f"{told or 'no trials'} of {len(state.trials)}"


def clock(seconds: float) -> str:
    """`1:05` or `2:03:04`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Teller(Console):
    """Standard error, for people; where nobody reads it any more it falls silent."""

    def __init__(self) -> None:
        super().__init__(stderr=True, markup=False)

    def on_broken_pipe(self) -> None:
        """Rich itself ends the program here."""
        self.quiet = True


class PlainLines:
    """One line an event, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def said(self, text: str) -> None:
        """Print the line; a reader who is gone, or a full disk below a log, ends no sweep."""
        with suppress(OSError):
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def ticked(self, coordinator: Coordinator) -> None:
        """Nothing: lines say it all."""

    def __enter__(self) -> "PlainLines":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


class LiveTable(PlainLines):
    """A table that is redrawn in place, with events scrolling by above it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, refresh_per_second=REFRESHES, transient=False)

    def ticked(self, coordinator: Coordinator) -> None:
        """Redraw."""
        rows = live_rows(coordinator)
        state = coordinator.state
        waiting = coordinator.waiting
        size = coordinator.sweep.size()
        unseen = 0 if size is None else max(0, size - len(state.trials))
        left = left_of(state, rows, waiting, unseen, coordinator.executor.slots)
        eta = "" if left is None else left.told
        best = best_of(rows, maximize=_maximizes(coordinator))
        caption = f"{coordinator.sweep.name}: {counts(state)}{eta}{best}"
        rows = sorted(rows, key=lambda item: item.trial.status == "running")[-ROWS:]
        names = varying_names(state)
        table = rendered(
            state, rows, coordinator.metric_name, names, caption, maximize=_maximizes(coordinator)
        )
        self._live.update(table)

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def best_of(rows: Sequence[Row], *, maximize: bool) -> str:
    """`; best so far: trial 3 (51.20)` over finished trials, or nothing."""
    finished = [r for r in rows if r.trial.status == "finished" and r.metric is not None]
    if not finished:
        return ""
    best = (max if maximize else min)(finished, key=lambda item: item.metric or 0.0)
    return f"; best so far: trial {best.trial.n} ({best.metric:.2f})"


def _maximizes(coordinator: Coordinator) -> bool:
    metric = coordinator.sweep.metric
    return metric is not None and metric.goal == "maximize"


def _alone(name: str, names: Sequence[str]) -> bool:
    last = name.rpartition(".")[2]
    return sum(other.rpartition(".")[2] == last for other in names) == 1


def status_json(state: State, folder_name: str) -> Mapping[str, object]:
    """The state for programs: one object, trials by number."""
    trials = [
        {
            "n": trial.n,
            "key": trial.key,
            "status": trial.status,
            "parameters": trial.parameters,
            "resolved": trial.told,
            "attempts": trial.attempts,
            "seconds": round(trial.seconds, 3),
            "metric": trial.metric,
            "error": trial.error,
            "used_up_seconds": trial.over,
        }
        for trial in state.trials.values()
    ]
    return {"folder": folder_name, "opened": state.opened, "trials": trials}
