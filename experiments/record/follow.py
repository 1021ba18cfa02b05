"""What a trial says of itself: curves.jsonl as it runs, record.json at its end, a log if it fails.

Only new bytes of curves.jsonl are read each time. A trial that resumes from a checkpoint may cut
its curves back, so a file that became shorter is read afresh.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.record.record import CURVES_FILE, RECORD_FILE

LOG = "trial.log"
TAIL_LINES = 12
TAIL_BYTES = 8192


@dataclass(slots=True)
class Progress:
    """A running account of one trial's folder."""

    folder: Path
    metric: str | None = None
    iteration: int = 0
    progress: float = 0.0  # fraction of training done, 0 to 1
    _values: list[tuple[int, float]] = field(default_factory=list)  # iteration, metric
    _offset: int = 0

    @property
    def history(self) -> list[float]:
        """The sweep's metric, each time it was measured."""
        return [value for _, value in self._values]

    def update(self) -> bool:
        """Take in what was written since the last call; True if anything was."""
        path = self.folder / CURVES_FILE
        try:
            size = path.stat().st_size
            if size < self._offset:
                self._offset = 0
                self._values.clear()
            if size == self._offset:
                return False
            with path.open("rb") as file:
                file.seek(self._offset)
                whole = file.read().rpartition(b"\n")[0]
        except OSError:
            return False
        self._offset += len(whole) + 1 if whole else 0
        for line in whole.splitlines():
            self._take(line)
        return bool(whole)

    def _take(self, line: bytes) -> None:
        try:
            row = json.loads(line)
        except ValueError:
            return
        if not isinstance(row, dict) or not isinstance(row.get("iteration"), int):
            return
        iteration, metrics = row["iteration"], row.get("metrics")
        if iteration < self.iteration:
            self._values = [pair for pair in self._values if pair[0] < iteration]
        self.iteration = iteration
        done = number(row.get("progress"))
        if done is not None:
            self.progress = min(1.0, max(0.0, done))
        measured = metrics if isinstance(metrics, dict) else row
        value = number(measured.get(self.metric)) if self.metric else None
        if value is not None:
            self._values.append((iteration, value))


def read_record(folder: Path) -> dict[str, Any] | None:
    """The trial's record, or None while there is none that can be read."""
    try:
        record = json.loads((folder / RECORD_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def final_metric(record: dict[str, Any], name: str | None) -> float | None:
    """The sweep's metric in a finished record."""
    metrics = record.get("metrics")
    return number(metrics.get(name)) if isinstance(metrics, dict) and name else None


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
