"""Words: what was asked, what can be said (and how surely), and what weakens it. Never a win
from one seed.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from experiments.evaluation.verdict import capital, listed, mean_sd, pairing, told
from experiments.report.arms import Arm, Group, display
from experiments.report.choice import (
    LOSS,
    Candidate,
    Contest,
    is_below,
    standing,
    standing_arms,
)
from experiments.report.load import Run
from experiments.report.settings import comparable, differing, late_keys
from experiments.report.tables import Metric, Row, comparison, contest_of, shortened_words

KINDS = {word: word for word in ("better", "worse", "equivalent")} | {"not shown": "same"}
UNEQUAL = 0.05  # relative difference of budgets that is worth a warning


class Verdict(NamedTuple):
    """A finding and its uncertainty, one sentence each; `kind` is better, equivalent, same,
    worse or open."""

    group: Group
    kind: str
    finding: str
    uncertainty: str
    of: Arm | None = None  # the arm that is told beside the baseline


def question(groups: Sequence[Group], primary: Metric) -> str:
    """What the records asked, read from what differs between their arms."""
    detectors = listed(sorted({display(group.detector) for group in groups}))
    arms = [arm for group in groups for arm in group.arms]
    knobs = [
        name
        for name, values in (("γ", {arm.gamma for arm in arms}), ("α", {arm.alpha for arm in arms}))
        if len(values) > 1
    ]
    if len(arms) == 1:
        return f"How well does {arms[0].title} detect, by {primary.name}?"
    if not knobs:
        return f"Which of {len(arms)} settings of {detectors} gives the higher {primary.name}?"
    of_loss = "focal loss’s " + " and ".join(knobs)
    return f"Does {of_loss} change the {primary.name} of {detectors}?"


def verdict(group: Group, primary: Metric) -> Verdict:
    """A few sentences on one group: the best arm against the baseline, and how sure that is."""
    rows, found = comparison(group, primary), contest_of(group, primary)
    measured = [row for row in rows if row.summaries[primary.key].mean is not None]
    if not measured:
        return Verdict(group, "open", "No run has finished.", "There is nothing to compare yet.")
    if found.baseline is None:
        return _without_baseline(group, measured, primary)
    rivals = [row for row in measured if not row.is_baseline and row.differences]
    if not rivals:
        return _alone(group, [row for row in measured if row.is_baseline], primary)
    best = max(rivals, key=lambda row: row.summaries[primary.key].mean or 0.0)
    answers = [row for row in rivals if row.arm in found.candidate(best.arm).settings]
    if len(answers) > 1 and all(row.differences[primary.key].p is not None for row in answers):
        said = _at_equal_settings(group, found, answers, primary)
    else:
        said = _against(group, best, rivals, primary)
    more = choice_words(found, best.arm, best.against) + ended_early(best.arm, best.against)
    return said._replace(uncertainty=said.uncertainty + more, of=best.arm)


def choice_words(found: Contest, *arms: Arm | None) -> str:
    """How settings were chosen for some arms that were tried in several."""
    keys = listed(found.keys, 3)
    if found.mode == "val":
        most = max(one.tried for one in found.candidates)
        said = f" Each arm stands for the best of its {most} settings of {keys} on val."
        return said + _edge_words([one for one in found.candidates if one.chosen in arms])
    if found.mode == "equal":
        return f" Arms are compared at equal {keys}, and val chose none: {found.why}."
    return ""


def _edge_words(candidates: Sequence[Candidate]) -> str:
    """Arms whose best setting is the last that was tried: a better one may lie beyond."""
    at = [one for one in candidates if one.edges]
    if not at:
        return ""
    edges = listed(sorted({edge for one in at for edge in one.edges}))
    who = listed([one.chosen.bare for one in at if one.chosen is not None], 3)
    return f" Of {who} it is the {edges} tried: values beyond might do better."


def _alone(group: Group, base: Sequence[Row], primary: Metric) -> Verdict:
    if not base:
        words = "The baseline was not measured."
    else:
        words = f"Only the baseline, {base[0].arm.short}, was measured: {_score(base[0], primary)}."
    return Verdict(group, "open", words, "There is no other arm to compare it with.")


def _at_equal_settings(
    group: Group, found: Contest, answers: Sequence[Row], primary: Metric
) -> Verdict:
    """One arm against the baseline, setting by setting."""
    counts = Counter(row.differences[primary.key].verdict for row in answers)
    clearest = min(answers, key=lambda row: row.differences[primary.key].p or 0.0)
    assert clearest.against is not None
    arm, base = clearest.arm.bare, clearest.against.bare
    of = f"of {len(answers)} equal settings of {listed(found.keys, 3)}"
    better, worse = counts["better"], counts["worse"]
    if better and worse:
        kind, words = (
            "open",
            f"{capital(arm)} is better than {base} at {better} and worse at {worse}",
        )
    elif better or worse:
        kind = "better" if better else "worse"
        words = f"{capital(arm)} is {kind} than {base} at {better or worse}"
    elif counts["equivalent"] == len(answers):
        kind, words = "equivalent", f"{capital(arm)} and {base} are equivalent at all"
    else:
        kind, words = "same", f"No difference between {arm} and {base} is shown at any"
    first = told(
        clearest.differences[primary.key], clearest.against.short, clearest.arm.short, primary.name
    )
    clear = f"The clearest: {first.finding} {first.uncertainty}"
    return Verdict(group, kind, f"{words} {of}.", clear)


def ended_early(*arms: Arm | None) -> str:
    """A word on arms that are not what their schedule says."""
    found = [
        f" Not the whole schedule: of {arm.short}, {shortened_words(arm)}."
        for arm in arms
        if arm is not None and arm.shortened
    ]
    return "".join(found)


def pairing_of(group: Group, primary: Metric) -> str:
    """How the group's seeds were compared, and why; "" where there was nothing to choose."""
    ways = [
        pairing(row.differences[primary.key].shared)
        for row in comparison(group, primary)
        if primary.key in row.differences
    ]
    return " ".join(dict.fromkeys(way for way in ways if way))


