"""What each knob does by itself: the mean of each of its levels, others held evenly.

An additive model over runs by least squares: y = mean + one effect a level, the effects of a knob
summing to 0 (Snedecor and Cochran 1989, chapter 16). Where knobs interact, this is their average,
and what is left over widens the intervals. Values are one number a run, in percent.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.evaluation.significance import LEVEL
from experiments.evaluation.tables import Floats

FEWEST_LEFT = 2  # degrees of freedom that an interval needs


class Effect(NamedTuple):
    """One level of one knob: its mean over evenly held others, with the 95 % interval."""

    knob: str
    level: str
    mean: float
    low: float
    high: float
    runs: int


def main_effects(
    rows: Sequence[Mapping[str, str]],
    values: Sequence[float],
    levels: Mapping[str, Sequence[str]],
) -> tuple[list[Effect], list[str]]:
    """Effects of the knobs whose parts the runs can tell apart, in the order of `levels`, and the
    knobs that were left out because they go with others (the first ones are kept).

    Nothing is given of fewer than two knobs, or of too few runs for an interval.
    """
    from scipy import special

    if not rows:
        return [], []
    kept: list[str] = []
    left_out: list[str] = []
    for knob in levels:
        design = _design(rows, levels, [*kept, knob])
        if np.linalg.matrix_rank(design) == design.shape[1]:
            kept.append(knob)
        else:
            left_out.append(knob)
    design, y = _design(rows, levels, kept), np.asarray(values, dtype=np.float64)
    freedom = len(y) - design.shape[1]
    if len(kept) < 2 or freedom < FEWEST_LEFT:
        return [], []
    inverse = np.linalg.inv(design.T @ design)
    estimate = inverse @ design.T @ y
    variance = float(((y - design @ estimate) ** 2).sum()) / freedom
    reach = float(special.stdtrit(freedom, (1 + LEVEL) / 2))
    found = []
    for knob in kept:
        for level in levels[knob]:
            weights = _contrast(levels, kept, knob, level)
            mean = float(weights @ estimate)
            error = float(np.sqrt(variance * (weights @ inverse @ weights)))
            runs = sum(row[knob] == level for row in rows)
            found.append(
                Effect(knob, level, mean, mean - reach * error, mean + reach * error, runs)
            )
    return found, left_out


def _codes(levels: Sequence[str], level: str) -> list[float]:
    """A level's columns: one for each but the last, which is minus one in all of them."""
    if level == levels[-1]:
        return [-1.0] * (len(levels) - 1)
    return [float(level == one) for one in levels[:-1]]


def _design(
    rows: Sequence[Mapping[str, str]], levels: Mapping[str, Sequence[str]], knobs: Sequence[str]
) -> Floats:
    table = [
        [1.0, *(code for knob in knobs for code in _codes(levels[knob], row[knob]))] for row in rows
    ]
    return np.array(table, dtype=np.float64)


def _contrast(
    levels: Mapping[str, Sequence[str]], knobs: Sequence[str], knob: str, level: str
) -> Floats:
    """The weights of one level's mean: the general mean and the level's own columns."""
    weights = [1.0]
    for one in knobs:
        codes = _codes(levels[one], level) if one == knob else [0.0] * (len(levels[one]) - 1)
        weights += codes
    return np.array(weights, dtype=np.float64)
