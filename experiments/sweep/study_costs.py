"""What a study will cost: its trials by kind, and the pace of each kind from records or a probe.

Trials of one kind share everything that decides their speed: data, detector, input, arithmetic.
Loss, learning rate and seed do not; the number of iterations is what the pace is multiplied by.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.record import origin as provenance
from experiments.record.follow import number, read_record
from experiments.record.record import find_records
from experiments.sweep.cost import makespan
from experiments.sweep.space import canonical

NO_MATTER = ("seed", "arm", "loss", "optimizer", "learning_rate", "tracking")
NO_MATTER_TRAIN = ("iterations", "checkpoint_every", "keep_checkpoints", "log_every")
Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of one iteration, and of all else a trial does (start, evaluation)."""

    iteration: float
    rest: float
    source: str  # where it is known from, in words


@dataclass(frozen=True, slots=True)
class Kind:
    """Trials that run at one pace; None where nothing tells it."""

    words: str
    trials: int
    iterations: int  # of all trials together
    pace: Pace | None


@dataclass(frozen=True, slots=True)
class StudyCost:
    """The whole: seconds are None where a kind's pace is unknown."""

    kinds: tuple[Kind, ...]
    seconds: float | None  # of all trials, one after the other
    wall_seconds: float | None  # with so many at a time as were asked for

    @property
    def trials(self) -> int:
        """All trials."""
        return sum(kind.trials for kind in self.kinds)

    @property
    def iterations(self) -> int:
        """Iterations of all trials."""
        return sum(kind.iterations for kind in self.kinds)


def study_cost(
    configs: Sequence[Config],
    paces: Mapping[str, Pace],
    jobs: int,
    probe: Callable[[Config], Pace | None],
) -> StudyCost:
    """Add up resolved configurations; `paces` are known by kind, `probe` measures the others."""
    groups: dict[str, list[Config]] = defaultdict(list)
    for config in configs:
        groups[kind_of(config)].append(config)
    kinds, seconds = [], []
    for key, members in groups.items():
        pace = paces.get(key) or probe(members[0])
        steps = [int(config["train"]["iterations"]) for config in members]
        kinds.append(Kind(words_of(members[0]), len(members), sum(steps), pace))
        if pace is not None:
            seconds += [pace.iteration * count + pace.rest for count in steps]
    known = all(kind.pace is not None for kind in kinds)
    return StudyCost(
        tuple(kinds),
        sum(seconds) if known else None,
        makespan(seconds, jobs) if known else None,
    )


def kind_of(config: Config) -> str:
    """What decides a trial's pace, as one text."""
    kept = {key: value for key, value in config.items() if key not in NO_MATTER}
    train = {k: v for k, v in config.get("train", {}).items() if k not in NO_MATTER_TRAIN}
    return canonical(kept | {"train": train})


def words_of(config: Config) -> str:
    """A kind in words: detector and data."""
    data = config.get("data", {})
    return f"{config.get('detector', {}).get('name')} on {data.get('root') or data.get('name')}"


def paces_on_record(folders: Iterable[Path]) -> dict[str, Pace]:
    """The median pace of each kind among finished runs of this machine at or below `folders`."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    here = (provenance.cpu_name(), list(provenance.gpu_names()))
    for folder in folders:
        for run in find_records(folder) if folder.is_dir() else ():
            record = read_record(run) or {}
            hardware = record.get("hardware") or {}
            if (hardware.get("cpu"), hardware.get("gpus")) != here:
                continue
            pace = _pace(record)
            if pace is not None:
                found[kind_of(record["config"])].append(pace)
    return {
        key: Pace(
            statistics.median(iteration for iteration, _ in pairs),
            statistics.median(rest for _, rest in pairs),
            f"{len(pairs)} run{'' if len(pairs) == 1 else 's'} on record",
        )
        for key, pairs in found.items()
    }


def told(cost: StudyCost, jobs: int) -> list[str]:
    """The cost in lines for a terminal."""
    lines = [f"{cost.trials} trials, {cost.iterations:,} iterations in all"]
    for kind in cost.kinds:
        words = f"  {kind.trials} x {kind.words}: {kind.iterations:,} iterations"
        if kind.pace is None:
            lines.append(f"{words}, pace unknown")
            continue
        lines.append(
            f"{words}, {kind.pace.iteration:.3g} s each and {kind.pace.rest:.0f} s a trial for the"
            f" rest ({kind.pace.source})"
        )
    if cost.seconds is None or cost.wall_seconds is None:
        return [*lines, "time: unknown"]
    wall = f", {_duration(cost.wall_seconds)} with {jobs} at a time" if jobs > 1 else ""
    return [*lines, f"time: about {_duration(cost.seconds)} of trials{wall}"]


def _pace(record: Mapping[str, Any]) -> tuple[float, float] | None:
    seconds, curves = record.get("seconds") or {}, record.get("curves") or ()
    train, total = (number(seconds.get(name)) for name in ("train", "total"))
    steps = curves[-1].get("iteration") if curves else None
    if record.get("status") != "finished" or not steps or not train or not total:
        return None
    return train / steps, total - train


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
