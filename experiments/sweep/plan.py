"""What a sweep can show before anything runs: its arms and seeds, the difference that those show,
what early stopping can save, and beside them what it will cost (`cost.py`).

The spread over seeds is the pooled one of the runs recorded with the same configuration and
different seeds.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from experiments.record.follow import final_metric, read_record
from experiments.record.record import find_records
from experiments.sweep.cost import Cost, Known, Trials, cost_of
from experiments.sweep.cost import told as cost_told
from experiments.sweep.early_stop import Hyperband
from experiments.sweep.space import Parameters, Sweep, canonical
from experiments.sweep.tryout import Tryout


class Result(NamedTuple):
    """A finished run's metric, and what it shares with its repetitions."""

    config_hash: str
    metric: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbers; None where nothing is on record to tell them from."""

    trials: int
    running: int  # of them, where a tryout leaves some out
    arms: int
    seeds: int
    cost: Cost
    early_stop_share: float | None  # of training that early stopping can save
    spread: float | None  # standard deviation of the metric over seeds
    detectable: float | None  # difference of two arms' means, in the metric's unit


def make_plan(
    sweep: Sweep,
    points: Sequence[Parameters],
    cost: Cost,
    results: Sequence[Result],
    validations: int = 0,
) -> Plan:
    """What `points` can show, by the spread of `results`; each trial validates so often."""
    from experiments.evaluation.significance import least_difference  # with pandas

    arms = {arm_of(sweep, point) for point in points}
    seeds = len(points) // max(1, len(arms))
    spread = seed_spread(results)
    rule = sweep.early_stop
    return Plan(
        trials=len(points),
        arms=len(arms),
        seeds=seeds,
        running=Tryout(sweep).runs(points),
        cost=cost,
        early_stop_share=saved_share(rule, validations) if rule and validations else None,
        spread=spread,
        detectable=None if spread is None else least_difference(spread, seeds),
    )


def cost_of_sweep(
    sweep: Sweep, points: Sequence[Parameters], trials: Iterable[Trials], known: Known
) -> Cost:
    """What `trials`, of all `points`, cost without those that a tryout leaves out."""
    if sweep.tryout is None:
        return cost_of(trials, known)
    tryout = Tryout(sweep)
    share = tryout.runs(points) / len(points)
    return cost_of(trials, known, share, len({tryout.turn(point) for point in points}))


def results_below(folders: Sequence[Path], metric: str | None) -> Iterator[Result]:
    """The metric of every finished run on record at or below `folders`."""
    for folder in folders:
        for run in find_records(folder) if folder.is_dir() else ():
            record = read_record(run) or {}
            value = final_metric(record, metric)
            if record.get("status") == "finished" and value is not None:
                yield Result(str(record.get("config_hash")), value)


def arm_of(sweep: Sweep, point: Parameters) -> str:
    """A point without its seed."""
    seeds = {p.name for p in sweep.parameters if p.role == "seed" or p.name == "seed"}
    return canonical({name: value for name, value in point.items() if name not in seeds})


def saved_share(rule: Hyperband, validations: int) -> float:
    """The share of training that is not done if 1 / eta of the trials passes each band."""
    bands = [band for band in rule.bands() if band < validations]
    edges = [*bands, validations]
    done, surviving, last = 0.0, 1.0, 0
    for edge in edges:
        done += surviving * (edge - last)
        surviving, last = surviving / rule.eta, edge
    return 1.0 - done / validations if validations else 0.0


def seed_spread(results: Sequence[Result]) -> float | None:
    """The pooled standard deviation of the metric among runs that differ in their seed alone."""
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for result in results:
        groups[result.config_hash].append(result.metric)
    repeated = [values for values in groups.values() if len(values) > 1]
    freedom = sum(len(values) - 1 for values in repeated)
    if not freedom:
        return None
    squares = sum(statistics.variance(values) * (len(values) - 1) for values in repeated)
    return math.sqrt(squares / freedom)


def told(plan: Plan, sweep: Sweep, jobs: int) -> list[str]:
    """The plan in sentences."""
    lines = [f"{plan.trials} trials: {plan.arms} arms x {plan.seeds} seeds"]
    if plan.running < plan.trials:
        lines.append(f"x-tryout-seeds: {plan.running} of them run, the time below is theirs")
    lines += cost_told(plan.cost, jobs)
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
