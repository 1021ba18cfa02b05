"""What of a configuration makes an arm: its settings without what is incidental to the result, the
keys that a later version brought, and the detector, loss, gamma and alpha in it.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.config.words import parameter_words

# What may differ between two runs of one arm without changing what was learned: top-level parts,
# then keys of any part.
INCIDENTAL_PARTS = ("seed", "output", "tracking", "evaluate", "name", "arm")
INCIDENTAL_KEYS = (
    *("root", "workers", "seed", "device", "resume", "cache_images"),
    *("log_every", "validate_every", "checkpoint_every", "keep_checkpoints", "keep_best"),
    *("threads", "timeout", "nonfinite", "nonfinite_limit", "tape"),
)
CHOICES = ("name", "schedule", "preset", "mode")  # keys that tell which row of a table was chosen


def detector_of(config: Mapping[str, Any]) -> str:
    """The detector's name in a resolved configuration, "detector" where it has none."""
    detector = config.get("detector") or config.get("model") or {}
    return str(detector.get("name", "detector")) if isinstance(detector, Mapping) else str(detector)


def loss_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The classification loss's part of a resolved configuration, at the top or inside the
    detector.
    """
    for place in (config, config.get("detector")):
        loss = place.get("loss") if isinstance(place, Mapping) else None
        if isinstance(loss, Mapping):
            return loss
    return {}


def gamma_of(config: Mapping[str, Any]) -> float | str | None:
    """gamma of a resolved configuration: cross-entropy, weighted or not, is focal loss at 0."""
    loss = loss_of(config)
    plain = loss.get("name") in ("cross_entropy", "balanced_cross_entropy")
    return 0.0 if plain else parameter(loss.get("gamma"))


def alpha_of(config: Mapping[str, Any]) -> float | str | None:
    """alpha of a resolved configuration, None where its loss has none."""
    return parameter(loss_of(config).get("alpha"))


def parameter(value: Any) -> float | str | None:
    """gamma or alpha as a figure can use it: a float, None, or the words that an arm's name has
    for a schedule or class weights.
    """
    return float(value) if isinstance(value, (int, float)) else parameter_words(value)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested configuration -> dotted keys, lists as JSON text."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, name + "."))
        else:
            flat[name] = value if not isinstance(value, (list, tuple, dict)) else json.dumps(value)
    return flat


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The flattened configuration without what is incidental to the result: so is the split to
    choose by, where nothing is chosen by it.
    """
    flat = {key: value for key, value in flatten(config).items() if not _incidental(key)}
    if flat.get("train.measure") != "best" and flat.get("train.patience") is None:
        flat.pop("data.val", None)
    return flat


def comparable(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings of each configuration without those in `late_keys`."""
    late = late_keys(configs)
    return [
        {key: value for key, value in settings_of(config).items() if key not in late}
        for config in configs
    ]


def late_keys(configs: Sequence[Mapping[str, Any]]) -> set[str]:
    """Keys that some of the configurations do not know and that have one value in the others.

    They are a later version's: a record of an earlier one is taken to have had that value. A key
    that belongs to another choice (focal's alpha, beside cross-entropy) is none of them.
    """
    flats = [settings_of(config) for config in configs]
    values: dict[str, set[str]] = defaultdict(set)
    for flat in flats:
        for key, value in flat.items():
            values[key].add(repr(value))
    return {
        key
        for key, found in values.items()
        if len(found) == 1
        and any(key not in flat for flat in flats)
        and _is_late(key, list(zip(flats, configs, strict=True)))
    }


def differing(flats: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that have more than one value among settings, as people read them."""
    keys = sorted({key for flat in flats for key in flat})
    return [key for key in keys if len({plain(flat.get(key)) for flat in flats}) > 1]


def plain(value: Any) -> str:
    """A setting's value as text."""
    return f"{value:g}" if isinstance(value, float) else "off" if value is None else str(value)


def in_words(value: Any) -> str:
    """A setting's value for a figure: of a list, which is flat as JSON, its parts."""
    if not isinstance(value, str) or not value.startswith("["):
        return plain(value)
    try:
        return " + ".join(plain(part) for part in json.loads(value)) or "none"
    except ValueError:
        return value


def _is_late(key: str, runs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> bool:
    """Whether every configuration without the key is silent where others have it, and has made the
    choices on the way there that one of them made.
    """
    with_it = {_choices(config, key) for flat, config in runs if key in flat}
    for flat, config in runs:
        mine = _choices(config, key)
        like = any(theirs[: len(mine)] == mine for theirs in with_it)
        if key not in flat and (_knows(config, key) or not like):
            return False
    return True


def _knows(config: Any, key: str) -> bool:
    """False where a part of the dotted key is missing; true, too, where null or another kind of
    value stands in its place.
    """
    for part in key.split("."):
        if not isinstance(config, Mapping):
            return True
        if part not in config:
            return False
        config = config[part]
    return True


def _choices(config: Any, key: str) -> tuple[str, ...]:
    """The rows of tables that were chosen along a dotted key, as far as it is known: `loss.gamma.x`
    -> loss is focal, gamma linear.
    """
    found: list[str] = []
    for part in key.split("."):
        if not isinstance(config, Mapping):
            break
        found += [f"{name} {config[name]}" for name in CHOICES if name in config]
        config = config.get(part)
    return tuple(found)


def _incidental(key: str) -> bool:
    return key.split(".")[0] in INCIDENTAL_PARTS or key.split(".")[-1] in INCIDENTAL_KEYS
