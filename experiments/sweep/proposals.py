"""The next point of a sweep that has no list of points: random draws, or TPE's suggestion.

Both depend only on the sweep and on the trials there are, so a restart proposes what would have
come. A parameter in the role of `seed` is crossed with the others: each draw is run once with every
seed, so that arms are compared on the same seeds.

Bayesian search: Optuna's TPE (Bergstra et al., NeurIPS 2011), rebuilt from the ledger each time.

Every parameter is searched in its quantile, where its distribution is flat: so each of W&B's
distributions, with its rounding, probabilities and scale, means here what it means in a draw.
Optuna keeps no files and no processes; a restart or a kill has nothing of it to mend.
"""

import hashlib
import importlib
import importlib.util
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from experiments.errors import UsageError
from experiments.sweep.space import Parameter, Sweep, point_key, quantile
from experiments.sweep.state import State

if TYPE_CHECKING:
    from experiments.sweep.space import Sweep
    from experiments.sweep.state import State

FIRST_RANDOM = 10  # arms before TPE has enough to model; Optuna's own default
INSTALL = "python -m pip install 'optuna>=5,<6'"


def require_optuna() -> None:
    """Raise UsageError, with the way to get it, where Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise UsageError(
            f"method bayes uses Optuna, an optional extra that is not installed: {INSTALL}; "
            "or choose method grid or random"
        )


def never_searched(sweep: Sweep) -> str | None:
    """That a bayes sweep ends before its search begins; None where it does not."""
    first = FIRST_RANDOM * _seeds(sweep)
    if sweep.method != "bayes" or sweep.run_cap is None or sweep.run_cap > first:
        return None
    return (
        f"run_cap {sweep.run_cap}: the first {first} trials of a bayes sweep are random draws, so "
        "nothing is searched; give more, or method random"
    )


def suggested_quantiles(sweep: "Sweep", state: "State", arm: int) -> dict[str, float]:
    """The next arm to try, given every trial's metric; trials that still run count as mediocre."""
    require_optuna()
    optuna: Any = importlib.import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    assert sweep.metric is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
        digest = hashlib.sha256(f"{sweep.seed}/{len(state.trials)}/{arm}".encode()).digest()
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=FIRST_RANDOM,
            seed=int.from_bytes(digest[:4], "big"),
            constant_liar=True,
            multivariate=True,
        )
        study = optuna.create_study(direction=sweep.metric.goal, sampler=sampler)
        space = _space(sweep)
        for trial in state.trials.values():
            quantiles = state.quantiles.get(trial.arm, {})
            if _is_of(sweep, trial.parameters, quantiles):
                _tell(study, trial, quantiles, space)
        asked = study.ask(space)
    return {name: _quantile(asked.params[name], space[name]) for name in space}


def _is_of(sweep: "Sweep", parameters: dict[str, Any], quantiles: dict[str, float]) -> bool:
    """Whether a trial is one of the space as it is now: an extended sweep has others, too."""
    if not all(parameter.name in quantiles for parameter in drawn(sweep)):
        return False
    return all(parameters.get(name) == v for name, v in point_at(sweep, quantiles).items())


def _space(sweep: "Sweep") -> dict[str, Any]:
    kinds: Any = importlib.import_module("optuna.distributions")
    space: dict[str, Any] = {}
    for parameter in drawn(sweep):
        choices = parameter.distribution.choices()
        # Values in order (integers, steps) are searched as numbers, others as a choice of one.
        if choices is None or len(choices) > 1 and _in_order(choices):
            space[parameter.name] = kinds.FloatDistribution(0.0, 1.0)
        else:
            space[parameter.name] = kinds.CategoricalDistribution(tuple(range(len(choices))))
    return space


