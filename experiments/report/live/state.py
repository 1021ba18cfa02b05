"""Runs at or below a folder while they grow: only new bytes are read at each look."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.record.follow import Progress, in_force, number, read_record
from experiments.record.record import RECORD_FILE, find_records

METRIC = "voc07_map"


@dataclass(slots=True)
class WatchedRun:
    """One run's folder; numbers are None until the run has told them."""

    folder: Path
    arm: str = ""
    seed: int = 0
    status: str = "running"
    iterations: int | None = None  # that the run will do
    final: float | None = None  # the test's metric
    error: str = ""
    settings: dict[str, Any] = field(default_factory=dict)  # what it was told, as its record has it
    curves: Progress = field(init=False)
    address: str = "/"  # of its folder, below the served one
    _record_stamp: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.curves = Progress(self.folder, METRIC)

    @property
    def metric(self) -> float | None:
        """The test's where there is one, else the last validation's."""
        return self.final if self.final is not None else next(iter(self.curves.history[-1:]), None)

    @property
    def share(self) -> float:
        """How much of the training is done, 0..1."""
        if self.status == "finished":
            return 1.0
        return min(1.0, self.curves.iteration / self.iterations) if self.iterations else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Of training, at the pace so far; None where that is not known."""
        seconds = self.curves.seconds
        if self.status != "running" or not seconds or not self.share:
            return None
        return seconds * (1 - self.share) / self.share

    def update(self) -> bool:
        """Take in what is new; True where anything is."""
        changed = self._read_record()
        return self.curves.update() or changed

    def _read_record(self) -> bool:
        try:
            stat = (self.folder / RECORD_FILE).stat()
        except OSError:
            return False
        stamp = (stat.st_mtime_ns, stat.st_size)
        if stamp == self._record_stamp:
            return False
        record = read_record(self.folder)
        if record is None:
            return False  # half a file of another program: the next look finds it whole
        self._record_stamp = stamp
        self._take_record(record)
        return True

    def _take_record(self, record: Mapping[str, Any]) -> None:
        self.arm, self.status = str(record.get("arm", "")), str(record.get("status", ""))
        seed = record.get("seed")
        self.seed = seed if isinstance(seed, int) else 0
        train = _part(_part(record, "config"), "train")
        wanted = train.get("iterations")
        self.iterations = wanted if isinstance(wanted, int) and wanted > 0 else None
        self.settings = in_force(_part(record, "overrides"), record.get("config"))
        error = _part(record, "error")
        self.error = f"{error.get('type')}: {error.get('message')}" if error else ""
        self.final = number(_part(record, "metrics").get(METRIC))


class Watch:
    """All runs at or below a folder. `version` rises whenever anything about them changes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.runs: dict[Path, WatchedRun] = {}
        self.version = 0

    def update(self) -> bool:
        """Look for new runs and new bytes; True where there are any."""
        for folder in find_records(self.directory):
            if folder not in self.runs:
                place = folder.relative_to(self.directory).as_posix()
                address = "/" if place == "." else f"/{place}/"
                self.runs[folder] = WatchedRun(folder, address=address)
        changed = [run.update() for run in self.runs.values()]
        self.version += any(changed)
        return any(changed)

    def ordered(self) -> list[WatchedRun]:
        """Running ones first, then by arm and seed."""
        return sorted(
            self.runs.values(), key=lambda run: (run.status != "running", run.arm, run.seed)
        )

    def varying(self) -> list[str]:
        """The settings in which runs differ, but for arm and seed, which have columns."""
        runs = self.runs.values()
        names = dict.fromkeys(name for run in runs for name in run.settings)
        own = ("arm", "seed")
        seen = {name: {repr(run.settings.get(name)) for run in runs} for name in names}
        return [name for name, values in seen.items() if len(values) > 1 and name not in own]

    def best(self) -> WatchedRun | None:
        """The finished run with the highest metric."""
        known = [run for run in self.runs.values() if run.final is not None]
        return max(known, key=lambda run: run.final or 0.0, default=None)

    def settled(self) -> tuple[tuple[str, str], ...]:
        """Who has which status: when this changes, a report of the runs is another one."""
        return tuple(sorted((str(run.folder), run.status) for run in self.runs.values()))


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = values.get(name)
    return part if isinstance(part, Mapping) else {}
