"""Further metrics, one file each: its name is the metric's key, and it holds a `MEASURE`.

A file is all that a metric takes. Evaluations compute it from then on, records keep it below
`metrics.more`, and tables, `compare`, sweeps and W&B know it where a record has it. Records of
before lack it, and stay what they are.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from experiments.evaluation.coco import CocoResult
    from experiments.evaluation.tables import Dump
    from experiments.evaluation.voc import VocResult


class Measure(NamedTuple):
    """One number of an evaluation: its name in tables, and how it is computed of the checked dump
    and of both protocols' results. `of` gives a fraction, 0..1, or NaN where it is undefined.
    """

    name: str
    of: "Callable[[Dump, VocResult, CocoResult], float]"


@cache
def measure_keys() -> tuple[str, ...]:
    """The keys of all further metrics, sorted; imports none of them."""
    files = Path(__file__).parent.glob("*.py")
    return tuple(sorted(path.stem for path in files if path.stem != "__init__"))


def measure(key: str) -> Measure:
    """The metric of this key. Raises KeyError where there is none."""
    if key not in measure_keys():
        raise KeyError(key)
    found: Measure = import_module(f"{__name__}.{key}").MEASURE
    return found


def measure_name(key: str) -> str:
    """Its name in tables; the key where a record has it and this version does not."""
    return measure(key).name if key in measure_keys() else key