def _tell(study: Any, trial: Any, quantiles: dict[str, float], space: dict[str, Any]) -> None:
    trials: Any = importlib.import_module("optuna.trial")
    if trial.status == "failed" or (trial.ended and trial.metric is None):
        return
    params = {name: _coordinate(quantiles[name], space[name]) for name in space}
    ended = trial.ended
    study.add_trial(
        trials.create_trial(
            state=trials.TrialState.COMPLETE if ended else trials.TrialState.RUNNING,
            value=trial.metric if ended else None,
            params=params,
            distributions=space,
        )
    )


def _quantile(coordinate: float, axis: Any) -> float:
    choices = getattr(axis, "choices", None)
    if choices is None:
        return min(float(coordinate), 1 - 2.0**-53)
    return (coordinate + 0.5) / len(choices)


def _coordinate(quantile: float, axis: Any) -> float:
    choices = getattr(axis, "choices", None)
    return quantile if choices is None else int(quantile * len(choices))


def _in_order(choices: Sequence[object]) -> bool:
    """Whether choices are numbers; those of a range are, and are not looked at one by one."""
    listed = choices if isinstance(choices, tuple) else choices[:1]
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in listed)


MOST_REPEATS = 1000  # proposals in a row that were there before: the space is used up

Quantiles = dict[str, float]
Proposer = Callable[[Sweep, State, int], Quantiles]


def propose(sweep: Sweep, state: State) -> dict[str, Any] | None:
    """The ledger's event of the next point, or None where there is none left."""
    if sweep.run_cap is not None and len(state.trials) >= sweep.run_cap:
        return None
    seeds = _seeds(sweep)
    for draw in range(state.draws, state.draws + MOST_REPEATS):
        arm, place = divmod(draw, seeds)
        earlier = state.quantiles.get(arm)
        if earlier is not None and not all(p.name in earlier for p in drawn(sweep)):
            earlier = None  # of a space without a name that an extended sweep has
        quantiles = earlier or PROPOSERS[sweep.method](sweep, state, arm)
        parameters = point_at(sweep, quantiles) | seed_point(sweep, place)
        key = point_key(parameters)
        if key not in state.keys:
            n = len(state.trials)
            point = {"event": "point", "n": n, "key": key, "parameters": parameters}
            return {**point, "draw": draw, "arm": arm, "quantiles": quantiles}
    return None


def random_quantiles(sweep: Sweep, state: State, arm: int) -> Quantiles:
    """The arm-th random draw, whatever came of the others."""
    return {p.name: quantile(sweep.seed, arm, p.name) for p in drawn(sweep)}


def drawn(sweep: Sweep) -> Iterator[Parameter]:
    """The parameters that are drawn, not crossed."""
    return (p for p in sweep.parameters if not _is_crossed(p))


def seed_point(sweep: Sweep, place: int) -> dict[str, Any]:
    """A combination of the parameters whose role is `seed`, by its place; empty if there are none.
    They are counted, never listed.
    """
    values: dict[str, Any] = {}
    for parameter in reversed([p for p in sweep.parameters if _is_crossed(p)]):
        choices = parameter.distribution.choices() or ()
        place, at = divmod(place, len(choices))
        values[parameter.name] = choices[at]
    return values


def _seeds(sweep: Sweep) -> int:
    choices = [p.distribution.choices() or () for p in sweep.parameters if _is_crossed(p)]
    return math.prod(map(len, choices))


def point_at(sweep: Sweep, quantiles: Quantiles) -> dict[str, Any]:
    """The drawn parameters' values at their quantiles."""
    return {p.name: p.distribution.at(quantiles[p.name]) for p in drawn(sweep)}


def first_points(sweep: Sweep, count: int) -> list[dict[str, Any]]:
    """The first `count` points that a random sweep will propose, for looking and checking."""
    state = State()
    while len(state.trials) < count:
        event = propose(sweep, state)
        if event is None:
            break
        state.apply(event)
    return [trial.parameters for trial in state.trials.values()]


def _is_crossed(parameter: Parameter) -> bool:
    return parameter.role == "seed" and parameter.distribution.choices() is not None


PROPOSERS: dict[str, Proposer] = {"random": random_quantiles, "bayes": suggested_quantiles}
