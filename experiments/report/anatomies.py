"""The anatomies that lie beside records: which of a group's are shown, and which do not fit."""

from collections.abc import Sequence
from typing import NamedTuple

from experiments.evaluation.anatomy_file import ANATOMY_FILE, Anatomy, read_anatomy
from experiments.evaluation.tables import EvaluationError
from experiments.report.arms import Arm
from experiments.report.load import Run

MOST_SHOWN = 2


class Found(NamedTuple):
    """One run's anatomy."""

    arm: Arm
    run: Run
    anatomy: Anatomy


def find(arms: Sequence[Arm]) -> tuple[list[Found], list[str]]:
    """The anatomies of the first arms that have one, of each its lowest seed's, and what is wrong
    with others.
    """
    found: list[Found] = []
    notes: list[str] = []
    for arm in arms:
        for run in arm.finished:
            anatomy, note = _usable(run)
            notes += [note] if note else []
            if anatomy is not None:
                found.append(Found(arm, run, anatomy))
                break
        if len(found) == MOST_SHOWN:
            break
    return found, notes


def _usable(run: Run) -> tuple[Anatomy | None, str]:
    try:
        anatomy = read_anatomy(run.folder)
    except EvaluationError as error:
        return None, f"{run.arm} seed {run.seed}: {error}."
    if anatomy is None:
        return None, ""
    if (anatomy.config_hash, anatomy.seed) != (run.config_hash, run.seed):
        return None, f"{run.arm} seed {run.seed}: its {ANATOMY_FILE} is of another run."
    return anatomy, ""
