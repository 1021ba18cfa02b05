"""A study is a sweep file with a question: its tiny form, its runs, and what it says of its report
(x-published, x-question, x-baseline, x-contrasts, x-equivalence, and the roles of its parameters).
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from experiments.config.located import dotted, read_located
from experiments.config.resolve import BASE
from experiments.errors import ConfigError, Findings
from experiments.record.files import SWEEP_FILE, write_text
from experiments.sweep.space import Parameter, read_study
from experiments.sweep.sweep_file import read_sweep

# `--scale tiny` shows that a study's path is sound; it says nothing of its question.
TINY: dict[str, Any] = {
    "input.fit": {"mode": "stretch", "height": 64, "width": 64},
    "train.iterations": 5,
    "train.batch_size": 2,
    "train.checkpoint_every": 5,
    "train.validate_every": None,
    "learning_rate.warmup_iterations": 0,
    "tracking.wandb": "off",
}


def study_of(directories: Sequence[Path]) -> Path | None:
    """The study that a sweep's folder was run from, where the report is of that folder alone."""
    path = directories[0] / SWEEP_FILE
    return path if len(directories) == 1 and path.is_file() else None


def report_options(study: Path) -> dict[str, Any]:
    """The study's words for the options of its report; without those that it does not give.

    Raises ConfigError where the file cannot be read, or with all that is wrong with these words.
    """
    findings = Findings()
    asked = read_study(read_located(study), findings)
    findings.told()
    given = {each.name: getattr(asked, each.name) for each in fields(asked)}
    given["published"] = [*asked.published]
    given["contrasts"] = [[*pair] for pair in asked.contrasts]
    words = {name: value for name, value in given.items() if value not in (None, [])}
    return words | _seeds(study) | _roles(study)


def _seeds(study: Path) -> dict[str, Any]:
    """The seeds that every arm is to have, where the study is a whole grid."""
    try:
        sweep = read_sweep(study)
    except ConfigError:
        return {}  # said where roles are read
    whole = sweep.method == "grid" and sweep.run_cap is None and sweep.early_stop is None
    knobs = [one for one in sweep.parameters if one.role == "seed"] if whole else []
    found = [value for one in knobs for value in one.distribution.choices() or ()]
    return {"seeds": found} if all(isinstance(value, int) for value in found) and found else {}


def _roles(study: Path) -> dict[str, Any]:
    """The knobs that are chosen for each arm, and those that tell arms apart."""
    try:
        parameters = read_sweep(study).parameters
    except ConfigError as error:  # of another version: its runs can be reported all the same
        print(f"note: no roles of parameters: {error}", file=sys.stderr)
        return {}
    found = {
        role: [key for one in parameters if one.role == role for key in _keys_of(one)]
        for role in ("nuisance", "scientific")
    }
    return {role: names for role, names in found.items() if names}


def _keys_of(parameter: Parameter) -> list[str]:
    """The configuration's keys that a parameter sets, where it is no whole recipe's file."""
    if parameter.name != "config":
        return [parameter.name]
    recipes = [one for one in parameter.distribution.choices() or () if isinstance(one, Mapping)]
    return sorted({key for one in recipes for key in dotted(one) if key != BASE})


TINY_SEEDS = 2  # the least that have a spread, so that the report comes to its verdicts


def study_file(study: Path, scale: str, out: Path, data: Mapping[str, Any] | None = None) -> Path:
    """The sweep file to run: the study itself, or its tiny form, written below `out`.

    Tiny: every arm, with the values of TINY, and of `data` (dotted keys), in place of the study's
    own; of seeds the first TINY_SEEDS, of what is nuisance the first value alone.
    """
    if scale == "full":
        return study
    values = dict(read_located(study).value)
    parameters = dict(values.get("parameters") or {})
    for name, knob in parameters.items():
        if name == "seed" and isinstance(knob, Mapping) and knob.get("values"):
            parameters[name] = {"values": knob["values"][:TINY_SEEDS]}
    own = {"data.val"} & parameters.keys()  # a part of train, as the study takes it
    small = TINY | {key: value for key, value in (data or {}).items() if key not in own}
    parameters |= {name: {"value": value} for name, value in small.items()}
    roles = {one.name: one.role for one in read_sweep(study).parameters if one.role}
    for name in (name for name, role in roles.items() if role == "nuisance"):
        parameters[name] = {"value": (parameters[name].get("values") or [None])[0]}
    values.pop("x-tryout-seeds", None)
    values |= {"name": f"{values.get('name') or study.stem}-tiny", "parameters": parameters}
    values |= {"x-roles": roles} if roles else {}
    values.pop("early_terminate", None)
    path = out / "study.yaml"
    write_text(path, yaml.safe_dump(values, sort_keys=False, width=100))
    return path


def out_folder(study: Path, scale: str, named: Path | None) -> Path:
    """Where the study's runs go: `named`, else runs/NAME, with `-tiny` for the tiny scale."""
    return named or Path("runs") / (read_sweep(study).name + ("-tiny" if scale == "tiny" else ""))
