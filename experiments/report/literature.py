"""Other people's numbers: what was published, for which setting, and how. They stand in the studies
that ask for them, as `x-published`; this is their one reader.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from experiments.config.strict import Reader
from experiments.errors import ConfigError, nearest
from experiments.evaluation.measures import measure_keys
from experiments.record.parts import NUMBERS

STUDIES = Path(__file__).parents[2] / "configs/studies"  # whose tables are known by name
KEY = "x-published"
_MEASURED = (*NUMBERS, *measure_keys())


@dataclass(frozen=True, slots=True)
class Value:
    """One published result in percent as printed. `settings`: dotted keys of the recorded
    configuration and the value each must have; `gamma` and `alpha` are those of an arm, whichever
    loss it trained with.
    """

    words: str
    percent: float
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Study:
    """One published table, its values with `digits` decimals. The first value is its baseline;
    `settings` hold for all of them.
    """

    name: str
    title: str
    source: str
    detector: str
    metric: str  # the record's key
    setup: str  # the rest of its recipe
    values: tuple[Value, ...]
    digits: int = 1
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("values: at least the baseline is needed")
        if self.metric not in _MEASURED:
            raise ValueError(f"metric: no number of a record{nearest(self.metric, _MEASURED)}")


_READER = Reader(())


def published_table(given: str | Mapping[str, Any], where: str = KEY) -> Study:
    """A table as a study's file gives it, or by the name it has in one of configs/studies.

    Raises ConfigError for an unknown name and for keys and values that make no table.
    """
    if isinstance(given, str):
        tables = known_tables()
        if given not in tables:
            known = ", ".join(sorted(tables))
            raise ConfigError(f"published: unknown study '{given}' (known: {known})")
        return tables[given]
    study: Study = _READER.read(Study, given, lambda key: where)
    values = tuple(
        dataclasses.replace(value, settings=study.settings | value.settings)
        for value in study.values
    )
    return dataclasses.replace(study, values=values)


@cache
def known_tables() -> dict[str, Study]:
    """The tables of configs/studies by name."""
    found: dict[str, Study] = {}
    for path in sorted(STUDIES.glob("*.yaml")):
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        for given in (one for one in values.get(KEY) or () if isinstance(one, Mapping)):
            table = published_table(given, f"{path}: {KEY}")
            found[table.name] = table
    return found
