"""What trials will cost: the one place where time and disk are foretold, from runs on record and,
where those do not tell, from a few steps timed now.

A trial's time is its updates, what measures it (validations, the end), and its start. Each is taken
from the runs that tell most about it, and scaled by what differs: images of an update, pixels of an
image, operations of another detector, the share of a machine that one of several trials at a time
has, and the speed of another machine (a matrix product, which records keep). Loss, learning rate
and seed change no pace.
"""

import heapq
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from experiments.config.located import dotted
from experiments.record.follow import number
from experiments.sweep.paces import Machine, Past, differing, kind_of, network_of, pixels_of

Config = Mapping[str, Any]  # resolved, nested
# How sure a pace is by what it is told from, most trusted first; docs/sweeps.md has measurements.
HERE, TIMED, SCALED, ELSEWHERE, OTHER, UNSCALED = range(6)
MOST_TOLD = 8  # kinds of trials
SURE = {
    TIMED: "likely within 25 %",
    SCALED: "rough: scaled by images and pixels, within about 1.5 times",
    ELSEWHERE: "rough: scaled from another machine, within about 2 times",
    OTHER: "a guess: scaled from another detector, within about 3 times",
    UNSCALED: "a guess: of another machine, whose speed no record tells",
}


class Pace(NamedTuple):
    """Seconds of one iteration, of one validation, and of all else a trial does."""

    iteration: float
    validation: float
    rest: float
    source: str  # where it is known from, in words
    sure: str
    gigabytes: float | None = None

    def seconds(self, config: Config) -> float:
        """Of a whole run of `config`."""
        flat = dotted(config)
        iterations = number(flat.get("train.iterations")) or 0.0
        return self.iteration * iterations + self.validation * validations_of(flat) + self.rest


class Trials(NamedTuple):
    """So many trials of one configuration, but for what changes no cost."""

    config: Config
    number: int


class Kind(NamedTuple):
    """Trials that run at one pace; None where nothing tells it."""

    words: str
    trials: int
    iterations: int  # of all trials together
    pace: Pace | None


@dataclass(frozen=True, slots=True)
class Cost:
    """The whole; None where a kind's pace is unknown."""

    kinds: tuple[Kind, ...]
    seconds: float | None  # of all trials, one after the other
    wall_seconds: float | None  # with so many at a time as were asked for
    gigabytes: float | None

    def part(self, share: float) -> "Cost":
        """The cost of so much of the trials, whichever."""
        numbers = (self.seconds, self.wall_seconds, self.gigabytes)
        return Cost(self.kinds, *(None if each is None else each * share for each in numbers))


@dataclass(frozen=True, slots=True)
class Known:
    """What paces are told from. `timed` times a configuration, `operations` counts those of one
    step; both may be left out.
    """

    runs: Sequence[Sequence[Past]]  # those of one kind and machine together
    machine: Machine
    jobs: int = 1
    timed: Callable[[Config, int], Pace | None] | None = None
    operations: Callable[[Config], float | None] | None = None

    def pace(self, config: Config) -> Pace | None:
        """The pace of a configuration here, `jobs` at a time; None where nothing tells it."""
        flat = dotted(config)
        ranked = [
            (rank, differing(flat, runs[0].config), runs)
            for runs in self.runs
            if (rank := self._rank(flat, runs[0])) is not None
        ]
        rank, least, _ = min(ranked, key=lambda each: each[:2], default=(UNSCALED, 0, ()))
        if rank > TIMED and self.timed is not None:
            timed = self.timed(config, self.jobs)
            if timed is not None:
                return timed
        nearest = [runs for *place, runs in ranked if place == [rank, least]]
        return self._of_runs(config, rank, [run for runs in nearest for run in runs])

    def _rank(self, flat: Config, run: Past) -> int | None:
        here = run.machine.same(self.machine)
        measured = here or bool(self.machine.gflops and run.machine.gflops)
        if network_of(flat) != network_of(run.config):
            return OTHER if measured and self.operations is not None else None
        if not here:
            return ELSEWHERE if measured else UNSCALED
        return SCALED if differing(flat, run.config) else HERE

    def _of_runs(self, config: Config, rank: int, runs: Sequence[Past]) -> Pace | None:
        flat = dotted(config)
        found = [
            (run, slower, slower * work)
            for run in runs
            if (slower := self.machine.slower(run.machine, run.beside, self.jobs)) is not None
            and (work := self._work(config, flat, run)) is not None
        ]
        if not found:
            return None
        iterations = [run.iteration * factor for run, _, factor in found]
        return Pace(
            statistics.median(iterations),
            statistics.median(run.validation * slower for run, slower, _ in found),
            statistics.median((run.measuring + run.start) * slower for run, slower, _ in found),
            f"{len(found)} run{'' if len(found) == 1 else 's'} on record",
            SURE.get(rank) or self._spread(iterations, [run for run, _, _ in found]),
            statistics.median(run.gigabytes for run, _, _ in found),
        )

    def _spread(self, iterations: Sequence[float], runs: Sequence[Past]) -> str:
        low, high = min(iterations), max(iterations)
        alone = "one run tells no spread"
        sure = f"they spread by {high / low - 1:.0%}" if len(runs) > 1 and low else alone
        others = sorted({run.beside for run in runs} - {self.jobs})
        return sure + (f"; rough: made {others[0]} at a time" if others else "")

    def _work(self, config: Config, flat: Config, run: Past) -> float | None:
        """How much more of the same work an iteration is than the run's; None where not known."""
        images = images_of(flat) / images_of(run.config)
        if network_of(flat) == network_of(run.config):
            return images * pixels_of(flat) / pixels_of(run.config)
        counts = self.operations and [self.operations(each) for each in (config, run.nested)]
        if not counts or not counts[0] or not counts[1]:
            return None
        return images * counts[0] / counts[1]


