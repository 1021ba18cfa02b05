"""A study from its file to its report: what it will cost, its sweep, its report."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from experiments.errors import ConfigError
from experiments.record.files import write_text
from experiments.sweep.command import fixed_arguments, written
from experiments.sweep.proposals import first_points
from experiments.sweep.space import Sweep, grid_points, read_sweep
from experiments.sweep.study import study_mapping
from experiments.verbs import report as report_verbs
from experiments.verbs import sweep as sweep_verbs

# `--scale tiny` shows that a study's path is sound; it says nothing of its question.
TINY: dict[str, Any] = {
    "train.iterations": 20,
    "train.batch_size": 2,
    "train.checkpoint_every": 20,
    "train.validate_every": None,
    "learning_rate.warmup_iterations": 0,
    "tracking.wandb": "off",
}


def study_file(study: Path, scale: str, out: Path) -> Path:
    """The sweep file to run: the study itself, or its tiny form, written below `out`.

    Tiny: the values of TINY in place of the study's own, and the first seed only.
    """
    if scale == "full":
        return study
    values = study_mapping(study)
    parameters = dict(values.get("parameters") or {})
    for name, knob in parameters.items():
        if name == "seed" and isinstance(knob, Mapping) and knob.get("values"):
            parameters[name] = {"value": knob["values"][0]}
    parameters |= {name: {"value": value} for name, value in TINY.items()}
    values |= {"name": f"{values.get('name') or study.stem}-tiny", "parameters": parameters}
    values.pop("early_terminate", None)
    path = out / "study.yaml"
    write_text(path, yaml.safe_dump(values, sort_keys=False, width=100))
    return path


def out_folder(study: Path, scale: str, named: Path | None) -> Path:
    """Where the study's runs go: `named`, else runs/NAME, with `-tiny` for the tiny scale."""
    return named or Path("runs") / (read_sweep(study).name + ("-tiny" if scale == "tiny" else ""))


def resolved(sweep: Sweep) -> list[dict[str, Any]]:
    """The whole configuration of each trial; raises ConfigError for one that cannot be run.

    Of a sweep that proposes its points, the first `run_cap` ones.
    """
    from experiments.config.run import load_config, plain_config

    points = (
        list(grid_points(sweep))
        if sweep.method == "grid"
        else first_points(sweep, sweep.run_cap or 1)
    )
    found = []
    for point in points:
        values = {**fixed_arguments(sweep.command), **point}
        recipe = values.pop("config", None)
        if not isinstance(recipe, str):
            raise ConfigError(f"{sweep.path}: a trial has no recipe: give a parameter 'config'")
        words = [f"{name}={written(value)}" for name, value in values.items()]
        found.append(plain_config(load_config(Path(recipe), words)))
    return found


def run_study(path: Path, study: Path, out: Path, jobs: int) -> int:
    """Run the sweep in `path` to its end, then report it; the sweep's status where it stopped."""
    status = _call(sweep_verbs, ["sweep", str(path), "--out", str(out), "--jobs", str(jobs)])
    if status not in (0, 1):
        return status
    words = ["report", str(out), "--out", str(out / "report"), "--study", str(study)]
    reported = _call(report_verbs, words)
    return reported or status


def _call(verbs: Any, words: list[str]) -> int:
    parser = argparse.ArgumentParser()
    verbs.add_parsers(parser.add_subparsers())
    arguments = parser.parse_args(words)
    status: int = arguments.run(arguments)
    return status
