"""A sweep on W&B's server: create it, run agents of it here, and bring its results back.

The only importer of wandb among the sweeps. Any machine with the checkout can run `wandb agent`; a
run leaves its record and its dump with W&B (`experiments/tracking/wandb.py`), and `pull` makes run
folders of them again, so that reports are the same as on the machine that trained.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.ending import handled_by
from experiments.errors import UsageError
from experiments.record.files import SWEEP_FILE
from experiments.record.origin import JOBS, core_count
from experiments.record.record import (
    RECORD_FILE,
    RecordError,
    RunRecord,
    changed_files,
    load_record,
)
from experiments.sweep.space import Sweep
from experiments.sweep.state import TRIALS

DEFAULT_PROJECT = "softgamma"  # as of the runs themselves, `tracking.project`
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came back of a sweep; `missing` maps a W&B run to the reason that it brought none."""

    folder: Path
    brought: tuple[str, ...]
    here: tuple[str, ...]  # runs whose records had been pulled before
    missing: dict[str, str]


def create_and_run(sweep: Sweep, agents: int) -> int:
    """Create the sweep on W&B's server, say how to run it, and run `agents` of it here."""
    path = create(sweep)
    print(f"run it from any checkout, as often as you like: wandb agent {path}")
    print(f"bring its results here: python -m experiments sweep pull {path}", flush=True)
    return run_agents(path, agents) if agents > 0 else 0


def pull_told(path: str, out: Path | None) -> int:
    """Bring a sweep's records back and say what came; returns 1 if a run brought none."""
    pulled = pull(path, out, say=print)
    print(
        f"{pulled.folder}: {len(pulled.brought)} runs pulled, {len(pulled.here)} were here, "
        f"{len(pulled.missing)} without a record"
    )
    if pulled.brought or pulled.here:
        print(f"their report: python -m experiments report {shlex.quote(str(pulled.folder))}")
    return 1 if pulled.missing else 0


def create(sweep: Sweep) -> str:
    """Create the sweep on W&B's server; returns its path, ENTITY/PROJECT/ID. Raises UsageError."""
    import wandb

    sent = {key: node.value for key, node in sweep.tree.keys.items() if not key.startswith("x-")}
    if "command" in sent:
        sent["command"] = [*sweep.command]  # a list, which agents read, also where it was one text
    project = sweep.project or os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT
    with _told("the sweep was not created"):
        name = wandb.sweep(sent, project=project)
        api = wandb.Api()
        entity = os.environ.get("WANDB_ENTITY") or api.default_entity
    return f"{entity}/{project}/{name}"


def run_agents(path: str, count: int) -> int:
    """Run `count` agents of a sweep here until it has no more points; returns 1 if one failed.

    What asks to end (SIGTERM, Ctrl-C) is passed on: the agents' trials save and end.
    """
    # wandb agent runs `python`, which has to be this one.
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    cores = max(1, core_count() // count)
    shared = {"OMP_NUM_THREADS": str(cores), JOBS: str(count)}
    environment = {**shared, **os.environ, "PATH": search}
    command = [sys.executable, "-m", "wandb", "agent", "--forward-signals", path]
    agents = [
        subprocess.Popen(command, env=environment, start_new_session=True) for _ in range(count)
    ]
    with _passed_on(agents):
        codes = [agent.wait() for agent in agents]
    return 1 if any(codes) else 0


def pull(path: str, out: Path | None, say: Say) -> Pulled:
    """Bring the records of all runs of a sweep into `out` (default: runs/<the sweep's name>).

    A run that is here already, finished and whole, is left alone; one that cannot be fetched is
    listed, and the others follow. Raises UsageError for a sweep that cannot be read.
    """
    import wandb

    whole = completed(path)
    with _told(f"nothing was pulled of {whole}; give ENTITY/PROJECT/ID, as `wandb sweep` told it"):
        api: Any = wandb.Api()
        found = api.sweep(whole)
        runs = list(found.runs)
    folder = out or Path("runs") / _plain(str(found.name))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SWEEP_FILE).write_text(
        yaml.safe_dump(found.config, sort_keys=False), encoding="utf-8"
    )
    brought, here, missing = [], [], {}
    for run in runs:
        target = folder / TRIALS / _plain(str(run.id))
        if _is_whole(target):
            here.append(run.id)
            continue
        try:
            reason = _bring(run, target)
        except UsageError as error:
            reason = str(error)
        if reason is None:
            brought.append(run.id)
        else:
            missing[run.id] = reason
        say(f"{run.id}: {reason or 'pulled'}")
    return Pulled(folder, tuple(brought), tuple(here), missing)


def completed(path: str) -> str:
    """A sweep's path; a bare ID is looked for in W&B's variables' project, or ours."""
    if "/" in path:
        return path
    entity, project = os.environ.get("WANDB_ENTITY"), os.environ.get("WANDB_PROJECT")
    return "/".join(part for part in (entity, project or DEFAULT_PROJECT, path) if part)


def _bring(run: Any, target: Path) -> str | None:
    """Download one run's record and its files, checked, and put them in place at once; the reason
    if that cannot be.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pull-") as name:
        there = Path(name) / "run"
        there.mkdir()
        record = _downloaded(run, there)
        if isinstance(record, str):
            return record
        if target.exists():
            shutil.rmtree(target)
        there.rename(target)
    return None


def _downloaded(run: Any, there: Path) -> RunRecord | str:
    with _told(f"{run.id}: not downloaded"):
        held = {file.name: file for file in run.files()}
        if RECORD_FILE not in held:
            return f"{run.state}, and left no record with W&B"
        held[RECORD_FILE].download(root=str(there), replace=True).close()
        try:
            record = load_record(there)
        except RecordError as error:
            return f"its record cannot be read: {error}"
        for file in record.files.values():
            if file.path in held and Path(file.path).name == file.path:
                held[file.path].download(root=str(there), replace=True).close()
    spoiled = changed_files(there, record)
    return f"files missing or not as recorded: {', '.join(spoiled)}" if spoiled else record


def _plain(name: str) -> str:
    """A name from the server as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "sweep"


def _is_whole(target: Path) -> bool:
    try:
        record = load_record(target)
    except RecordError:
        return False
    return record.status == "finished" and not changed_files(target, record)


@contextmanager
def _told(consequence: str) -> Iterator[None]:
    """Turn what wandb raises into one line for the user."""
    import wandb

    try:
        yield
    except (wandb.Error, ValueError, OSError) as error:
        raise UsageError(f"W&B: {error}; {consequence}") from error


@contextmanager
def _passed_on(agents: Sequence["subprocess.Popen[bytes]"]) -> Iterator[None]:
    def pass_on(number: int, _: object) -> None:
        for agent in agents:
            if agent.poll() is None:
                agent.send_signal(number)

    with handled_by(pass_on):
        yield
