"""Asks another process what is wrong with a sweep before anything runs, and of draws as they come.

The configurations of trials are built by code that imports torch (`judging.py`). It runs beside the
process that owns the sweep, which so holds a few dozen megabytes for as long as the sweep takes.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from experiments.config.located import read_located
from experiments.config.resolve import BASE
from experiments.errors import ConfigError, UsageError
from experiments.sweep.command import is_train
from experiments.sweep.cost import Trials
from experiments.sweep.proposals import first_points
from experiments.sweep.space import Parameters, Sweep, point_key
from experiments.sweep.sweep_file import read_sweep, readable_part

CHECKOUT = str(Path(__file__).parents[2])  # where its process finds the rooms, wherever it runs
FAULTY = -1  # for a count of points: the file itself cannot be read as it is
MOST_DRAWS = 32  # of a sweep without an end that are looked at before it starts
Progress = Callable[[int, int], None]  # points done, points in all


def read_whole(path: Path) -> Sweep:
    """Read a sweep file; what is wrong with it and with its parameters is told at once."""
    try:
        return read_sweep(path)
    except ConfigError as error:
        if {BASE, "detector"} & read_located(path).keys.keys():
            told = "is a recipe, which `train` runs; a sweep's file names it as its config"
            raise ConfigError(f"{path}: {told}") from None
        part = readable_part(path)  # raises what the file is, where it is no YAML
        if part is None or not Checker(part).judges:
            raise
        with Checker(part) as checker:
            raise ConfigError(*error.findings, *checker.listen(FAULTY)) from None


class Judging:
    """The process that judges: sweep files one after the other, and draws of the last one."""

    def __init__(self) -> None:
        given = os.environ.get("PYTHONPATH")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.sweep.judging"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (CHECKOUT, given)))},
        )

    def events(self, path: Path, count: int) -> Iterator[Mapping[str, Any]]:
        """What it says of a file and its first `count` points; raises UsageError where it dies."""
        self._ask([str(path), count])
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event: Mapping[str, Any] = json.loads(line)
            if "end" in event:
                return
            yield event
        words = self._process.communicate()[1].strip()
        raise UsageError(f"{path}: its points could not be checked: {words}")

    def why(self, point: Parameters) -> str | None:
        """What is wrong with a draw of the last file, or None."""
        self._ask(dict(point))
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        return None if not answer else json.loads(answer)["why"]

    def close(self, *, now: bool = False) -> None:
        """End it; `now`: whatever it does."""
        if now:
            self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(now=True)

    def _ask(self, question: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died: what it leaves unsaid tells so
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()


class Checker:
    """Judges the points of one sweep: in a process of its own, or in one that is lent to it."""

    def __init__(
        self, sweep: Sweep, progress: Progress | None = None, judging: Judging | None = None
    ) -> None:
        self.sweep = sweep
        self._progress = progress
        self.trials: list[Trials] = []  # those looked at beforehand, for what they will cost
        self.places: list[tuple[str, str | None]] = []  # of a grid's points: kind, tape
        self._invalid: dict[str, str] = {}  # what is wrong with draws, by their points' keys
        self._known: set[str] = set()  # of draws that were judged beforehand
        self._lent = judging
        self._own: Judging | None = None

    @property
    def judges(self) -> bool:
        """Whether trials are configured by recipes: those of another program are its own affair."""
        named = "config" in self.sweep.fixed or any(
            parameter.name == "config" for parameter in self.sweep.parameters
        )
        return named or is_train(self.sweep.command, self.sweep.program)

    def check(self, count: int | None = None) -> None:
        """Judge the first `count` points (default: all, or a few of a sweep without an end).

        Raises ConfigError with all that is wrong with a grid, or with every draw of another sweep.
        """
        if not self.judges:
            return
        wanted = self.sweep.size() if count is None else count
        looked_at = MOST_DRAWS if wanted is None else wanted
        findings = self.listen(looked_at)
        if findings:
            self.close()
            raise ConfigError(*findings)
        if self.sweep.method == "random":
            self._known = {point_key(point) for point in first_points(self.sweep, looked_at)}
        if self.sweep.method != "bayes":
            self.close()  # nothing is asked for a long time, if ever

    def known(self, point: Parameters) -> str | None:
        """What was found wrong with a draw beforehand, or None."""
        return self._invalid.get(point_key(point))

    def why(self, point: Parameters) -> str | None:
        """What is wrong with a draw, or None."""
        if not self.judges or point_key(point) in self._known:
            return self.known(point)
        if self._own is None:
            self.listen(0)
        assert self._own is not None
        return self._own.why(point)

    def close(self) -> None:
        """End the process that judges, where it is its own."""
        if self._own is not None:
            self._own.close()
            self._own = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own is not None:
            self._own.close(now=True)
            self._own = None

    def listen(self, count: int) -> list[str]:
        """What is found in the sweep's first `count` points, or in a FAULTY file."""
        judging = self._lent
        if judging is None or not count:  # draws are judged while another may have what was lent
            self._own = judging = self._own or Judging()
        findings: list[str] = []
        total = 0
        for event in judging.events(self.sweep.path, count):
            total = event.get("of", total)
            if "finding" in event:
                findings.append(event["finding"])
            if "kind" in event:
                self.trials.append(Trials(event["kind"], event["trials"], event["tapes"]))
            if "places" in event:
                self.places = [(sys.intern(kind), tape) for kind, tape in event["places"]]
            if "invalid" in event:
                self._invalid[event["invalid"]] = event["why"]
            if "done" in event and self._progress is not None:
                self._progress(event["done"], total)
        return findings
