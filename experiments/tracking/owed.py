"""What W&B lacks of runs that have ended: mirrored again, or sent by the next command.

`python -m experiments.tracking.owed FOLDER..` sends runs one after the other, each in a process of
its own: W&B's client reads the name of its run from the environment, once a process.
"""

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.record.record import RecordError, RunRecord, load_record
from experiments.tracking import rows as mirror
from experiments.tracking import wandb as tracking
from experiments.tracking.settings import in_sweep, leave_aside_what_is_no_setting, mode_of

INIT_SECONDS = 20.0  # of waiting for a server that an earlier command lost
OWN = (*tracking.PLACE, "WANDB_SWEEP_PARAM_PATH", "WANDB_MODE")  # variables of this process's run


def mirror_finished(folder: Path, record: RunRecord, settings: Mapping[str, Any]) -> None:
    """Mirror a run that had finished before this command: to the W&B run that a sweep's agent began
    for it, or where something of it is owed.
    """
    leave_aside_what_is_no_setting()
    if mode_of(settings["wandb"]) != "online":
        if in_sweep():
            tracking.open_tracker(folder, record, settings)  # says that it stays offline
        return
    if in_sweep() or mirror.read_state(folder / "wandb", "").owed:
        tracking.WandbTracker(folder, "online", record, settings).finish(record)


def owing(folders: Iterable[Path]) -> list[Path]:
    """Those of `folders` whose runs have ended and owe W&B something."""
    return [folder for folder in folders if mirror.read_state(folder / "wandb", "").owed]


def send_owed(folders: Iterable[Path]) -> None:
    """Send what the runs in `folders` owe, until one fails: W&B cannot be reached, then."""
    for folder in owing(folders):
        place = mirror.read_state(folder / "wandb", "").place
        environment = {name: value for name, value in os.environ.items() if name not in OWN}
        command = [sys.executable, "-m", "experiments.tracking.owed", str(folder)]
        if subprocess.run(command, env=environment | place, check=False).returncode:
            return


def send(folder: Path) -> bool:
    """Send one run in this process; False where W&B cannot be reached. A run that goes on, or that
    another process sends, is left alone.
    """
    with contextlib.ExitStack() as held:
        lock = held.enter_context((folder / "wandb" / "mirror.lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            record = load_record(folder)
        except (OSError, RecordError):
            return True
        if record.status not in ("finished", "failed") or not owing([folder]):
            return True
        tracking.INIT_SECONDS = INIT_SECONDS
        leave_aside_what_is_no_setting()
        settings = record.config.get("tracking") or {}
        sent = tracking.WandbTracker(folder, "online", record, settings).finish(record)
    if sent:
        print(f"W&B: sent what {folder} owed", file=sys.stderr)
    return sent


if __name__ == "__main__":
    sys.exit(0 if all(send(Path(name)) for name in sys.argv[1:]) else 1)
