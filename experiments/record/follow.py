"""What a run says of itself as it goes: curves.jsonl row by row, record.json, a log if it fails.

For those who look while it runs (a sweep, `serve`): nothing here raises, half a file is read at the
next look.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from experiments.record.curves import CURVES_FILE
from experiments.record.lines import Tail
from experiments.record.record import RECORD_FILE

LOG = "trial.log"
TAIL_LINES = 12
TAIL_BYTES = 8192
FIRST_PATIENCE, LEAST_PATIENCE, PATIENCE = 300.0, 60.0, 30  # seconds, seconds, iterations
MOST_LOSSES = 120  # of a loss curve that is 200 px wide


@dataclass(slots=True)
class Progress:
    """A running account of one run's curves; numbers are None until it has told them.

    A run that resumes goes back to its checkpoint's iteration, and what it says from there on
    replaces what it said before.
    """

    folder: Path
    metric: str | None = None
    iteration: int = 0
    progress: float = 0.0  # fraction of training done, 0 to 1
    seconds: float | None = None  # of training so far
    speed: float | None = None  # images a second
    loss: float | None = None
    _values: list[tuple[int, float]] = field(default_factory=list)  # iteration, metric
    _losses: list[tuple[int, float]] = field(default_factory=list)
    _every: int = 1  # of the iterations that _losses are of
    _tail: Tail = field(init=False)

    def __post_init__(self) -> None:
        self._tail = Tail(self.folder / CURVES_FILE)

    @property
    def history(self) -> list[float]:
        """The metric, each time it was measured."""
        return [value for _, value in self._values]

    @property
    def losses(self) -> list[float]:
        """The loss so far at even distances, at most MOST_LOSSES of them."""
        return [value for _, value in self._losses]

    def quiet(self, now: float, started: float) -> float | None:
        """Seconds without a new row, where that is long for this run (`now`, `started`: since the
        epoch): 30 times what it takes for an iteration, and a minute at least; None where it is
        not. Before its first row a run has five minutes, and measuring at the end is not judged.
        """
        if self.progress >= 1:
            return None
        try:
            since = max((self.folder / CURVES_FILE).stat().st_mtime, started)
        except OSError:
            since = started
        pace = self.seconds / self.iteration if self.seconds and self.iteration else None
        patience = FIRST_PATIENCE if pace is None else max(LEAST_PATIENCE, PATIENCE * pace)
        return now - since if now - since > patience else None

    def update(self) -> bool:
        """Take in what was written since the last call; True if anything was."""
        news = False
        try:
            for block in self._tail.blocks():
                if self._tail.fresh:
                    self._forget(0)
                self._tail.fresh, news = False, True
                for row in objects_of(block):
                    if row is not None:
                        self._take(row)
        except OSError:
            return news
        return news

    def _take(self, row: dict[str, Any]) -> None:
        iteration, metrics = row.get("iteration"), row.get("metrics")
        if not isinstance(iteration, int):
            return
        if iteration < self.iteration:
            self._forget(iteration)
        self.iteration = iteration
        measured = metrics if isinstance(metrics, dict) else row
        value = _measured(measured, self.metric) if self.metric else None
        if value is not None:
            self._values.append((iteration, value))
        if measured is row:
            self._take_point(row, iteration)

    def _take_point(self, row: dict[str, Any], iteration: int) -> None:
        done = number(row.get("progress"))
        if done is not None:
            self.progress = min(1.0, max(0.0, done))
        self.seconds = number(row.get("seconds"))
        self.speed = number(row.get("images_per_second"))
        self.loss = number(row.get("loss"))
        if self.loss is not None and iteration % self._every == 0:
            self._losses.append((iteration, self.loss))
        if len(self._losses) > MOST_LOSSES:
            self._every *= 2
            self._losses = [pair for pair in self._losses if pair[0] % self._every == 0]

    def _forget(self, iteration: int) -> None:
        """Leave out what was said of `iteration` and later."""
        self._values = [pair for pair in self._values if pair[0] < iteration]
        self._losses = [pair for pair in self._losses if pair[0] < iteration]
        self.iteration = min(self.iteration, iteration)


def read_record(folder: Path) -> dict[str, Any] | None:
    """The run's record, or None while there is none that can be read."""
    try:
        record = msgspec.json.decode((folder / RECORD_FILE).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return record if isinstance(record, dict) else None


VAL = "val_"  # of a metric's name: measured on val, where a sweep may choose by it


def final_metric(record: dict[str, Any], name: str | None) -> float | None:
    """The sweep's metric in a finished record: `val_voc07_map` of val, `voc07_map` of what was
    measured.
    """
    if not name:
        return None
    metrics = record.get("val_metrics" if name.startswith(VAL) else "metrics")
    return _measured(metrics, name) if isinstance(metrics, dict) else None


def _measured(metrics: dict[str, Any], name: str) -> float | None:
    """One number of an evaluation by its key, val's or not, further metrics among them."""
    key, more = name.removeprefix(VAL), metrics.get("more")
    return number(more[key] if isinstance(more, dict) and key in more else metrics.get(key))


def in_force(parameters: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """The values that a recorded configuration has at the swept keys; of a mapping, the keys that
    were asked for.
    """
    found: dict[str, Any] = {}
    for name, asked in parameters.items():
        value = config
        for key in name.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(asked, Mapping) and isinstance(value, Mapping):
            value = {key: value[key] for key in asked if key in value}
        if value is not None:
            found[name] = value
    return found


def log_tail(folder: Path) -> str:
    """The last lines of the trial's log."""
    try:
        with (folder / LOG).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-TAIL_LINES:])


def number(value: object) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def objects_of(block: bytes) -> list[dict[str, Any] | None]:
    """The object of each line of a block of whole lines; None for what is none."""
    lines = block[:-1].split(b"\n")
    try:
        found = _OBJECTS.decode_lines(block)
    except msgspec.DecodeError:
        found = []
    if len(found) != len(lines):
        found = [_value(line) for line in lines]
    return [row if isinstance(row, dict) else None for row in found]


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)  # other programs' NaN too
    except ValueError:
        return None


_OBJECTS = msgspec.json.Decoder()
