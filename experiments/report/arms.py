"""Runs -> arms -> groups. An arm is one setting over several seeds.

A group holds the arms that may be compared: one detector, one test set, at most one baseline.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.errors import nearest
from experiments.evaluation.significance import Summary, summarise
from experiments.report.load import ReportError, Run

# What may differ between two runs of one arm without changing what was learned: top-level parts,
# then keys of any part.
INCIDENTAL_PARTS = ("seed", "output", "tracking", "evaluate", "name", "arm")
INCIDENTAL_KEYS = (
    *("root", "workers", "seed", "device", "resume", "cache_images"),
    *("log_every", "validate_every", "checkpoint_every", "keep_checkpoints", "keep_best"),
    *("threads", "timeout"),
)
MOST_NAMED = 3  # differing settings that a title names; the provenance table has all
SYMBOLS = {"gamma": "γ", "alpha": "α"}


@dataclass(frozen=True, eq=False)  # an arm is itself: two with equal values are still two
class Arm:
    """One setting.

    `gamma` and `alpha` are floats where fixed, text where scheduled or per class, None where off.
    """

    name: str
    setting: str  # what tells it from other settings of the same arm, "" where it has only one
    detector: str
    loss: str
    gamma: float | str | None
    alpha: float | str | None
    runs: tuple[Run, ...]  # every run of the setting, whatever its status

    @property
    def title(self) -> str:
        """The arm's name with its setting where one is needed."""
        return f"{self.name} ({self.setting})" if self.setting else self.name

    @property
    def short(self) -> str:
        """The title for tables: without its detector, which the heading names, and with γ and α."""
        words = self.title
        if words.lower().startswith(self.detector.lower() + " "):
            words = words[len(self.detector) + 1 :]
        return re.sub(r"\b(gamma|alpha)\b", lambda found: SYMBOLS[found[0]], words)

    @cached_property  # a table of a thousand runs asks some ten thousand times
    def finished(self) -> tuple[Run, ...]:
        """The runs that enter means: finished, one a seed (of a repeated seed the latest)."""
        latest: dict[int, Run] = {}
        for run in sorted(self.runs, key=lambda run: (run.started, run.id)):
            if run.finished:
                latest[run.seed] = run
        return tuple(latest[seed] for seed in sorted(latest))

    @property
    def repeated(self) -> list[int]:
        """Seeds that finished more than once."""
        counts = Counter(run.seed for run in self.runs if run.finished)
        return sorted(seed for seed, count in counts.items() if count > 1)

    def values(self, metric: str) -> list[float]:
        """The metric of each finished run, in the order of seeds, undefined ones left out."""
        values = (run.metric(metric) for run in self.finished)
        return [value for value in values if value is not None]

    def summary(self, metric: str) -> Summary:
        """Mean, SD and count over seeds of one test metric in percent."""
        return summarise(self.values(metric))

    def class_summary(self, label: str, metric: str) -> Summary:
        """Mean, SD and count over seeds of one class's metric in percent."""
        values = (run.class_metric(label, metric) for run in self.finished)
        return summarise([value for value in values if value is not None])


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The arms of one detector on one test set, the baseline first, then by rising gamma."""

    key: str  # used in file names and anchors
    title: str
    detector: str
    arms: tuple[Arm, ...]
    baseline: Arm | None
    classes: tuple[str, ...]

    def best(self, metric: str) -> Arm | None:
        """The arm with the highest mean of `metric`; None where no arm has one."""
        known = [(arm.summary(metric).mean, arm) for arm in self.arms]
        ranked = [(mean, arm) for mean, arm in known if mean is not None]
        return max(ranked, key=lambda pair: pair[0])[1] if ranked else None

    def others(self) -> tuple[Arm, ...]:
        """The arms other than the baseline."""
        return tuple(arm for arm in self.arms if arm is not self.baseline)


def make_groups(runs: Sequence[Run], *, baseline: str | None = None) -> list[Group]:
    """Groups of comparable arms, by detector and test set.

    `baseline` names the arm to compare with, where its group has it; elsewhere the plain cross-
    entropy arm is taken, else a gamma-0 arm.

    Raises:
        ReportError: no arm is called `baseline`.
    """
    arms = make_arms(runs)
    if baseline is not None:
        _known(baseline, arms)
    by_group: dict[tuple[str, str], list[Arm]] = defaultdict(list)
    sets = test_sets(runs)
    for arm in arms:
        by_group[(arm.detector, sets[arm.runs[0].folder])].append(arm)
    names = set_names(runs, sets)
    groups = []
    for (detector, test), members in sorted(by_group.items()):
        name = names[test] if len(names) > 1 else ""
        chosen = _baseline(members, baseline)
        groups.append(
            Group(
                key=slug(f"{detector} {name}"),
                title=f"{display(detector)} on {name}" if name else display(detector),
                detector=detector,
                arms=tuple(sorted(members, key=lambda arm: _order(arm, chosen))),
                baseline=chosen,
                classes=_classes(members),
            )
        )
    return groups


def make_arms(runs: Sequence[Run]) -> list[Arm]:
    """Arms by name, detector, test set and every setting that is not incidental."""
    by_name: dict[tuple[str, str, str], list[Run]] = defaultdict(list)
    sets = test_sets(runs)
    for run in runs:
        by_name[(run.arm, detector_of(run.config), sets[run.folder])].append(run)
    arms = []
    for (name, detector, _), members in sorted(by_name.items()):
        settings: dict[str, list[Run]] = defaultdict(list)
        known = comparable([run.config for run in members])
        for run, flat in zip(members, known, strict=True):
            settings[json.dumps(flat, sort_keys=True, default=str)].append(run)
        differing = _differing(known)
        for group in settings.values():
            arms.append(_arm(name, detector, group, differing))
    return _distinct(arms)


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


def test_sets(runs: Sequence[Run]) -> dict[Path, str]:
    """What identifies each run's test set, by the run's folder: its content hash.

    A run that failed before it read its data is taken to have what others of its data settings had.
    """
    settings = {run.folder: json.dumps(run.config.get("data"), default=str) for run in runs}
    known = {settings[run.folder]: run.split_hash("test") for run in runs if run.split_hash("test")}
    return {
        run.folder: run.split_hash("test") or known.get(settings[run.folder]) or "unknown"
        for run in runs
    }


def set_names(runs: Sequence[Run], sets: Mapping[Path, str]) -> dict[str, str]:
    """Test set -> a name: its data's folder, numbered where two sets share it."""
    names: dict[str, str] = {}
    for run in runs:
        if sets[run.folder] in names:
            continue
        data = run.config.get("data")
        data = data if isinstance(data, Mapping) else {}
        name = Path(str(data.get("root") or data.get("name") or "data")).name
        count = sum(other.partition(" #")[0] == name for other in names.values())
        names[sets[run.folder]] = f"{name} #{count + 1}" if count else name
    return names