def cost_of(trials: Iterable[Trials], known: Known) -> Cost:
    """The cost of `trials`, `known.jobs` at a time."""
    groups: dict[str, list[Trials]] = {}
    for each in trials:
        groups.setdefault(kind_of(dotted(each.config)), []).append(each)
    kinds: list[Kind] = []
    seconds: list[float] = []
    gigabytes: list[float] = []
    for members in groups.values():
        pace = known.pace(members[0].config)
        count = sum(each.number for each in members)
        steps = sum(int(each.config["train"]["iterations"]) * each.number for each in members)
        kinds.append(Kind(words_of(members[0].config), count, steps, pace))
        if pace is not None:
            seconds += [pace.seconds(each.config) for each in members for _ in range(each.number)]
            if pace.gigabytes is not None:
                gigabytes += [pace.gigabytes] * count
    complete = bool(kinds) and all(kind.pace is not None for kind in kinds)
    sized = complete and len(gigabytes) == len(seconds)
    return Cost(
        tuple(kinds),
        sum(seconds) if complete else None,
        makespan(seconds, known.jobs) if complete else None,
        sum(gigabytes) if sized else None,
    )


def validations_of(flat: Config) -> int:
    """How often val is measured: in training, from dotted keys."""
    every = number(flat.get("train.validate_every"))
    iterations = number(flat.get("train.iterations"))
    return int(iterations // every) if every and iterations else 0


def images_of(flat: Config) -> float:
    """The images of one iteration, from dotted keys."""
    batch, batches = (number(flat.get(f"train.{key}")) for key in ("batch_size", "accumulate"))
    return (batch or 1.0) * (batches or 1.0)


def words_of(config: Config) -> str:
    """A kind in words: detector and data."""
    data = config.get("data", {})
    return f"{config.get('detector', {}).get('name')} on {data.get('root') or data.get('name')}"


def makespan(seconds: Sequence[float], workers: int) -> float:
    """When the last of the trials ends if each free worker takes the next one in order."""
    ends = [0.0] * workers
    for cost in seconds:
        heapq.heappush(ends, heapq.heappop(ends) + cost)
    return max(ends)


def told(cost: Cost, jobs: int) -> list[str]:
    """The cost in lines for a terminal."""
    lines = []
    for kind in cost.kinds[:MOST_TOLD]:
        words = f"  {kind.trials} x {kind.words}: {kind.iterations:,} iterations"
        pace = kind.pace
        if pace is None:
            lines.append(f"{words}, pace unknown")
            continue
        lines.append(
            f"{words}, {pace.iteration:.3g} s each and {pace.rest:.0f} s a trial "
            f"for the rest ({pace.source}; {pace.sure})"
        )
    if len(cost.kinds) > MOST_TOLD:
        lines.append(f"  and {len(cost.kinds) - MOST_TOLD} more kinds of trials")
    lines.append(time_told(cost, jobs))
    if cost.gigabytes is not None:
        lines.append(f"disk: {cost.gigabytes:.2f} GB")
    return lines


def time_told(cost: Cost, jobs: int) -> str:
    """The time in one line."""
    if cost.seconds is None or cost.wall_seconds is None:
        return "time: unknown, no finished run tells it; run one with --limit 1"
    wall = f", {duration(cost.wall_seconds)} with {jobs} at a time" if jobs > 1 else ""
    return f"time: about {duration(cost.seconds)} of trials{wall}"


def duration(seconds: float) -> str:
    """`85 s`, `12 min` or `3.4 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
