"""Fair choices: who stands for an arm that was tried in several settings, and who is compared with
whom. Baseline and rivals get the same care.

Knobs have roles: scientific ones tell arms apart, nuisance ones (a learning rate) are to be set
well for each arm, seeds are repeated, the rest is fixed. Where the roles are told and val is a
split of its own, val chooses each arm's setting and the test set is looked at once. Elsewhere arms
are compared at equal settings, none of which was chosen. More settings for one arm than for another
leave the question open: the better of many is better by luck.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from experiments.errors import nearest
from experiments.evaluation.referee import Kind, Pair
from experiments.evaluation.significance import Values, summarise
from experiments.evaluation.verdict import listed
from experiments.report.arms import Arm, Asked, Group
from experiments.report.load import ReportError
from experiments.report.settings import comparable, differing

Mode = Literal["single", "val", "equal"]
LOSS = ("loss.", "detector.loss.")


@dataclass(frozen=True, eq=False)
class Candidate:
    """An arm in all settings of its nuisance knobs; `chosen` stands for it, where val chose.

    `edges` names the knobs whose chosen value is the lowest or highest of three or more numbers
    tried: "highest optimizer.lr". Beyond it may lie a better one that nobody tried.
    """

    settings: tuple[Arm, ...]
    chosen: Arm | None
    edges: tuple[str, ...] = ()

    @property
    def tried(self) -> int:
        """Settings that ran to an end; one that diverged was tried, too, and found wanting."""
        return len([arm for arm in self.settings if arm.ended])


@dataclass(frozen=True, eq=False)
class Contest:
    """Who is compared with whom, and how that was settled. Pairs are of places in `arms`; the first
    ones are of the baseline, `named` those of the study and the reader, by the names (arm, against)
    that were given. `keys` are the knobs of several
    settings, `why` says why val did not choose among them.
    """

    arms: tuple[Arm, ...]
    candidates: tuple[Candidate, ...]
    baseline: Candidate | None
    pairs: tuple[Pair, ...]
    named: Mapping[tuple[str, str], tuple[Pair, ...]]
    mode: Mode
    keys: tuple[str, ...] = ()
    why: str = ""
    asked: Asked = Asked()

    @property
    def contrasts(self) -> tuple[Pair, ...]:
        """The pairs that were named, each name's in turn."""
        return tuple(pair for pairs in self.named.values() for pair in pairs)

    def candidate(self, arm: Arm) -> Candidate:
        """The candidate whose setting this is."""
        return next(one for one in self.candidates if arm in one.settings)


def contest(group: Group, metric: str) -> Contest:
    """Settle who stands for each arm, by `metric` on val, and who is compared.

    Contrasts that name an arm which the group lacks are another group's.
    """
    asked = group.asked
    flats = dict(zip(group.arms, comparable([a.runs[0].config for a in group.arms]), strict=True))
    keys, unnamed = _knobs(group.arms, flats, asked)
    by_settings: dict[tuple[str, str], list[Arm]] = defaultdict(list)
    for arm in group.arms:
        kept = {key: value for key, value in flats[arm].items() if key not in keys}
        by_settings[arm.name, repr(sorted(kept.items()))].append(arm)
    several = any(len([a for a in arms if a.finished]) > 1 for arms in by_settings.values())
    why = _why_not_val(by_settings.values(), metric, unnamed) if several else ""
    mode: Mode = "single" if not several else "equal" if why else "val"
    candidates = tuple(
        _with_edges(_candidate(arms, metric, mode), flats, keys) for arms in by_settings.values()
    )
    found = Contest(group.arms, candidates, None, (), {}, mode, tuple(sorted(keys)), why, asked)
    base = found.candidate(group.baseline) if group.baseline is not None else None
    rivals = [one for one in candidates if base is not None and one is not base]
    pairs = [pair for one in rivals if base for pair in _pairs(found, base, one, flats)]
    named = {
        (arm, against): tuple(_contrast(found, group, arm, against, flats))
        for arm, against in group.named_pairs
    }
    return replace(found, baseline=base, pairs=tuple(pairs), named=named)


def require_known(groups: Sequence[Group]) -> None:
    """Raise ReportError for a contrast that no group can answer, or a knob that no run has."""
    asked = groups[0].asked if groups else Asked()
    for names in asked.contrasts:
        for name in names:
            known = sorted({arm.bare for group in groups for arm in group.arms})
            if not asked.seeds and not any(_called(group, name) for group in groups):
                raise ReportError(f"contrast: no arm is called {name!r}{nearest(name, known)}")
    arms = [arm for group in groups for arm in group.arms]
    keys = sorted({key for flat in comparable([a.runs[0].config for a in arms]) for key in flat})
    for key in asked.nuisance:
        if not any(is_below(each, key) for each in keys):
            raise ReportError(f"nuisance: no run has a setting {key!r}{nearest(key, keys)}")


def settled(group: Group, metric: str) -> Group:
    """The group with the baseline that stands for its arm, where val chose."""
    base = contest(group, metric).baseline
    if base is None or base.chosen is None or base.chosen is group.baseline:
        return group
    others = [arm for arm in group.arms if arm is not base.chosen]
    return replace(group, baseline=base.chosen, arms=(base.chosen, *others))


def val_seeds(arm: Arm, metric: str) -> Values | None:
    """Seed -> the metric on val, None where a run lacks it, or val is not a split of its own."""
    found = {run.seed: run.val_metric(metric) for run in arm.finished}
    values = {seed: value for seed, value in found.items() if value is not None}
    return values if values and len(values) == len(found) else None