def warnings(groups: Sequence[Group], primary: Metric) -> list[str]:
    """Everything in the records that weakens a comparison, the gravest first."""
    found: list[str] = []
    alone = sum(len(arm.runs) for group in groups for arm in group.arms) == 1
    for group in groups:
        found += [] if alone else _seed_warnings(group, standing_arms(contest_of(group, primary)))
        found += _budget_warnings(group)
        found += _leak_warnings(group)
        found += _shortened_warnings(group)
        found += _data_warnings(group)
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
    unfinished = _unfinished_warnings(groups, primary)
    return unfinished + _status_warnings(groups) + found + _code_warnings(groups)


def _without_baseline(group: Group, measured: Sequence[Row], primary: Metric) -> Verdict:
    best = max(measured, key=lambda row: row.summaries[primary.key].mean or 0.0)
    words = f"The highest {primary.name} is {_score(best, primary)}, by {best.arm.short}."
    return Verdict(
        group, "open", words, "There is no cross-entropy or γ = 0 arm to compare it with."
    )


def _against(group: Group, best: Row, rivals: Sequence[Row], primary: Metric) -> Verdict:
    difference = best.differences[primary.key]
    assert best.against is not None
    finding, uncertainty = told(difference, best.against.short, best.arm.short, primary.name)
    kind = KINDS.get(difference.verdict, "open")
    if kind == "worse" and len(rivals) > 1:
        finding = f"No arm reaches the baseline; the nearest is worse. {finding}"
    if kind == "better" and len(rivals) > 1:
        uncertainty += _picked(rivals)
    return Verdict(group, kind, finding, uncertainty)


def _picked(rivals: Sequence[Row]) -> str:
    return f" It is the highest of {len(rivals)} on this test set: its true lead may be smaller."


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
    again = [arm.short for arm in group.arms if arm.repeated]
    if again:
        found.append(
            f"{group.title}: {listed(again)} ran a seed more than once; the latest run counts."
        )
    return found


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


def _data_warnings(group: Group) -> list[str]:
    runs = [run for arm in group.arms for run in arm.finished]
    found = []
    for split in ("train", "val"):
        hashes = {run.split_hash(split) for run in runs}
        if len(hashes) > 1:
            found.append(
                f"{group.title}: the {split} split differs between runs"
                f" ({len(hashes)} data hashes)."
            )
    problems = {problem for run in runs if run.data for problem in run.data.problems}
    if problems:
        shown = "; ".join(sorted(problems)[:3])
        found.append(
            f"{group.title}: the data has {len(problems)} known problems, among them: {shown}."
        )
    return found


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


def _code_warnings(groups: Sequence[Group]) -> list[str]:
    runs = [run for group in groups for arm in group.arms for run in arm.finished]
    commits = {run.commit for run in runs}
    found = []
    if len(commits) > 1:
        found.append(f"The runs come from {len(commits)} commits of the code.")
    if any(run.dirty for run in runs):
        count = sum(run.dirty for run in runs)
        found.append(f"{count} of {len(runs)} runs used code with uncommitted changes.")
    return found


def _score(row: Row, primary: Metric) -> str:
    return mean_sd(row.summaries[primary.key])
