"""The best checkpoints by a number of the validations, and the end of a run that gets no better."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.engine.checkpoint import remove_checkpoint, save_checkpoint
from experiments.engine.distributed import is_first

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
