"""Runs -> arms -> groups. An arm is one setting over several seeds.

A group holds the arms that may be compared: one detector, one test set, at most one baseline.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, count
from pathlib import Path

from experiments.config.words import is_one_name
from experiments.errors import nearest
from experiments.evaluation.significance import Summary, Values, summarise
from experiments.report.load import ReportError, Run
from experiments.report.settings import (
    alpha_of,
    comparable,
    detector_of,
    differing,
    flatten,
    gamma_of,
    loss_of,
    plain,
)

MOST_NAMED = 3  # differing settings that a title names; the provenance table has all


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
        """The title below a heading that names its detector."""
        return self._shown(self.title)

    @property
    def bare(self) -> str:
        """The same without the setting, for all settings of the arm."""
        return self._shown(self.name)

    def _shown(self, words: str) -> str:
        if words.lower().startswith(self.detector.lower() + " "):
            return words[len(self.detector) + 1 :]
        return words

    @cached_property  # a table of a thousand runs asks some ten thousand times
    def finished(self) -> tuple[Run, ...]:
        """The runs that enter means: finished, one a seed (of a repeated seed the latest)."""
        latest: dict[int, Run] = {}
        for run in sorted(self.runs, key=lambda run: (run.started, run.id)):
            if run.finished:
                latest[run.seed] = run
        return tuple(latest[seed] for seed in sorted(latest))

    @property
    def ended(self) -> frozenset[int]:
        """The seeds of which a run has finished or failed: nothing more is awaited of them."""
        return frozenset(run.seed for run in self.runs if run.status in ("finished", "failed"))

    @property
    def shortened(self) -> tuple[Run, ...]:
        """Runs that count though they ended before their schedule did."""
        return tuple(run for run in self.finished if run.ended_early)

    @property
    def repeated(self) -> tuple[Run, ...]:
        """Finished runs that a later run of their seed stands for."""
        counted = {run.folder for run in self.finished}
        return tuple(run for run in self.runs if run.finished and run.folder not in counted)

    def is_called(self, name: str) -> bool:
        """Whether this is its name or title, with its detector or without, or what it was called
        when it ran.
        """
        known = (self.name, self.title, self.short, self.bare)
        told = any(is_one_name(name, one) for one in known)
        return told or any(name == run.recorded_arm for run in self.runs)

    def seeds(self, metric: str) -> Values:
        """Seed -> the metric of its finished run, undefined ones left out."""
        values = {run.seed: run.metric(metric) for run in self.finished}
        return {seed: value for seed, value in values.items() if value is not None}

    def values(self, metric: str) -> list[float]:
        """The metric of each finished run, in the order of seeds, undefined ones left out."""
        return list(self.seeds(metric).values())

    def summary(self, metric: str) -> Summary:
        """Mean, SD and count over seeds of one test metric in percent."""
        return summarise(self.values(metric))

    def class_summary(self, label: str, metric: str) -> Summary:
        """Mean, SD and count over seeds of one class's metric in percent."""
        values = (run.class_metric(label, metric) for run in self.finished)
        return summarise([value for value in values if value is not None])


@dataclass(frozen=True, slots=True)
class Asked:
    """What a study asks of its arms. Keys are dotted names of the configuration, or the beginning
    of some. A contrast is (arm, against), by their names.
    """

    nuisance: tuple[str, ...] = ()
    scientific: tuple[str, ...] = ()
    contrasts: tuple[tuple[str, str], ...] = ()
    within: float | None = None  # points of the deciding metric: is a difference smaller?
    seeds: tuple[int, ...] = ()  # that a study plans for each arm: with fewer it is not finished

    def missing(self, arm: Arm) -> list[int]:
        """Planned seeds of an arm that have neither finished nor failed."""
        return sorted(set(self.seeds) - arm.ended)


