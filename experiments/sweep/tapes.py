"""The tapes of a sweep's frozen backbones: trials find them by their environment, and the last one
that could use a tape takes it with it.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.config.upstream import is_below, upstream_of
from experiments.record import tapes as disk
from experiments.sweep.space import Sweep
from experiments.sweep.state import State, Trial

Say = Callable[[str], None]
GB = 10**9


class Tapes:
    """The tapes below one sweep's folder. `gib` bounds them: 0 means none, None lets trials
    choose.
    """

    def __init__(self, sweep: Sweep, folder: Path, gib: float | None, say: Say) -> None:
        self._sweep, self._folder = sweep, folder
        self._root = folder.absolute() / disk.FOLDER
        self._gib, self._say = gib, say

    def environment(self) -> dict[str, str]:
        """What tells trials where tapes are."""
        bound = {} if self._gib is None else {disk.GIB: str(self._gib)}
        return {disk.PLACE: str(self._root), **bound}

    def remove_unneeded(self, state: State, *, over: bool) -> None:
        """Remove what no trial that is still to run can use; `over`: no more are drawn.

        A trial counts as able to where nothing that was swept says otherwise.
        """
        cap = self._sweep.run_cap
        known = over or self._sweep.method == "grid"
        known = known or (cap is not None and len(state.trials) >= cap)
        if not known or not self._root.is_dir():
            return
        left = [trial for trial in state.trials.values() if not trial.ended]
        runs = {trial.folder(self._folder).name: trial for trial in state.trials.values()}
        if not left:
            self._remove(self._root)
        for tape in disk.tapes_below(self._root):
            if not _needed(tape, runs, left):
                self._remove(tape)

    def end(self, state: State, *, over: bool) -> None:
        """As `remove_unneeded`, and say what is left for trials that may follow."""
        self.remove_unneeded(state, over=over)
        if self._root.is_dir():
            size = disk.size_of(self._root) / GB
            self._say(f"{self._root}: {size:.2f} GB are kept for trials that may follow")

    def _remove(self, path: Path) -> None:
        freed = disk.remove(path) / GB
        self._say(f"{path.name}: no trial needs it any more, {freed:.2f} GB removed")


def _needed(tape: Path, runs: Mapping[str, Trial], left: Iterable[Trial]) -> bool:
    told = disk.about(tape)
    if told is None:
        return True  # being made just now
    settings = upstream_of(told.split)
    known = [_upstream(runs[run].parameters, settings) for run in told.runs if run in runs]
    return any(_upstream(trial.parameters, settings) in known for trial in left)


def _upstream(parameters: Mapping[str, Any], settings: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if is_below(name, settings)}
