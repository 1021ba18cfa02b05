"""What a study (a sweep file) says of its report: its keys x-published, x-question, x-baseline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from experiments.errors import UsageError

SWEEP_FILE = "sweep.yaml"  # the copy that a sweep keeps in its folder
LISTS, WORDS = ("published",), ("question", "baseline")


def study_of(directories: Sequence[Path]) -> Path | None:
    """The study that a sweep's folder was run from, where the report is of that folder alone."""
    path = directories[0] / SWEEP_FILE
    return path if len(directories) == 1 and path.is_file() else None


def report_options(study: Path) -> dict[str, Any]:
    """The study's words for the options of its report; without those that it does not give.

    Raises:
        UsageError: the file cannot be read, or a key holds what is no text.
    """
    values = study_mapping(study)
    found: dict[str, Any] = {}
    for name in (*LISTS, *WORDS):
        value = values.get(f"x-{name}")
        if value is None:
            continue
        several = value if isinstance(value, list) and name in LISTS else [value]
        if not all(isinstance(one, str) for one in several):
            raise UsageError(f"{study}: x-{name}: expected text, found {value!r}")
        found[name] = several if name in LISTS else value
    return found


def study_mapping(study: Path) -> dict[str, Any]:
    """The file's keys and values; UsageError where it is no YAML mapping."""
    try:
        values = yaml.safe_load(study.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{study}: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{study}: expected keys and values, found {type(values).__name__}")
    return values