@dataclass(frozen=True, slots=True)
class Question:
    """What a reader asks of a group: pairs (arm, against) by their titles, and in `note` how they
    were picked.
    """

    key: str
    title: str
    pairs: tuple[tuple[str, str], ...]
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The arms of one detector on one test set, the baseline first, then by rising gamma."""

    key: str  # used in file names and anchors
    title: str
    detector: str
    arms: tuple[Arm, ...]
    baseline: Arm | None
    classes: tuple[str, ...]
    asked: Asked = Asked()
    questions: tuple[Question, ...] = ()

    @property
    def named_pairs(self) -> tuple[tuple[str, str], ...]:
        """What the study and the reader ask besides each arm with the baseline, each once."""
        asked = [pair for question in self.questions for pair in question.pairs]
        return tuple(dict.fromkeys((*self.asked.contrasts, *asked)))

    def best(self, metric: str) -> Arm | None:
        """The arm with the highest mean of `metric`; None where no arm has one."""
        known = [(arm.summary(metric).mean, arm) for arm in self.arms]
        ranked = [(mean, arm) for mean, arm in known if mean is not None]
        return max(ranked, key=lambda pair: pair[0])[1] if ranked else None

    def others(self) -> tuple[Arm, ...]:
        """The arms other than the baseline."""
        return tuple(arm for arm in self.arms if arm is not self.baseline)


def make_groups(
    runs: Sequence[Run], *, baseline: str | None = None, asked: Asked | None = None
) -> list[Group]:
    """Groups of comparable arms, by detector and test set.

    `baseline` names the arm to compare with, where its group has it; elsewhere the plain cross-
    entropy arm is taken, else a gamma-0 arm.

    Raises:
        ReportError: no arm is called `baseline`.
    """
    arms = make_arms(runs)
    if baseline is not None and not (asked and asked.seeds):  # of a study it may not have run yet
        _known(baseline, arms)
    by_group: dict[tuple[str, str], list[Arm]] = defaultdict(list)
    sets = test_sets(runs)
    for arm in arms:
        by_group[(arm.detector, sets[arm.runs[0].folder])].append(arm)
    names = set_names(runs, sets)
    groups: list[Group] = []
    for (detector, test), members in sorted(by_group.items()):
        name = names[test] if len(names) > 1 else ""
        chosen = _baseline(members, baseline)
        groups.append(
            Group(
                key=_unused(slug(f"{detector} {name}"), [group.key for group in groups]),
                title=f"{display(detector)} on {name}" if name else display(detector),
                detector=detector,
                arms=tuple(sorted(members, key=lambda arm: _order(arm, chosen))),
                baseline=chosen,
                classes=_classes(members),
                asked=asked or Asked(),
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
        keys = differing(known)
        for group in settings.values():
            arms.append(_arm(name, detector, group, keys))
    return _distinct(arms)


def test_sets(runs: Sequence[Run]) -> dict[Path, str]:
    """What identifies the images that each run was measured on, by the run's folder: their content
    hash.

    A run that failed before it read its data is taken to have what others of its data settings had.
    """
    settings = {
        run.folder: json.dumps([run.config.get("data"), run.measured], default=str) for run in runs
    }
    hashes = {run.folder: run.split_hash(run.measured) for run in runs}
    known = {settings[folder]: found for folder, found in hashes.items() if found}
    return {
        run.folder: hashes[run.folder] or known.get(settings[run.folder]) or "unknown"
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
        earlier = sum(other.partition(" #")[0] == name for other in names.values())
        names[sets[run.folder]] = f"{name} #{earlier + 1}" if earlier else name
    return names


def _arm(name: str, detector: str, runs: Sequence[Run], keys: Sequence[str]) -> Arm:
    flat = flatten(runs[0].config)
    named = [f"{key.rsplit('.', 1)[-1]} {plain(flat.get(key))}" for key in keys[:MOST_NAMED]]
    named += [f"{len(keys) - MOST_NAMED} more"] if len(keys) > MOST_NAMED else []
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


def _unused(key: str, taken: Sequence[str]) -> str:
    """The key, numbered where names of two groups come to one: "VOC 2007" and "VOC-2007" do, and
    names of letters that files are not named by.
    """
    numbered = (f"{key}-{number}" for number in count(2))
    return next(each for each in chain([key], numbered) if each not in taken)


def _known(baseline: str, arms: Sequence[Arm]) -> None:
    if not any(arm.is_called(baseline) for arm in arms):
        names = sorted({name for arm in arms for name in (arm.name, arm.title)})
        raise ReportError(f"baseline: no arm is called '{baseline}'{nearest(baseline, names)}")


def _baseline(arms: Sequence[Arm], named: str | None) -> Arm | None:
    measured = [arm for arm in arms if arm.finished]
    for arm in measured:
        if named is not None and arm.is_called(named):
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


def slug(words: str) -> str:
    """Words as a file name or anchor: lower-case letters, digits and dashes."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in words)
    return "-".join(part for part in kept.lower().split("-") if part) or "unnamed"


def display(detector: str) -> str:
    """The detector's name as papers write it."""
    return {"yolov2": "YOLOv2", "retinanet": "RetinaNet"}.get(detector.lower(), detector)