def parameter(value: Any) -> float | str | None:
    """gamma or alpha as a figure can use it: a float, None, or words for a schedule or class
    weights.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, Mapping):
        return _schedule_words(value)
    return "per class"


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


def slug(words: str) -> str:
    """Words as a file name or anchor: lower-case letters, digits and dashes."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in words)
    return "-".join(part for part in kept.lower().split("-") if part) or "unnamed"


def display(detector: str) -> str:
    """The detector's name as papers write it."""
    return {"yolov2": "YOLOv2", "retinanet": "RetinaNet"}.get(detector.lower(), detector)


def _schedule_words(value: Mapping[str, Any]) -> str:
    kind = str(value.get("schedule", "schedule"))
    if "start" in value and "end" in value:
        span = value.get("ramp")
        over = (
            f" in {100 * span[0]:g}–{100 * span[1]:g} %" if isinstance(span, (list, tuple)) else ""
        )
        return f"{kind} {value['start']:g}→{value['end']:g}{over}"
    return kind


def _arm(name: str, detector: str, runs: Sequence[Run], differing: Sequence[str]) -> Arm:
    flat = flatten(runs[0].config)
    named = [f"{key.rsplit('.', 1)[-1]} {_plain(flat.get(key))}" for key in differing[:MOST_NAMED]]
    named += [f"{len(differing) - MOST_NAMED} more"] if len(differing) > MOST_NAMED else []
    setting = ", ".join(named)
    config = runs[0].config
    kind = str(loss_of(config).get("name", "loss"))
    ordered = tuple(sorted(runs, key=lambda run: (run.seed, run.id)))
    return Arm(name, setting, detector, kind, gamma_of(config), alpha_of(config), ordered)


