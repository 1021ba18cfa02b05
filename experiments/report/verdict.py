"""Words: what was asked, and what can be said, and how surely. Never a win from one seed."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from experiments.evaluation.verdict import capital, listed, mean_sd, pairing, told
from experiments.report.arms import Arm, Group, display
from experiments.report.choice import (
    Candidate,
    Contest,
)
from experiments.report.tables import Metric, Row, comparison, contest_of, shortened_words

KINDS = {word: word for word in ("better", "worse", "equivalent")} | {"not shown": "same"}


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


def _score(row: Row, primary: Metric) -> str:
    return mean_sd(row.summaries[primary.key])