def _knobs(
    arms: Sequence[Arm], flats: Mapping[Arm, Mapping[str, Any]], asked: Asked
) -> tuple[set[str], set[str]]:
    """The keys that are no arm's own: nuisance ones, and those outside the loss that differ within
    a name though nobody told their role, which are also given by themselves.
    """
    every = {key for flat in flats.values() for key in flat}
    named = {key for key in every if any(is_below(key, one) for one in asked.nuisance)}
    by_name: dict[str, list[Arm]] = defaultdict(list)
    for arm in arms:
        by_name[arm.name].append(arm)
    unnamed = {
        key
        for members in by_name.values()
        for key in differing([flats[arm] for arm in members])
        if key not in named
        and not key.startswith(LOSS)
        and not any(is_below(key, one) for one in asked.scientific)
    }
    return named | unnamed, unnamed


def is_below(key: str, whole: str) -> bool:
    """Whether a dotted key is `whole` or a part of it."""
    return key == whole or key.startswith(f"{whole}.")


def _why_not_val(candidates: Any, metric: str, unnamed: set[str]) -> str:
    """Why val cannot choose among settings; "" where it can."""
    if unnamed:
        keys = sorted(unnamed)
        options = " ".join(f"--nuisance {key}" for key in keys[:3])
        return (
            f"the role of {listed(keys, 3)} is not told; `report {options}`, or x-roles in the"
            " sweep file, lets val choose"
        )
    settings = [arm for arms in candidates if len(arms) > 1 for arm in arms if arm.finished]
    if all(val_seeds(arm, metric) is not None for arm in settings):
        return ""
    return "some runs have no val of its own on record, apart from the images that measure them"


def _candidate(arms: Sequence[Arm], metric: str, mode: Mode) -> Candidate:
    measured = [arm for arm in arms if arm.finished]
    if len(measured) < 2:
        return Candidate(tuple(arms), (measured or list(arms))[0])
    if mode != "val":
        return Candidate(tuple(arms), None)
    # By the seeds that all settings have: the best of a tryout has more, and would be judged anew.
    values = {arm: val_seeds(arm, metric) or {} for arm in measured}
    shared = set.intersection(*(set(seeds) for seeds in values.values()))
    means = {
        arm: summarise([v for seed, v in seeds.items() if seed in shared or not shared]).mean
        for arm, seeds in values.items()
    }
    return Candidate(tuple(arms), max(measured, key=lambda arm: means[arm] or 0.0))


def _with_edges(
    one: Candidate, flats: Mapping[Arm, Mapping[str, Any]], keys: set[str]
) -> Candidate:
    if one.chosen is None or one.tried < 2:
        return one
    edges = []
    for key in sorted(keys):
        tried = {flats[arm].get(key) for arm in one.settings if arm.ended}
        numbers = {v for v in tried if isinstance(v, int | float) and not isinstance(v, bool)}
        if len(numbers) < 3 or numbers != tried:
            continue
        value = flats[one.chosen][key]
        if value in (min(numbers), max(numbers)):
            edges.append(f"{'lowest' if value == min(numbers) else 'highest'} {key}")
    return replace(one, edges=tuple(edges))


def _pairs(
    found: Contest, a: Candidate, b: Candidate, flats: Mapping[Arm, Mapping[str, Any]]
) -> list[Pair]:
    """The pairs of two candidates: those that stand for them, else settings that are equal."""
    open_for = _open_for(found.asked, a, b)
    places = {arm: place for place, arm in enumerate(found.arms)}
    if a.chosen is not None and b.chosen is not None:
        return [Pair(places[a.chosen], places[b.chosen], open_for)]
    pairs = []
    for other in b.settings:
        like = [arm for arm in a.settings if _alike(flats[arm], flats[other], found.keys)]
        if like or open_for:
            pairs.append(Pair(places[(like or list(a.settings))[0]], places[other], open_for))
    return pairs


def _open_for(asked: Asked, a: Candidate, b: Candidate) -> Kind | None:
    """Why no verdict on two candidates may be given, whatever their numbers."""
    if any(all(asked.missing(arm) for arm in standing(one)) for one in (a, b)):
        return "unfinished"
    measured = all(any(arm.finished for arm in one.settings) for one in (a, b))
    return "unequal search" if measured and a.tried != b.tried else None


def standing(one: Candidate) -> tuple[Arm, ...]:
    """What stands for a candidate: the setting that val chose, else any."""
    return (one.chosen,) if one.chosen is not None else one.settings


def standing_arms(found: Contest) -> list[Arm]:
    """What stands for the candidates of a group, in its order: where val chose nothing, all."""
    return [arm for one in found.candidates for arm in standing(one)]


def _alike(one: Mapping[str, Any], other: Mapping[str, Any], keys: Sequence[str]) -> bool:
    return all(one.get(key) == other.get(key) for key in keys)


def _contrast(
    found: Contest,
    group: Group,
    arm: str,
    against: str,
    flats: Mapping[Arm, Mapping[str, Any]],
) -> list[Pair]:
    """The pairs of one contrast, of all arms so called; none where the group lacks one side."""
    sides = [
        list(dict.fromkeys(found.candidate(one) for one in _called(group, name)))
        for name in (against, arm)
    ]
    return [pair for a, b in product(*sides) if a is not b for pair in _pairs(found, a, b, flats)]


def _called(group: Group, name: str) -> list[Arm]:
    return [arm for arm in group.arms if arm.is_called(name)]
