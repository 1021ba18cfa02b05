"""Bayesian search: Optuna's TPE (Bergstra et al., NeurIPS 2011), rebuilt from the ledger each time.

Every parameter is searched in its quantile, where its distribution is flat: so each of W&B's
distributions, with its rounding, probabilities and scale, means here what it means in a draw.
Optuna keeps no files and no processes; a restart or a kill has nothing of it to mend.
"""

import hashlib
import importlib
import importlib.util
import warnings
from typing import TYPE_CHECKING, Any

from experiments.errors import UsageError

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
            _tell(study, trial, state.quantiles[trial.arm], space)
        asked = study.ask(space)
    return {name: _quantile(asked.params[name], space[name]) for name in space}


def _space(sweep: "Sweep") -> dict[str, Any]:
    from experiments.sweep.proposals import drawn

    kinds: Any = importlib.import_module("optuna.distributions")
    space: dict[str, Any] = {}
    for parameter in drawn(sweep):
        choices = parameter.distribution.choices()
        # Values in order (integers, steps) are searched as numbers, others as a choice of one.
        if choices is None or len(choices) > 1 and all(_is_number(value) for value in choices):
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


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
