"""Weights & Biases as a mirror of the record: online, offline or off. The one importer of wandb
outside sweeps.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol


class Tracker(Protocol):
    """Where a run's numbers are mirrored."""

    def log(self, values: Mapping[str, float | None], iteration: int) -> None:
        """Mirror one row of the curves."""

    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """Mirror the final numbers and close."""


class NoTracker:
    """Tracking switched off."""

    def log(self, values: Mapping[str, float | None], iteration: int) -> None:
        """Nothing."""

    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """Nothing."""


class WandbTracker:
    """A W&B run whose step axis is the iteration; offline runs lie in `<folder>/wandb`."""

    def __init__(
        self,
        folder: Path,
        run_id: str,
        *,
        mode: Literal["online", "offline"],
        project: str,
        group: str,
        config: Mapping[str, Any],
    ) -> None:
        import wandb

        # A sweep agent names the run itself through WANDB_RUN_ID; ours is stable over resumes.
        self._run = wandb.init(
            dir=str(folder),
            id=os.environ.get("WANDB_RUN_ID", run_id),
            name=group,
            group=group,
            project=project,
            mode=mode,
            config=dict(config),
            resume="allow" if mode == "online" else None,
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )

    def log(self, values: Mapping[str, float | None], iteration: int) -> None:
        """Log one row at `iteration`; undefined numbers are left out."""
        row = {name: value for name, value in values.items() if value is not None}
        self._run.log(row, step=iteration)

    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """Write the summary, which a W&B sweep optimises, and close the run."""
        self._run.summary.update(dict(summary))
        self._run.finish(exit_code=exit_code)


def open_tracker(
    mode: Literal["online", "offline", "off"],
    folder: Path,
    run_id: str,
    *,
    project: str,
    group: str,
    config: Mapping[str, Any],
) -> Tracker:
    """The tracker that `mode` asks for; WANDB_MODE in the environment wins."""
    asked = os.environ.get("WANDB_MODE", mode)
    if asked in ("off", "disabled"):
        return NoTracker()
    chosen: Literal["online", "offline"] = "online" if asked in ("online", "run") else "offline"
    return WandbTracker(folder, run_id, mode=chosen, project=project, group=group, config=config)
