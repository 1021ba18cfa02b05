"""Asks another process what is wrong with a sweep before anything runs, and of draws as they come.

The configurations of trials are built by code that imports torch (`judging.py`). It runs beside the
process that owns the sweep, which so holds a few dozen megabytes for as long as the sweep takes.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

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
        part = readable_part(path)  # raises what the file is, where it is no YAML
        if part is None or not Checker(part).judges:
            raise
        with Checker(part) as checker:
            raise ConfigError(*error.findings, *checker.listen(FAULTY)) from None


class Checker:
    """Judges the points of one sweep."""

    def __init__(self, sweep: Sweep, progress: Progress | None = None) -> None:
        self.sweep = sweep
        self._progress = progress
        self.trials: list[Trials] = []  # those looked at beforehand, for what they will cost
        self.places: list[tuple[str, str | None]] = []  # of a grid's points: kind, tape
        self._invalid: dict[str, str] = {}  # what is wrong with draws, by their points' keys
        self._known: set[str] = set()  # of draws that were judged beforehand
        self._process: subprocess.Popen[str] | None = None

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
        if self._process is None:
            self.listen(0)
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(dict(point)) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        return None if not answer else json.loads(answer)["why"]

    def close(self) -> None:
        """End the process that judges."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
        self.close()

    def listen(self, count: int) -> list[str]:
        """Start the process that judges, and what it finds in the first `count` points."""
        command = [sys.executable, "-m", "experiments.sweep.judging"]
        given = os.environ.get("PYTHONPATH")
        self._process = subprocess.Popen(
            [*command, str(self.sweep.path), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (CHECKOUT, given)))},
        )
        assert self._process.stdout is not None
        findings: list[str] = []
        total = 0
        for line in self._process.stdout:
            event: Mapping[str, Any] = json.loads(line)
            if "end" in event:
                return findings
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
        words = self._process.communicate()[1].strip()
        raise UsageError(f"{self.sweep.path}: its points could not be checked: {words}")
