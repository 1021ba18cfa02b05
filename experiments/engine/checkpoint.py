"""Checkpoints of tensors and plain values: written atomically, read without running anything in
them.

    iteration_00000300.pt   all that training needs to go on from there
    best_00000200.pt        the weights of one of the best validations
    *.sha256                the checksum of each; it is there before its checkpoint is

The best checkpoints by a number of the validations, and the end of a run that gets no better.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from experiments.engine.distributed import is_first
from experiments.engine.guards import disk_error, non_finite
from experiments.errors import UsageError
from experiments.record.files import sync, write_text

FORMAT = 1


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` and its checksum; `path` is whole at any moment (fsync, then rename).

    Raises GuardError where the disk does not take it; what was at `path` is then still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        # A kill between the two renames leaves a checksum without its file, never a file without.
        write_text(_checksum_path(path), f"{_digest(temporary)}  {path.name}\n")
        os.replace(temporary, path)
        sync(path.parent)
    except (OSError, RuntimeError) as error:
        raise disk_error(error, path) or error from error
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU; raises UsageError that says what is wrong with the file."""
    if not path.is_file():
        raise UsageError(f"{path}: no such checkpoint")
    checksum = _checksum_path(path)
    if checksum.is_file() and checksum.read_text(encoding="utf-8").split()[:1] != [_digest(path)]:
        raise UsageError(f"{path}: does not match {checksum.name}: damaged or changed")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is not one of its own
        raise UsageError(f"{path}: not a readable checkpoint: {error}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UsageError(f"{path}: not a checkpoint of this program (format {FORMAT})")
    return state


def newest_good(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest readable checkpoint of a run, older ones being tried when it is damaged."""
    return next(_good(sorted(folder.glob("iteration_*.pt"), reverse=True)), None)


def best_good(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The readable checkpoint with the best validation, the earlier of equal ones."""
    found = _good(sorted(folder.glob("best_*.pt")))
    return max(found, key=lambda pair: (pair[1]["value"], -pair[1]["iteration"]), default=None)


def find_checkpoint(path: Path) -> tuple[Path, dict[str, Any]]:
    """A checkpoint file, the newest one of a run's folder, or the best one of `<folder>/best`."""
    if path.is_file():
        return path, load_checkpoint(path)
    best = path.name == "best"
    folder = path.parent if best else path
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such file or folder; name a checkpoint or a run's folder")
    place = folder if folder.name == "checkpoints" else folder / "checkpoints"
    found = best_good(place) if best else newest_good(place)
    if found is None:
        kind = "checkpoint of a validation (train.validate_every)" if best else "checkpoint"
        raise UsageError(f"{folder}: no {kind} here; name a run's folder or a checkpoint file")
    return found


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint, then its checksum."""
    path.unlink(missing_ok=True)
    _checksum_path(path).unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what a kill in the middle of writing left; call it while nobody writes there."""
    for pattern in (".iteration_*", ".best_*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


class CheckpointWriter:
    """Writes `iteration_*.pt`, keeping the newest few."""

    def __init__(
        self,
        folder: Path,
        keep: int,
        state: Callable[[], dict[str, Any]],
        before: Callable[[], None],
    ) -> None:
        """`before()` runs first: it puts the rows up to here on disk, and may refuse."""
        self._folder = folder
        self._keep = keep
        self._state = state
        self._before = before
        self.written = 0

    def __call__(self, iteration: int) -> None:
        """Write the checkpoint of `iteration`; raises GuardError where its weights are no numbers
        or the disk is full.
        """
        self._before()
        self.written = iteration
        if not is_first():
            return
        state = self._state()
        broken = non_finite(state["detector"])
        if broken is not None:
            raise broken
        save_checkpoint(self._folder / f"iteration_{iteration:08d}.pt", state)
        for old in sorted(self._folder.glob("iteration_*.pt"))[: -self._keep]:
            remove_checkpoint(old)


def _good(paths: list[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in paths:
        try:
            yield path, load_checkpoint(path)
        except UsageError as error:
            print(f"{error}; trying the one before it", flush=True)


def _checksum_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


History = list[tuple[int, float | None]]  # iteration, value; None where it is undefined


class Best:
    """Keeps `best_*.pt` of the `keep` best validations; `exhausted` after `patience` idle ones."""

    def __init__(
        self,
        folder: Path,
        metric: str,
        *,
        keep: int,
        patience: int | None,
        weights: Callable[[], dict[str, Any]],
    ) -> None:
        """`weights()` is what a checkpoint of the current state holds, without the optimiser."""
        self._folder = folder
        self._metric = metric
        self._keep = keep
        self._patience = patience
        self._weights = weights
        self.history: History = []

    @property
    def last(self) -> int:
        """The iteration of the last validation, 0 before the first."""
        return self.history[-1][0] if self.history else 0

    @property
    def exhausted(self) -> bool:
        """Whether as many validations as `patience` in a row brought nothing better."""
        if self._patience is None:
            return False
        best = max(range(len(self.history)), key=self._rank, default=0)
        return len(self.history) - 1 - best >= self._patience

    def __call__(self, iteration: int, metrics: Mapping[str, Any]) -> None:
        """Take in the numbers of one validation; writes and removes checkpoints."""
        value = metrics[self._metric]
        self.history = [entry for entry in self.history if entry[0] < iteration]
        self.history.append((iteration, None if value is None else float(value)))
        if self._keep == 0 or not is_first():
            return
        ranked = sorted(range(len(self.history)), key=self._rank, reverse=True)
        kept = {self.history[i][0] for i in ranked[: self._keep] if self.history[i][1] is not None}
        if iteration in kept:
            state = {**self._weights(), "metric": self._metric, "value": value}
            save_checkpoint(self._path(iteration), state)
        for path in self._folder.glob("best_*.pt"):
            if path not in map(self._path, kept):
                remove_checkpoint(path)

    def _rank(self, place: int) -> tuple[float, int]:
        """Better is more; of equals the earlier, which had its value with less training."""
        value = self.history[place][1]
        return (float("-inf") if value is None else value, -place)

    def _path(self, iteration: int) -> Path:
        return self._folder / f"best_{iteration:08d}.pt"
