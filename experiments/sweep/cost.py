"""What trials will cost: the one place where time and disk are foretold, from runs on record and,
where those do not tell, from a few steps timed now.

A trial's time is its updates, what measures it (validations, the end), and its start. Of trials
that share the tape of a frozen backbone the first one writes it and the others replay it, several
times as fast: the two have paces of their own. Each is taken
from the runs that tell most about it, and scaled by what differs: images of an update, pixels of an
image, operations of another detector, the share of a machine that one of several trials at a time
has, and the speed of another machine (a matrix product, which records keep). Loss, learning rate
and seed change no pace.
"""

import heapq
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from experiments.config.located import dotted
from experiments.record.follow import number
from experiments.sweep.paces import Machine, Past, differing, kind_of, network_of, pixels_of

Config = Mapping[str, Any]  # resolved, nested
# How sure a pace is by what it is told from, most trusted first; docs/sweeps.md has measurements.
HERE, TIMED, SCALED, OTHER_DATA, ELSEWHERE, OTHER, UNSCALED = range(7)
MOST_TOLD = 8  # kinds of trials
DATA = ("data.name", "data.root")
SURE = {
    TIMED: "likely within 25 %",
    SCALED: "rough: scaled by images and pixels, within about 1.5 times",
    OTHER_DATA: "a guess: scaled from other data, which load otherwise, within about 3 times",
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
    at_most: bool = False

    def seconds(self, config: Config) -> float:
        """Of a whole run of `config`."""
        flat = dotted(config)
        iterations = number(flat.get("train.iterations")) or 0.0
        return self.iteration * iterations + self.validation * validations_of(flat) + self.rest


class Paces(NamedTuple):
    """Of trials that compute their frozen backbone, and of those that replay a tape of it; None
    where nothing tells it.
    """

    computing: Pace | None
    replaying: Pace | None = None


class Trials(NamedTuple):
    """So many trials of one configuration, but for what changes no cost.

    They play tapes, `tapes` of which they write; None where there are none to play.
    """

    config: Config
    number: int
    tapes: int | None = None


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
    gigabytes: float | None  # of the runs' folders
    taped: float | None = 0.0  # gigabytes of tapes, the most at a time
    kept: float = 1.0  # what part of their tapes the bound on them lets be kept


@dataclass(frozen=True, slots=True)
class Known:
    """What paces are told from. `timed` times a configuration, `operations` counts those of one
    step, `map_bytes` is what an image takes on a tape; each may be left out.
    """

    runs: Sequence[Sequence[Past]]  # those of one kind and machine together
    machine: Machine
    jobs: int = 1
    timed: Callable[[Config, int], Paces | None] | None = None
    operations: Callable[[Config], float | None] | None = None
    map_bytes: Callable[[Config], float | None] | None = None
    tape_bound: float | None = None  # bytes; 0: no tapes, None: as much as they take

    def plays(self, trials: Trials) -> bool:
        """Whether these trials play tapes here."""
        return trials.tapes is not None and self.tape_bound != 0 and not self.machine.gpus

    def paces(self, config: Config, *, tapes: bool = False) -> Paces:
        """The paces of a configuration here, `jobs` at a time."""
        rank, computing = self._on_record(config, replayed=False)
        again, replaying = self._on_record(config, replayed=True) if tapes else (HERE, None)
        timed = None
        if max(rank, again) > TIMED and self.timed is not None:
            timed = self.timed(config, self.jobs)
        if timed is not None and timed.computing is not None:
            if rank > TIMED:
                computing = _sized(timed.computing, computing)
            if again > TIMED and computing is not None and timed.replaying is not None:
                factor = computing.iteration / timed.computing.iteration
                replaying = timed.replaying._replace(iteration=timed.replaying.iteration * factor)
                replaying = _sized(replaying, computing)
        if computing is not None and replaying is not None:  # one trial alone measures without tape
            rest, validation = replaying.rest, replaying.validation
            computing = computing._replace(rest=rest, validation=validation)
        if tapes and replaying is None and computing is not None:
            sure = "at most: no run that tells it replayed a tape"
            replaying = computing._replace(sure=sure, at_most=True)
        return Paces(computing, replaying)

    def _on_record(self, config: Config, *, replayed: bool) -> tuple[int, Pace | None]:
        """The pace by the nearest runs that replayed a tape, or did not; and how near they are."""
        flat = dotted(config)
        alike = [[run for run in runs if run.replayed is replayed] for runs in self.runs]
        ranked = [
            (rank, differing(flat, runs[0].config), runs)
            for runs in alike
            if runs and (rank := self._rank(flat, runs[0])) is not None
        ]
        rank, least, _ = min(ranked, key=lambda each: each[:2], default=(UNSCALED, 0, ()))
        nearest = [runs for *place, runs in ranked if place == [rank, least]]
        return rank, self._of_runs(config, rank, [run for runs in nearest for run in runs])

    def _rank(self, flat: Config, run: Past) -> int | None:
        here = run.machine.same(self.machine)
        measured = here or bool(self.machine.gflops and run.machine.gflops)
        if network_of(flat) != network_of(run.config):
            return OTHER if measured and self.operations is not None else None
        if not here:
            return ELSEWHERE if measured else UNSCALED
        if any(flat.get(key) != run.config.get(key) for key in DATA):
            return OTHER_DATA
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


def cost_of(trials: Iterable[Trials], known: Known, share: float = 1.0, turns: int = 1) -> Cost:
    """The cost of `trials`, `known.jobs` at a time; `share`: of them run, whichever; in `turns`,
    of whose tapes two lie on the disk at a time, the one that ends and the one that begins.
    """
    running = [_part(each, share) for each in trials]
    taped = _taped(running, known)
    if taped is not None:
        taped *= min(1.0, 2 / turns)
    bound = known.tape_bound
    kept = min(1.0, bound / (taped * 1e9)) if taped and bound is not None else 1.0
    alike: dict[str, list[Trials]] = {}
    for each in running:
        alike.setdefault(kind_of(dotted(each.config)), []).append(each)
    priced = [price for members in alike.values() for price in _priced(members, known, kept)]
    seconds = [each for price in priced for each in price.seconds]
    sizes = [price.kind.pace and price.kind.pace.gigabytes for price in priced]
    complete = bool(priced) and all(price.kind.pace is not None for price in priced)
    gigabytes = [
        size * price.kind.trials
        for size, price in zip(sizes, priced, strict=True)
        if size is not None
    ]
    return Cost(
        tuple(price.kind for price in priced),
        sum(seconds) if complete else None,
        makespan(seconds, known.jobs) if complete else None,
        sum(gigabytes) if complete and len(gigabytes) == len(priced) else None,
        taped,
        kept,
    )


class _Priced(NamedTuple):
    kind: Kind
    seconds: list[float]  # of each trial; empty where the pace is unknown


def _priced(members: Sequence[Trials], known: Known, kept: float) -> Iterator[_Priced]:
    """Trials of one pace but for their tapes: those that compute, then those that replay."""
    tapes = any(map(known.plays, members))
    paces = known.paces(members[0].config, tapes=tapes)
    words = words_of(members[0].config)
    firsts = [
        each if not tapes or each.tapes is None else each._replace(number=each.tapes)
        for each in members
    ]
    others = [
        each._replace(number=each.number - first.number)
        for each, first in zip(members, firsts, strict=True)
    ]
    for group, pace, how in (
        (firsts, paces.computing, ", writing a tape" if tapes else ""),
        (others, _mixed(paces, kept), ", replaying it"),
    ):
        count = sum(each.number for each in group)
        if not count:
            continue
        steps = sum(int(each.config["train"]["iterations"]) * each.number for each in group)
        seconds = (
            []
            if pace is None
            else [pace.seconds(each.config) for each in group for _ in range(each.number)]
        )
        yield _Priced(Kind(words + how, count, steps, pace), seconds)


def _part(trials: Trials, share: float) -> Trials:
    """So much of them; their tapes are needed all the same."""
    number = round(trials.number * share)
    return trials._replace(number=number, tapes=trials.tapes and min(trials.tapes, number))


def _mixed(paces: Paces, kept: float) -> Pace | None:
    """The pace of trials that replay what is kept of a tape, and compute the rest."""
    one, other = paces.replaying, paces.computing
    if one is None or other is None or kept == 1:
        return one
    return one._replace(iteration=kept * one.iteration + (1 - kept) * other.iteration)


def _taped(trials: Iterable[Trials], known: Known) -> float | None:
    """Gigabytes of the tapes of training; None where nothing tells how large they are."""
    total = 0.0
    for each in filter(known.plays, trials):
        image = known.map_bytes(each.config) if known.map_bytes is not None else None
        if image is None:
            return None
        flat = dotted(each.config)
        steps = number(flat.get("train.iterations")) or 0.0
        total += image * images_of(flat) * steps * (each.tapes or 0) / 1e9
    return total


def _sized(pace: Pace, like: Pace | None) -> Pace:
    """A pace that was timed, with the disk that runs on record took."""
    return pace if like is None else pace._replace(gigabytes=like.gigabytes)


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
    if (disk := disk_told(cost)) is not None:
        lines.append(disk)
    return lines


def time_told(cost: Cost, jobs: int) -> str:
    """The time in one line."""
    if cost.seconds is None or cost.wall_seconds is None:
        return "time: unknown, no finished run tells it; run one with --limit 1"
    wall = f", {duration(cost.wall_seconds)} with {jobs} at a time" if jobs > 1 else ""
    bound = any(kind.pace is not None and kind.pace.at_most for kind in cost.kinds)
    return f"time: {'at most' if bound else 'about'} {duration(cost.seconds)} of trials{wall}"


def disk_told(cost: Cost) -> str | None:
    """The disk in one line; None where nothing is known of it."""
    if cost.gigabytes is None and not cost.taped:
        return None
    runs = "unknown" if cost.gigabytes is None else f"{cost.gigabytes:.2f} GB"
    if cost.taped is None:
        return f"disk: {runs} of runs; of their tapes unknown"
    if not cost.taped:
        return f"disk: {runs}"
    bounded = f", of which {cost.kept:.0%} fit their bound (--tape-gib)" if cost.kept < 1 else ""
    tapes = f"{cost.taped:.2f} GB of tapes at a time, until no trial needs them"
    return f"disk: {runs} of runs, {tapes}{bounded}"


def duration(seconds: float) -> str:
    """`85 s`, `12 min` or `3.4 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
