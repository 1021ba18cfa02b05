"""A configuration in words: the one name of an arm, gamma and alpha, scheduled or not.

Plain mappings in, as records keep them; no torch, so that reports call what training calls.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.config.located import dotted
from experiments.config.resolve import BASE

NAMED = {"alpha": "α", "gamma": "γ"}  # the loss's parameters that a name tells, and their signs


def arm_name(config: Mapping[str, Any]) -> str:
    """An arm's one name, in records, tables, W&B and on pages: as configured, else detector and
    loss with its parameters. Soft-gamma is called soft.

    >>> focal = {"name": "focal", "alpha": 0.25, "gamma": 2.0}
    >>> arm_name({"detector": {"name": "retinanet"}, "loss": focal})
    'retinanet focal α 0.25 γ 2'
    >>> rising = {"schedule": "linear", "start": 0.0, "end": 2.0, "ramp": [0.0, 0.5]}
    >>> arm_name({"detector": {"name": "retinanet"}, "loss": focal | {"gamma": rising}})
    'retinanet focal α 0.25 soft 0→2, linear to 50 %'
    """
    if config.get("arm") is not None:
        return str(config["arm"])
    loss = _mapping(config.get("loss"))
    words = [str(_mapping(config.get("detector")).get("name", "detector"))]
    words.append(str(loss.get("name", "loss")).replace("_", "-"))
    for name, sign in NAMED.items():
        value = parameter_words(loss.get(name))
        soft = name == "gamma" and is_scheduled(loss.get(name))
        words += [] if value is None else [f"{'soft' if soft else sign} {value}"]
    return " ".join(words)


NO_PROJECTS = "/\\#?%:"  # letters that W&B takes in no project's name
MOST_OF_A_PROJECT = 128  # letters


def project_fault(name: str) -> str | None:
    """What W&B's client would refuse in a project's name; None where it takes it.

    >>> project_fault("my project"), project_fault("me/mine")
    (None, "W&B's projects have none of / \\\\ # ? % : in their names, found 'me/mine'")
    """
    if any(letter in NO_PROJECTS for letter in name):
        return f"W&B's projects have none of {' '.join(NO_PROJECTS)} in their names, found {name!r}"
    if len(name) > MOST_OF_A_PROJECT:
        most = f"{MOST_OF_A_PROJECT} letters"
        return f"W&B's projects have at most {most} in their names, found {len(name)}"
    return None


def is_one_name(typed: str, name: str) -> bool:
    """Whether a name that somebody typed is this one: `alpha`, `gamma` and `soft-gamma` are typed
    for the signs, and stand in the names of earlier versions.

    >>> is_one_name("retinanet focal alpha 0.25 gamma 2", "retinanet focal α 0.25 γ 2")
    True
    """
    return _spelt(typed) == _spelt(name)


def parameter_words(value: Any) -> str | None:
    """gamma or alpha in words; None where the loss has none.

    >>> parameter_words(0.5), parameter_words(None), parameter_words([0.2, 0.8])
    ('0.5', None, 'by class')
    >>> parameter_words({"schedule": "staged", "values": [0, 1, 2], "milestones": [0.25, 0.5]})
    '0→1→2 at 25, 50 %'
    >>> parameter_words({"schedule": "cyclical", "peak": 2.0})
    '0→2→0, turning at 50 %'
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return f"{value:g}"
    return _schedule_words(value) if isinstance(value, Mapping) else "by class"


def path_words(words: str) -> str:
    """The values alone that a parameter takes, of its words.

    >>> path_words("0→1→2 at 25, 50 %"), path_words("0→2, linear to 50 %"), path_words("by class")
    ('0→1→2', '0→2', 'by class')
    """
    return re.split(r", | at ", words, maxsplit=1)[0]


def is_scheduled(value: Any) -> bool:
    """Whether a parameter moves while training goes on."""
    return isinstance(value, Mapping) and value.get("schedule") not in ("constant", None)


def _schedule_words(value: Mapping[str, Any]) -> str:
    kind = str(value.get("schedule", "schedule"))
    if kind == "constant":
        return f"{value['value']:g}"
    if kind == "paper":
        return "of the paper"
    if "start" in value and "end" in value:
        begin, end = value.get("ramp") or (0.0, 0.5)
        span = f"to {100 * end:g} %" if not begin else f"from {100 * begin:g} to {100 * end:g} %"
        rate = f" (rate {value['rate']:g})" if "rate" in value else ""
        return f"{value['start']:g}→{value['end']:g}, {kind}{rate} {span}"
    if "peak" in value:
        start, turn = value.get("start", 0.0), 100 * value.get("turn", 0.5)
        return f"{start:g}→{value['peak']:g}→{start:g}, turning at {turn:g} %"
    places = value.get("milestones") or value.get("points")
    if "values" in value and isinstance(places, Sequence):
        path = "→".join(f"{item:g}" for item in value["values"])
        return f"{path} at {', '.join(f'{100 * item:g}' for item in places)} %"
    return kind


def _spelt(name: str) -> str:
    for sign, word in (("α", "alpha"), ("γ", "gamma"), ("soft-gamma", "soft")):
        name = name.replace(sign, word)
    return name


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def short(value: object) -> str:
    """A value for a table's cell: a file by its stem, a schedule in words, a mapping by its values.

    >>> short({"schedule": "linear", "start": 0.0, "end": 2.0, "ramp": [0.0, 0.5]})
    '0→2, linear to 50 %'
    """
    if isinstance(value, Mapping) and BASE in value:
        if value.get("arm"):
            return str(value["arm"])
        over = [short(item) for key, item in dotted(value).items() if key != BASE]
        return "/".join([short(value[BASE]), *over])
    if isinstance(value, Mapping) and "schedule" in value:
        return str(parameter_words(value))
    if isinstance(value, Mapping):
        return "/".join(short(item) for item in value.values())
    if isinstance(value, str) and value.endswith((".yaml", ".yml")):
        return Path(value).stem
    return f"{value:.4g}" if isinstance(value, float) else str(value)
