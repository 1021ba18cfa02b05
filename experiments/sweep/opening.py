"""Opens a sweep's folder: a new one gets its points, an old one must be the same sweep."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.errors import UsageError
from experiments.record.files import write_text
from experiments.sweep.ledger import Ledger
from experiments.sweep.space import Sweep, grid_points, point_key
from experiments.sweep.state import FORMAT, State, fold

COPY = "sweep.yaml"  # beside the ledger, so that a folder can be looked at and resumed by itself


def open_state(ledger: Ledger, sweep: Sweep, folder: Path, *, extend: bool = False) -> State:
    """The state of `folder` for `sweep`, with all points of a grid registered.

    Raises UsageError where the folder holds another sweep; `extend` accepts a file that changed
    and adds its new points, keeping every trial there is.
    """
    state = fold(ledger.events)
    text = sweep.path.read_text(encoding="utf-8")
    fingerprint = sweep.fingerprint()
    events: list[dict[str, Any]] = []
    if state.opened is None or state.opened["fingerprint"] != fingerprint:
        if state.opened is not None and not extend:
            _refuse_other(state, sweep, folder)
        events.append(
            {"event": "open", "format": FORMAT, "fingerprint": fingerprint, **described(sweep)}
        )
    if sweep.method == "grid":
        events += new_points(state, grid_points(sweep))
    if events:
        write_text(folder / COPY, text)
        ledger.append(*events)
        for event in events:
            state.apply(event)
    return state


def described(sweep: Sweep) -> dict[str, Any]:
    """What `status` needs to know of a sweep without its file."""
    metric = sweep.metric
    return {
        "sweep": sweep.name,
        "method": sweep.method,
        "metric": metric and metric.name,
        "goal": metric and metric.goal,
        "roles": {p.name: p.role for p in sweep.parameters if p.role},
    }


def new_points(state: State, points: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """`point` events for those points that the state does not hold yet."""
    known = set(state.keys)
    events: list[dict[str, Any]] = []
    for parameters in points:
        key = point_key(parameters)
        if key not in known:
            known.add(key)
            n = len(state.trials) + len(events)
            events.append({"event": "point", "n": n, "key": key, "parameters": parameters})
    return events


def _refuse_other(state: State, sweep: Sweep, folder: Path) -> None:
    there = {trial.key for trial in state.trials.values()}
    here = {point_key(point) for point in grid_points(sweep)} if sweep.method == "grid" else set()
    raise UsageError(
        f"{folder}: {sweep.path} has changed since this sweep began (its command, method or "
        f"parameters: {len(here - there)} points are new, {len(there - here)} of the folder's are "
        "no longer in it). Give another --out for a sweep of its own, or say 'sweep extend' "
        "instead of 'sweep' to add the new points here and keep all trials"
    )
