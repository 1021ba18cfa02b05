"""The next point of a sweep that has no list of points: random draws, or TPE's suggestion.

Both depend only on the sweep and on the trials there are, so a restart proposes what would have
come. A parameter in the role of `seed` is crossed with the others: each draw is run once with every
seed, so that arms are compared on the same seeds.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from experiments.sweep.bayes import suggested_quantiles
from experiments.sweep.space import Parameter, Sweep, point_key, quantile
from experiments.sweep.state import State

MOST_REPEATS = 1000  # proposals in a row that were there before: the space is used up

Quantiles = dict[str, float]
Proposer = Callable[[Sweep, State, int], Quantiles]


def propose(sweep: Sweep, state: State) -> dict[str, Any] | None:
    """The ledger's event of the next point, or None where there is none left."""
    if sweep.run_cap is not None and len(state.trials) >= sweep.run_cap:
        return None
    seeds = list(seed_points(sweep))
    for draw in range(state.draws, state.draws + MOST_REPEATS):
        arm, place = divmod(draw, len(seeds))
        earlier = state.quantiles.get(arm)
        quantiles = earlier or PROPOSERS[sweep.method](sweep, state, arm)
        parameters = point_at(sweep, quantiles) | seeds[place]
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


def seed_points(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """Every combination of the parameters whose role is `seed`; one empty one if there are none."""
    crossed = [p for p in sweep.parameters if _is_crossed(p)]
    choices = [p.distribution.choices() or () for p in crossed]
    for values in itertools.product(*choices):
        yield dict(zip((p.name for p in crossed), values, strict=True))


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
