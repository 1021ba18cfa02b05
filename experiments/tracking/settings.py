"""Whether a run is mirrored to W&B, and what it is called there: recipe, environment, defaults.

What the user says by W&B's own variables holds wherever the recipe is silent; `tracking.*` keys win
over them, save that WANDB_MODE wins over a recipe's "online" or "offline", as it does everywhere.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from experiments.config.words import project_fault
from experiments.errors import nearest
from experiments.record.record import RunRecord

SWEEP = "WANDB_SWEEP_ID"  # set by `wandb agent`
RUN = "WANDB_RUN_ID"  # likewise; W&B's server knows the run by it
PROJECT = "softgamma"
JOB_TYPE = "train"
MOST_LETTERS, MOST_TAG_LETTERS = 128, 64  # W&B's server refuses longer ones

Mode = Literal["online", "offline", "off"]
MODES = ("online", "offline", "shared", "disabled", "dryrun", "run")  # W&B's; `off` is ours


@dataclass(frozen=True, slots=True)
class Identity:
    """What W&B's users filter runs by; entity and project are None where W&B itself decides."""

    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    notes: str | None
    entity: str | None
    project: str | None


def in_sweep() -> bool:
    """Whether an agent of a W&B sweep started this process."""
    return bool(os.environ.get(SWEEP))


def leave_aside_what_is_no_setting() -> None:
    """Drop W&B's variables that are empty, as CI leaves them, and a mode or project that is none of
    W&B's: its client opens no run beside such a one.
    """
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        if not os.environ[name].strip():
            del os.environ[name]
    fault = project_fault(os.environ.get("WANDB_PROJECT", ""))
    if fault is not None:
        print(f"WANDB_PROJECT is left aside: {fault}", file=sys.stderr)
        del os.environ["WANDB_PROJECT"]
    mode = os.environ.get("WANDB_MODE")
    if mode is not None and mode.lower() in (*MODES, "off"):
        os.environ["WANDB_MODE"] = "disabled" if mode.lower() == "off" else mode.lower()
    elif mode is not None:
        print(
            f"WANDB_MODE={mode} is left aside: no mode of W&B's{nearest(mode, MODES)}",
            file=sys.stderr,
        )
        del os.environ["WANDB_MODE"]


def mode_of(asked: str) -> Mode:
    """How to mirror a run whose recipe says `asked`: auto, online, offline or off.

    Auto is online in a W&B sweep, whose server waits for the run's metric, and offline elsewhere.
    """
    named = os.environ.get("WANDB_MODE") or None
    if asked == "off" or named in ("off", "disabled"):
        return "off"
    if named is None:
        named = asked if asked != "auto" else "online" if in_sweep() else "offline"
    return "online" if named in ("online", "run", "shared") else "offline"


def identity_of(record: RunRecord, settings: Mapping[str, Any]) -> Identity:
    """What the run of `record` is called, with `settings`, the recipe's `tracking`."""
    name = _said(settings, "name", "WANDB_NAME") or f"{record.arm}, seed {record.seed}"
    group = _said(settings, "group", "WANDB_RUN_GROUP") or record.arm
    # In a W&B sweep the server knows them; the client warns of whatever is given there.
    served = in_sweep()
    project = _said(settings, "project", "WANDB_PROJECT") or PROJECT
    return Identity(
        name=name[:MOST_LETTERS],
        group=group[:MOST_LETTERS],
        job_type=_said(settings, "job_type", "WANDB_JOB_TYPE") or JOB_TYPE,
        tags=tags_of(record.config, settings),
        notes=_said(settings, "notes", "WANDB_NOTES"),
        entity=None if served else _said(settings, "entity", "WANDB_ENTITY"),
        project=None if served else project,
    )


def tags_of(config: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Detector, data, loss and soft-gamma, then the user's own; each once."""
    data, loss = config.get("data") or {}, config.get("loss") or {}
    gamma = loss.get("gamma")
    own = (
        (config.get("detector") or {}).get("name"),
        Path(str(data["root"])).name if data.get("root") else data.get("name"),
        loss.get("name"),
        "soft-gamma" if isinstance(gamma, Mapping) else None,
    )
    named = settings.get("tags")
    theirs = os.environ.get("WANDB_TAGS", "").split(",") if named is None else named
    words = (str(tag).strip()[:MOST_TAG_LETTERS] for tag in (*own, *theirs) if tag)
    return tuple(dict.fromkeys(word for word in words if word))


def _said(settings: Mapping[str, Any], key: str, variable: str) -> str | None:
    value = settings.get(key)
    return str(value) if value is not None else os.environ.get(variable) or None
