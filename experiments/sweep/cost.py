"""What a sweep will cost and what it can show, before anything runs.

Times and sizes are those of the recorded runs that are most like each point; the spread over
seeds is the pooled one of the runs recorded with the same configuration and different seeds.
"""

import heapq
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.config.located import dotted
from experiments.record.follow import final_metric, number, read_record
from experiments.record.record import find_records
from experiments.sweep.early_stop import Hyperband
from experiments.sweep.space import Parameters, Sweep, canonical


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run on record: its configuration with dotted keys, its cost and its result."""

    config: dict[str, Any]
    config_hash: str
    seconds: float
    gigabytes: float
    validations: int
    metric: float | None
    train_seconds: float | None = None  # of `seconds`, those spent in iterations

    def seconds_for(self, wanted: Mapping[str, Any]) -> float:
        """What a run of `wanted` takes at this one's pace: an image of a step costs what it cost
        here, start and evaluation likewise. Without knowing both lengths, what this one took.
        """
        mine, theirs = _images(self.config), _images({**self.config, **wanted})
        if not mine or not theirs or self.train_seconds is None:
            return self.seconds
        return self.train_seconds * theirs / mine + self.seconds - self.train_seconds


def _images(config: Mapping[str, Any]) -> float | None:
    """How many images a whole training steps over, from dotted keys; None where they don't say."""
    sizes = [config.get(f"train.{key}") for key in ("iterations", "batch_size", "accumulate")]
    counted = [number(size) or 1.0 for size in sizes[1:]]
    iterations = number(sizes[0])
    return None if iterations is None else iterations * math.prod(counted)


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbers; None where nothing is on record to tell them from."""

    trials: int
    arms: int
    seeds: int
    runs_on_record: int
    seconds: float | None  # of all trials, one after the other
    wall_seconds: float | None  # on the workers asked for
    gigabytes: float | None
    early_stop_share: float | None  # of training that early stopping can save
    spread: float | None  # standard deviation of the metric over seeds
    detectable: float | None  # difference of two arms' means, in the metric's unit


def make_plan(
    sweep: Sweep, points: Sequence[Parameters], runs: Sequence[Run], workers: int
) -> Plan:
    """Estimate the cost of `points` on `workers` at a time from `runs`, and what they can show."""
    alike = [nearest_runs(point, runs) for point in points]
    seconds = [
        statistics.median(run.seconds_for(stated(point)) for run in near)
        for point, near in zip(points, alike, strict=True)
        if near
    ]
    sizes = [statistics.median(run.gigabytes for run in near) for near in alike if near]
    arms = {arm_of(sweep, point) for point in points}
    seeds = len(points) // max(1, len(arms))
    spread = seed_spread(runs)
    validations = [run.validations for near in alike for run in near]
    rule = sweep.early_stop
    from experiments.evaluation.significance import least_difference  # with pandas

    return Plan(
        trials=len(points),
        arms=len(arms),
        seeds=seeds,
        runs_on_record=len(runs),
        seconds=sum(seconds) if seconds else None,
        wall_seconds=makespan(seconds, workers) if seconds else None,
        gigabytes=sum(sizes) if sizes else None,
        early_stop_share=saved_share(rule, max(validations)) if rule and validations else None,
        spread=spread,
        detectable=None if spread is None else least_difference(spread, seeds),
    )


def runs_below(folder: Path, metric: str | None) -> Iterator[Run]:
    """Every finished run on record at or below `folder`; unreadable records are left out."""
    for run in find_records(folder):
        record = read_record(run) or {}
        found = record.get("seconds")
        seconds: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
        total = number(seconds.get("total"))
        if record.get("status") != "finished" or not total:
            continue
        size = sum(file.stat().st_size for file in run.rglob("*") if file.is_file())
        yield Run(
            config=dotted(record.get("config") or {}),
            config_hash=str(record.get("config_hash")),
            seconds=total,
            gigabytes=size / 1e9,
            validations=len(record.get("validations") or ()),
            metric=final_metric(record, metric),
            # One that ended early did fewer iterations than its configuration says.
            train_seconds=None if record.get("ended") else number(seconds.get("train")),
        )


def nearest_runs(point: Parameters, runs: Sequence[Run]) -> list[Run]:
    """The runs whose configuration agrees with most of what the point and its recipe say."""
    wanted = {key: canonical(value) for key, value in stated(point).items()}
    scores = [
        sum(canonical(run.config.get(key)) == value for key, value in wanted.items())
        for run in runs
    ]
    best = max(scores, default=0)
    return [run for run, score in zip(runs, scores, strict=True) if score == best]


def stated(point: Parameters) -> dict[str, Any]:
    """What a point says of its configuration: its recipe, its base, and its own values."""
    own = dotted({key: value for key, value in point.items() if key != "config"})
    recipe = point.get("config")
    return {**_recipe(Path(recipe)), **own} if isinstance(recipe, str) else own


def arm_of(sweep: Sweep, point: Parameters) -> str:
    """A point without its seed."""
    seeds = {p.name for p in sweep.parameters if p.role == "seed" or p.name == "seed"}
    return canonical({name: value for name, value in point.items() if name not in seeds})


def makespan(seconds: Sequence[float], workers: int) -> float:
    """When the last of the trials ends if each free worker takes the next one in order."""
    ends = [0.0] * workers
    for cost in seconds:
        heapq.heappush(ends, heapq.heappop(ends) + cost)
    return max(ends)


def saved_share(rule: Hyperband, validations: int) -> float:
    """The share of training that is not done if 1 / eta of the trials passes each band."""
    bands = [band for band in rule.bands() if band < validations]
    edges = [*bands, validations]
    done, surviving, last = 0.0, 1.0, 0
    for edge in edges:
        done += surviving * (edge - last)
        surviving, last = surviving / rule.eta, edge
    return 1.0 - done / validations if validations else 0.0


def seed_spread(runs: Sequence[Run]) -> float | None:
    """The pooled standard deviation of the metric among runs that differ in their seed alone."""
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for run in runs:
        if run.metric is not None:
            groups[run.config_hash].append(run.metric)
    repeated = [values for values in groups.values() if len(values) > 1]
    freedom = sum(len(values) - 1 for values in repeated)
    if not freedom:
        return None
    squares = sum(statistics.variance(values) * (len(values) - 1) for values in repeated)
    return math.sqrt(squares / freedom)


def told(plan: Plan, sweep: Sweep, workers: int) -> list[str]:
    """The plan in sentences."""
    lines = [f"{plan.trials} trials: {plan.arms} arms x {plan.seeds} seeds"]
    if plan.seconds is None or plan.wall_seconds is None or plan.gigabytes is None:
        lines.append("time and disk: unknown, no finished run is on record; run one with --limit 1")
    else:
        hours, wall = plan.seconds / 3600, plan.wall_seconds / 3600
        basis = (
            f"at the pace of {plan.runs_on_record} runs on record, scaled to each trial's images"
        )
        lines.append(f"time: {hours:.2f} h of trials, {wall:.2f} h on {workers} workers ({basis})")
        lines.append(f"disk: {plan.gigabytes:.2f} GB")
    if plan.early_stop_share is not None:
        lines.append(f"early stopping can save up to {plan.early_stop_share:.0%} of the training")
    name = sweep.metric.name if sweep.metric else "the metric"
    if plan.seeds < 2:
        lines.append("one seed an arm: no difference between arms can be shown; add seeds")
    elif plan.detectable is None:
        lines.append(f"spread of {name} over seeds: unknown, no run on record was repeated")
    else:
        lines.append(
            f"{plan.seeds} seeds with a spread of {plan.spread:.2f} show a difference of "
            f"{plan.detectable:.2f} in {name} 80 times in 100"
        )
    return lines


def _recipe(path: Path) -> dict[str, Any]:
    """A recipe's own keys over its base's; empty where it cannot be read, which `check` reports."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        base = values.pop("_base_", None)
        below = yaml.safe_load((path.parent / base).read_text(encoding="utf-8")) if base else {}
        return {**dotted(below), **dotted(values)}
    except (OSError, AttributeError, TypeError, yaml.YAMLError):
        return {}
