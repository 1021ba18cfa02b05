"""`x-tryout-seeds: k`: every nuisance setting of an arm is tried with the first k seeds, and the
one that is best on val runs with the others as well.

So each arm gets the same care at a part of a whole grid's price: 3 learning rates and 10 seeds are
3 x 2 + 8 = 14 trials instead of 30. The points stay those of the grid, and the report compares the
settings on the seeds that all of them have.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from experiments.sweep.space import Parameters, Sweep, canonical
from experiments.sweep.state import Trial

Advice = Literal["run", "wait", "passed"]


class Tryout:
    """Who may run, given what has ended; a sweep without `x-tryout-seeds` lets everyone."""

    def __init__(self, sweep: Sweep) -> None:
        roles = {role: [p for p in sweep.parameters if p.role == role] for role in KEPT_APART}
        self._nuisance = [parameter.name for parameter in roles["nuisance"]]
        self._seeds = [parameter.name for parameter in roles["seed"]]
        self._places: dict[str, int] = {}  # of a grid's seeds in their list
        self._first: int | None = sweep.tryout
        self._maximize = sweep.metric is not None and sweep.metric.goal == "maximize"
        if sweep.method == "grid" and len(roles["seed"]) == 1:
            seeds = roles["seed"][0]
            listed = seeds.distribution.choices() or ()
            self._places = {canonical({seeds.name: v}): place for place, v in enumerate(listed)}

    def turn(self, parameters: Parameters) -> int:
        """The place of a point's seed in the list: trials run seed by seed, so that those beside
        each other share the work of one tape, few tapes lie on the disk at a time, and an
        unfinished grid compares its arms on the same seeds. 0 for all points where no parameter
        has the role of the seed.
        """
        return self._places.get(canonical(_only(parameters, self._seeds)), 0)

    def is_first(self, parameters: Parameters) -> bool:
        """Whether a point runs whatever comes of the others."""
        return self._first is None or self.turn(parameters) < self._first

    def advice(self, trial: Trial, trials: Iterable[Trial]) -> Advice:
        """Whether a trial is to run, has to wait for its arm's first ones, or is passed over."""
        if self.is_first(trial.parameters):
            return "run"
        arm = self._arm(trial.parameters)
        tried: dict[str, list[Trial]] = defaultdict(list)
        for other in trials:
            if self.is_first(other.parameters) and self._arm(other.parameters) == arm:
                tried[self._setting(other.parameters)].append(other)
        if not all(other.ended for members in tried.values() for other in members):
            return "wait"
        return "run" if self._setting(trial.parameters) == self._best(tried) else "passed"

    def runs(self, points: Iterable[Parameters]) -> int:
        """How many of the points will run in all."""
        first, others, settings = 0, 0, defaultdict(set)
        for point in points:
            settings[self._arm(point)].add(self._setting(point))
            first += self.is_first(point)
            others += not self.is_first(point)
        return first + others // max(1, max(map(len, settings.values()), default=1))

    def waiting(self, trials: Collection[Trial]) -> int:
        """How many of the trials that wait will run."""
        pending = sum(trial.status == "pending" for trial in trials)
        if self._first is None:
            return pending
        passed = sum(trial.status == "passed" for trial in trials)
        passing = len(trials) - self.runs(trial.parameters for trial in trials)
        return max(0, pending - passing + passed)

    def _best(self, tried: Mapping[str, list[Trial]]) -> str | None:
        """The setting of the best mean; one with a trial that has no metric is none."""
        sign = 1 if self._maximize else -1
        means: dict[str, float] = {}
        for setting, members in tried.items():
            metrics = [other.metric for other in members if other.metric is not None]
            if len(metrics) == len(members):
                means[setting] = sign * sum(metrics) / len(metrics)
        return max(means, key=lambda setting: means[setting]) if means else None

    def _arm(self, parameters: Parameters) -> str:
        apart = {*self._nuisance, *self._seeds}
        return canonical({name: v for name, v in parameters.items() if name not in apart})

    def _setting(self, parameters: Parameters) -> str:
        return canonical(_only(parameters, self._nuisance))


KEPT_APART = ("nuisance", "seed")


def _only(parameters: Parameters, names: Iterable[str]) -> dict[str, Any]:
    return {name: parameters[name] for name in names if name in parameters}


def tryout_findings(sweep: Sweep) -> list[str]:
    """What the sweep lacks for its `x-tryout-seeds`: something to try, seeds that are left for the
    best, and a grid of it.
    """
    if sweep.tryout is None:
        return []
    seeds = [p.distribution.choices() or () for p in sweep.parameters if p.role == "seed"]
    wrong = {
        "needs method: grid": sweep.method != "grid",
        "needs a parameter of the role nuisance, to try values of": not any(
            p.role == "nuisance" for p in sweep.parameters
        ),
        "needs one parameter of the role seed": len(seeds) != 1,
        "needs 'metric' with a goal, to know which setting is best": sweep.metric is None
        or sweep.metric.goal is None,
    }
    found = [told for told, is_so in wrong.items() if is_so]
    if not found and sweep.tryout >= len(seeds[0]):
        found = [f"must be below the {len(seeds[0])} seeds, which the best setting runs with"]
    return found
