"""What a mirror of a run has and lacks: the rows of its curves and the state between sittings."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from experiments.record.files import write_text
from experiments.record.record import RunRecord

STATE_FILE = "mirror.json"

Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class State:
    """Which rows earlier sittings have mirrored: the last iteration by segment (a W&B folder).

    `owed`: the server lacks something of a sitting that was to be online. `place`: W&B's variables
    that name the run there.
    """

    id: str
    segments: dict[str, int]
    owed: bool = False
    place: dict[str, str] = field(default_factory=dict)


def mirrored(row: Mapping[str, Any]) -> Row:
    """The numbers of a row of the curves; those of a validation as `val/...`."""
    metrics = row.get("metrics")
    return validation_row(metrics) if isinstance(metrics, Mapping) else numbers(row)


def validation_row(metrics: Mapping[str, Any], *, plain: bool = False) -> Row:
    """The numbers of one validation as `val/...`, and under their own names too if `plain`."""
    told = numbers(metrics)
    chosen = told | {f"val_{name}": value for name, value in told.items()} if plain else {}
    return {f"val/{name}": value for name, value in told.items()} | chosen


def summary(record: RunRecord) -> dict[str, Any]:
    """The record's status and final numbers, which a W&B sweep optimises."""
    told: dict[str, Any] = {"status": record.status}
    if record.val_metrics is not None:
        on_val = numbers(asdict(record.val_metrics))
        told |= {f"val_{name}": value for name, value in on_val.items()}
    return told if record.metrics is None else told | numbers(asdict(record.metrics))


def numbers(values: Mapping[str, Any]) -> Row:
    """What of `values` is a defined number, further metrics among them."""
    more = values.get("more")
    return {
        name: value
        for name, value in {**values, **(more if isinstance(more, Mapping) else {})}.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def read_state(folder: Path, fresh_id: str) -> State:
    """What earlier sittings left in `folder`, or a new state under `fresh_id`."""
    try:
        values = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        segments = {str(name): int(last) for name, last in values["segments"].items()}
        place = {str(name): str(value) for name, value in values.get("place", {}).items()}
        return State(str(values["id"]), segments, values.get("owed") is True, place)
    except (OSError, ValueError, KeyError, AttributeError):
        return State(fresh_id, {})


def write_state(folder: Path, state: State) -> None:
    """Keep the state, whole or not at all."""
    write_text(folder / STATE_FILE, json.dumps(asdict(state), indent=1) + "\n")