def _distinct(arms: Sequence[Arm]) -> list[Arm]:
    """Tell apart arms that would bear one title (same name and settings on two test sets)."""
    seen: dict[str, int] = defaultdict(int)
    out = []
    for arm in arms:
        seen[arm.title] += 1
        if seen[arm.title] > 1:
            note = f"set {seen[arm.title]}"
            arm = replace(arm, setting=f"{arm.setting}, {note}" if arm.setting else note)
        out.append(arm)
    return out


def _incidental(key: str) -> bool:
    return key.split(".")[0] in INCIDENTAL_PARTS or key.split(".")[-1] in INCIDENTAL_KEYS


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The flattened configuration without what is incidental to the result."""
    return {key: value for key, value in flatten(config).items() if not _incidental(key)}


def comparable(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings of each configuration without those in `late_keys`."""
    late = late_keys(configs)
    return [
        {key: value for key, value in settings_of(config).items() if key not in late}
        for config in configs
    ]


def late_keys(configs: Sequence[Mapping[str, Any]]) -> set[str]:
    """Keys that some of the configurations do not know and that have one value in the others.

    They are a later version's: a record of an earlier one is taken to have had that value.
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
        and all(
            key in flat or not _knows(config, key)
            for flat, config in zip(flats, configs, strict=True)
        )
    }


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


def _differing(flats: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = sorted({key for flat in flats for key in flat})
    return [key for key in keys if len({_plain(flat.get(key)) for flat in flats}) > 1]


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "off" if value is None else str(value)


def _known(baseline: str, arms: Sequence[Arm]) -> None:
    names = sorted({name for arm in arms for name in (arm.name, arm.title)})
    if baseline not in names:
        raise ReportError(f"baseline: no arm is called '{baseline}'{nearest(baseline, names)}")


def _baseline(arms: Sequence[Arm], named: str | None) -> Arm | None:
    measured = [arm for arm in arms if arm.finished]
    for arm in measured:
        if named in (arm.title, arm.name):
            return arm
    plain = [arm for arm in measured if arm.gamma == 0.0]
    return min(plain, key=_plainness) if plain else None


def _plainness(arm: Arm) -> tuple[bool, bool, bool, str]:
    """Plain cross-entropy first; then gamma 0 unweighted; then alpha 1/2, which weighs both
    sides alike.
    """
    return (arm.loss != "cross_entropy", arm.alpha is not None, arm.alpha != 0.5, arm.title)


def _order(arm: Arm, baseline: Arm | None) -> tuple[bool, bool, float, bool, float, str]:
    gamma = arm.gamma if isinstance(arm.gamma, float) else None
    alpha = arm.alpha if isinstance(arm.alpha, float) else -1.0
    return (
        arm is not baseline,
        gamma is None,
        gamma or 0.0,
        isinstance(arm.alpha, str),
        alpha,
        arm.title,
    )


def _classes(arms: Sequence[Arm]) -> tuple[str, ...]:
    """Class names of the finished runs, the most frequent in the test set first."""
    objects: dict[str, int] = {}
    for arm in arms:
        for run in arm.finished:
            for label, values in run.metrics.per_class.items() if run.metrics else ():
                objects[label] = max(objects.get(label, 0), values.objects)
    return tuple(sorted(objects, key=lambda label: (-objects[label], label)))
