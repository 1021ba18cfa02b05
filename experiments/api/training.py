"""Training from Python."""

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from experiments.api.run import Run


class TrainingError(RuntimeError):
    """A run that ended with an error which is none of the caller's; its record has it."""


def train(
    config: str | PathLike[str] | Mapping[str, Any],
    /,
    *,
    out: str | PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    **plain: Any,
) -> Run:
    """Train and measure one run in this process, as the verb `train` does, and give it back.

    `config`: a recipe's file, or what one holds (also `Run.config`). `overrides`: dotted keys and
    their values, {"loss.gamma": 1.5}; keys without a dot may be given by name: `seed=1`. `out`: the
    run's folder, by default runs/<recipe>-<hash>-seed<n>. A finished run in that folder is given
    back as it is, and a stopped one goes on from its checkpoint; one that is stopped now
    (Ctrl-C) has the status `interrupted`.

    Raises UserError for what is the caller's to mend, TrainingError for anything else.
    """
    from experiments.config.resolve import words_of
    from experiments.config.run import Recipes
    from experiments.report.load import load_run
    from experiments.run.training import default_folder, train_run

    given = {**(overrides or {}), **plain}
    recipe = config if isinstance(config, Mapping) else Path(config)
    run = Recipes().resolve(recipe, words_of(given)).config
    named = Path("python/recipe") if isinstance(recipe, Mapping) else recipe
    folder = Path(out) if out is not None else default_folder(named, run)
    record = train_run(run, folder, _texts(given))
    if record.status == "failed":
        why = record.error
        raise TrainingError(f"{folder}: {f'{why.type}: {why.message}' if why else 'no word why'}")
    return Run(load_run(folder))


def _texts(given: Mapping[str, Any]) -> list[str]:
    """Overrides as the words of a command line, which the record keeps."""
    return [f"{key}={json.dumps(value)}" for key, value in given.items()]
