"""What weakens a comparison: all that the records tell of it, the gravest first."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from operator import methodcaller

from experiments.evaluation.verdict import listed
from experiments.report.arms import Arm, Group
from experiments.report.choice import LOSS, Contest, is_below, standing, standing_arms
from experiments.report.load import Run
from experiments.report.settings import comparable, differing, late_keys
from experiments.report.tables import METRICS, Metric, contest_of, shortened_words

UNEQUAL = 0.05  # relative difference of budgets that is worth a warning


def warnings(groups: Sequence[Group], primary: Metric) -> list[str]:
    """Everything in the records that weakens a comparison, the gravest first."""
    found: list[str] = []
    alone = sum(len(arm.runs) for group in groups for arm in group.arms) == 1
    for group in groups:
        found += [] if alone else _seed_warnings(group, standing_arms(contest_of(group, primary)))
        found += _budget_warnings(group)
        found += _leak_warnings(group)
        found += _shortened_warnings(group)
        found += _data_warnings(group, standing_arms(contest_of(group, primary)))
        found += _version_warnings(group)
        found += _setting_warnings(group, contest_of(group, primary))
        if group.baseline is None and not alone:
            found.append(
                f"{group.title}: no finished cross-entropy or γ = 0 arm, so nothing is a baseline."
            )
    if len({group.title for group in groups}) > len({group.detector for group in groups}):
        found.append(
            "The runs used different test sets: arms are compared only within one test set."
        )
    found += _metric_warnings(groups, primary)
    unfinished = _unfinished_warnings(groups, primary)
    return unfinished + _status_warnings(groups) + found + _code_warnings(groups, primary)


def _metric_warnings(groups: Sequence[Group], primary: Metric) -> list[str]:
    """That another metric than the usual one decides, where it was not asked for by its name: some
    run lacks the usual one.
    """
    usual = METRICS[0]
    runs = [run for group in groups for arm in group.arms for run in arm.finished]
    lacking = [run for run in runs if run.metric(usual.key) is None]
    if primary == usual or not lacking:
        return []
    return [
        f"{primary.name} decides: {len(lacking)} of {len(runs)} finished runs have no {usual.name}"
        f" on record, among them {lacking[0].id}."
    ]


def _status_warnings(groups: Sequence[Group]) -> list[str]:
    arms = [arm for group in groups for arm in group.arms]
    runs = [(arm, run) for arm in arms for run in arm.runs if not run.finished]
    counts = Counter(_state(run) for _, run in runs)
    words = {
        "failed": "failed",
        "interrupted": "stopped before the end",
        "running": "have not finished",
        "unmeasured": "finished without a test result",
    }
    found = []
    for status, count in sorted(counts.items()):
        names = sorted({f"{a.title} seed {run.seed}" for a, run in runs if _state(run) == status})
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        state = words.get(status, f"ended as '{status}'")
        noun = "1 run" if count == 1 else f"{count} runs"
        state = state.replace("have not", "has not") if count == 1 else state
        found.append(f"{noun} {state} and {'is' if count == 1 else 'are'} in no mean: {shown}.")
    return found


def _state(run: Run) -> str:
    return "unmeasured" if run.status == "finished" and run.metrics is None else run.status


def _unfinished_warnings(groups: Sequence[Group], primary: Metric) -> list[str]:
    """What a study plans that has not run."""
    found = []
    for group in groups:
        waiting = []
        for one in contest_of(group, primary).candidates:
            lacking = min((group.asked.missing(arm) for arm in standing(one)), key=len)
            if lacking:
                waiting.append(f"{one.settings[0].bare} {len(lacking)}")
        if waiting:
            planned = len(set(group.asked.seeds))
            found.append(
                f"{group.title}: the study is not finished, and decides nothing about arms that"
                f" lack some of its {planned} planned seeds: {listed(waiting, 12)}."
            )
    names = {name for group in groups for pair in group.asked.contrasts for name in pair}
    arms = [arm for group in groups for arm in group.arms]
    for name in sorted(name for name in names if not any(arm.is_called(name) for arm in arms)):
        found.append(f"No run of the arm {name!r}, which the study asks about.")
    return found


def _seed_warnings(group: Group, stand: Sequence[Arm]) -> list[str]:
    """Too few seeds, or unequal many, of the settings that stand for their arms."""
    counts = {len(arm.finished) for arm in stand if arm.finished}
    found = []
    if 1 in counts:
        alone = [arm.short for arm in stand if len(arm.finished) == 1]
        who = (
            "every arm has"
            if counts == {1}
            else f"{listed(alone)} {'has' if len(alone) == 1 else 'have'}"
        )
        found.append(f"{group.title}: {who} one seed, so no spread and no verdict.")
    if len(counts) > 1:
        found.append(f"{group.title}: arms have from {min(counts)} to {max(counts)} seeds.")
    if min(counts, default=0) > 1:
        found += _unlike_seeds(group, stand)
    again = [arm.short for arm in group.arms if arm.repeated]
    if again:
        found.append(
            f"{group.title}: {listed(again)} ran a seed more than once; the latest run counts."
        )
    return found


def _unlike_seeds(group: Group, stand: Sequence[Arm]) -> list[str]:
    """Arms whose seeds are not those of most arms: no pairs can be made with them."""
    seeds = {arm.short: frozenset(run.seed for run in arm.finished) for arm in stand}
    counted = Counter(ran for ran in seeds.values() if ran)
    if len(counted) < 2:
        return []
    usual = max(counted, key=lambda ran: (counted[ran], len(ran)))
    apart = [name for name, ran in seeds.items() if ran and ran != usual]
    return [
        f"{group.title}: {listed(apart)} did not run the seeds of the other arms, so that"
        " comparisons between them are of means (Welch’s t test), never seed by seed."
    ]


def _budget_warnings(group: Group) -> list[str]:
    runs = [run for arm in group.arms for run in arm.finished]
    steps = [run.iterations for run in runs if run.iterations]
    times = [run.seconds.train for run in runs if run.seconds.train]
    if not _spread(steps):
        return []
    words = f"{group.title}: budgets are unequal: {min(steps):,} to {max(steps):,} iterations"
    if _spread(times):
        return [f"{words} and {min(times):,.0f} to {max(times):,.0f} s of training."]
    return [f"{words} in about the same training time."]


def _spread(values: Sequence[float]) -> bool:
    return bool(values) and max(values) > min(values) * (1 + UNEQUAL)


def _leak_warnings(group: Group) -> list[str]:
    """Images that measure runs and were learned from, or that something was chosen by."""
    runs = [run for arm in group.arms for run in arm.finished]
    found = []
    learned = [run for run in runs if run.shared("train")]
    if learned:
        most = max(run.shared("train") for run in learned)
        found.append(
            f"{group.title}: {len(learned)} of {len(runs)} runs were trained on images of the test"
            f" set ({most:,} of them), so their results are no measure of new images."
        )
    chosen = [run for run in runs if run.chosen_by_val and run.shared("val")]
    if chosen:
        found.append(
            f"{group.title}: {len(chosen)} of {len(runs)} runs chose weights or their end by images"
            " of the test set."
        )
    return found


def _shortened_warnings(group: Group) -> list[str]:
    early = [arm for arm in group.arms if arm.shortened]
    if not early:
        return []
    told = "; ".join(f"{arm.short}: {shortened_words(arm)}" for arm in early[:4])
    more = f"; and {len(early) - 4} more arms" if len(early) > 4 else ""
    return [f"{group.title}: training ended before its schedule did: {told}{more}."]


def _data_warnings(group: Group, stand: Sequence[Arm]) -> list[str]:
    runs = [run for arm in group.arms for run in arm.finished]
    found = []
    for split in ("train", "val"):
        hashes = {run.split_hash(split) for run in runs}
        if len(hashes) > 1:
            found.append(
                f"{group.title}: the {split} split differs between runs"
                f" ({len(hashes)} data hashes){_apart(stand, methodcaller('split_hash', split))}."
            )
    told = _apart(stand, lambda run: run.precision or "")
    if told:  # elsewhere a line of facts
        kinds = listed(sorted({run.precision for run in runs if run.precision}))
        found.append(f"{group.title}: training was in {kinds}{told}.")
    problems = {problem for run in runs if run.data for problem in run.data.problems}
    if problems:
        shown = "; ".join(sorted(problems)[:3])
        found.append(
            f"{group.title}: the data has {len(problems)} known problems, among them: {shown}."
        )
    return found


def _apart(arms: Sequence[Arm], of: Callable[[Run], str | None]) -> str:
    """Two arms without a run in common by what `of` tells of runs: whatever tells them apart, it
    may be that, and not their settings. "" where there are none.
    """
    sets = [(arm, {of(run) for run in arm.finished}) for arm in arms if arm.finished]
    for (one, mine), (other, theirs) in combinations(sets, 2):
        if not mine & theirs:
            return f", and no run of {one.short} shares it with one of {other.short}"
    return ""


def _version_warnings(group: Group) -> list[str]:
    """Settings that records of an earlier version do not know."""
    late = sorted(late_keys([run.config for arm in group.arms for run in arm.finished]))
    if not late:
        return []
    return [
        f"{group.title}: some records are of an earlier version, without {listed(late)}; they are "
        "taken to have had the others’ values."
    ]


def _setting_warnings(group: Group, found: Contest) -> list[str]:
    """Settings other than the loss that differ between arms, that the study does not ask about, and
    that neither val nor equal pairs take care of: each is a rival explanation.
    """
    flats = comparable([arm.finished[0].config for arm in group.arms if arm.finished])
    settled = set(found.keys) if found.mode != "single" else set()
    keys = [
        key
        for key in differing(flats)
        if key not in settled
        and not key.startswith(LOSS)
        and not any(is_below(key, one) for one in group.asked.scientific)
    ]
    if not keys:
        return []
    return [f"{group.title}: arms differ in more than the loss: {listed(keys, 6)}."]


def _code_warnings(groups: Sequence[Group], primary: Metric) -> list[str]:
    runs = [run for group in groups for arm in group.arms for run in arm.finished]
    commits = {run.commit for run in runs}
    found = []
    if len(commits) > 1:
        compared = [standing_arms(contest_of(group, primary)) for group in groups]
        apart = next(filter(None, (_apart(arms, lambda run: run.commit) for arms in compared)), "")
        found.append(f"The runs come from {len(commits)} commits of the code{apart}.")
    if any(run.dirty for run in runs):
        count = sum(run.dirty for run in runs)
        found.append(f"{count} of {len(runs)} runs used code with uncommitted changes.")
    return found
