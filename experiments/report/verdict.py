"""Words: what was asked, what can be said (and how surely), and what weakens it. Never a win
from one seed.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from experiments.evaluation.significance import NO_INTERVAL, seeds_needed, why_no_interval
from experiments.report.arms import Group, comparable, display, late_keys
from experiments.report.load import Run
from experiments.report.tables import Metric, Row, comparison, fixed, interval, mean_sd, signed

UNEQUAL = 0.05  # relative difference of budgets that is worth a warning


class Verdict(NamedTuple):
    """A finding and its uncertainty, one sentence each; `kind` is better, same, worse or open."""

    group: Group
    kind: str
    finding: str
    uncertainty: str


def question(groups: Sequence[Group], primary: Metric) -> str:
    """What the records asked, read from what differs between their arms."""
    detectors = _listed(sorted({display(group.detector) for group in groups}))
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
    """Two sentences on one group: the best arm against the baseline, and how sure that is."""
    rows = comparison(group, primary)
    base = next((row for row in rows if row.is_baseline), None)
    measured = [row for row in rows if row.summaries[primary.key].mean is not None]
    if not measured:
        return Verdict(group, "open", "No run has finished.", "There is nothing to compare yet.")
    if base is None:
        return _without_baseline(group, measured, primary)
    rivals = [row for row in measured if not row.is_baseline]
    if not rivals:
        words = f"Only the baseline, {base.arm.short}, was measured: {_score(base, primary)}."
        return Verdict(group, "open", words, "There is no other arm to compare it with.")
    best = max(rivals, key=lambda row: row.summaries[primary.key].mean or 0.0)
    return _against(group, base, best, rivals, primary)


def warnings(groups: Sequence[Group], primary: Metric) -> list[str]:
    """Everything in the records that weakens a comparison, the gravest first."""
    found: list[str] = []
    for group in groups:
        found += _seed_warnings(group)
        found += _budget_warnings(group)
        found += _data_warnings(group)
        found += _version_warnings(group)
        found += _setting_warnings(group)
        if group.baseline is None:
            found.append(
                f"{group.title}: no finished cross-entropy or γ = 0 arm, so nothing is a baseline."
            )
    if len({group.title for group in groups}) > len({group.detector for group in groups}):
        found.append(
            "The runs used different test sets: arms are compared only within one test set."
        )
    return _status_warnings(groups) + found + _code_warnings(groups)


def _without_baseline(group: Group, measured: Sequence[Row], primary: Metric) -> Verdict:
    best = max(measured, key=lambda row: row.summaries[primary.key].mean or 0.0)
    words = f"The highest {primary.name} is {_score(best, primary)}, by {best.arm.short}."
    return Verdict(
        group, "open", words, "There is no cross-entropy or γ = 0 arm to compare it with."
    )


def _against(group: Group, base: Row, best: Row, rivals: Sequence[Row], primary: Metric) -> Verdict:
    difference = best.differences[primary.key]
    name, below = _capital(best.arm.short), (difference.points or 0.0) < 0
    reached = f"{_score(best, primary)} {primary.name}, {_gap(difference.points)}"
    against = f"{base.arm.short} ({_score(base, primary)})"
    if difference.verdict in NO_INTERVAL:
        place = "comes nearest" if below else "is highest"
        finding = f"Undecided: {name} {place} with {reached} {against}."
        seeds = [row.summaries[primary.key].seeds for row in (best, base)]
        return Verdict(group, "open", finding, _seed_sentence(*seeds))
    sure = _interval_sentence(best, base, rivals, primary)
    if difference.verdict == "not shown":
        finding = f"No difference is shown: {name} reaches {reached} {against}."
        return Verdict(group, "same", finding, sure + _advice(best, base, primary))
    opening = "No arm reaches the baseline; the nearest, " if below and len(rivals) > 1 else ""
    shown = f"{best.arm.short}, is" if opening else f"{name} is"
    finding = f"{opening}{shown} {difference.verdict}: {reached} {against}."
    ending = "." if below else _picked(rivals)
    return Verdict(group, difference.verdict, finding, sure + ending)


def _gap(points: float | None) -> str:
    words = "above" if (points or 0.0) >= 0 else "below"
    return f"{fixed(abs(points or 0.0))} points {words}"


def _interval_sentence(best: Row, base: Row, rivals: Sequence[Row], primary: Metric) -> str:
    difference = best.differences[primary.key]
    counts = [len(row.arm.values(primary.key)) for row in (best, base)]
    each = f"{counts[0]} seeds each"
    seeds = each if counts[0] == counts[1] else f"{counts[0]} and {counts[1]} seeds"
    words = f"The difference is {signed(difference.points)}, 95 % interval {interval(difference)}"
    words += f" ({seeds}; p {_p(difference.p)}"
    if len(rivals) < 2:
        return words + ")"
    return words + f" after Holm’s correction for {len(rivals)} arms)"


def _picked(rivals: Sequence[Row]) -> str:
    if len(rivals) < 2:
        return "."
    return (
        f"; it is the highest of {len(rivals)} on this test set, so its true lead may be smaller."
    )


def _seed_sentence(best: int, base: int) -> str:
    if best == base == 1:
        return (
            "With one seed per arm this cannot be told from seed noise (detectors trained twice"
            " alike differ by half a point and more); run at least three seeds an arm before"
            " believing it."
        )
    if min(best, base) >= 2:
        return f"There is no interval: {why_no_interval(min(best, base))}."
    return (
        f"Seeds are too few for an interval ({best} of this arm, {base} of the baseline);"
        " run at least three of each before believing it."
    )


def _advice(best: Row, base: Row, primary: Metric) -> str:
    spread = [row.summaries[primary.key].sd for row in (best, base)]
    points = best.differences[primary.key].points
    known = [sd for sd in spread if sd is not None]
    if points is None or not known:
        return "."
    pooled = (sum(sd * sd for sd in known) / len(known)) ** 0.5
    seeds = seeds_needed(pooled, points)
    if seeds is None or seeds <= len(best.arm.finished):
        return "."
    return f"; were it real, about {seeds} seeds an arm would show it alone in four of five tries."


def _status_warnings(groups: Sequence[Group]) -> list[str]:
    runs = [run for group in groups for arm in group.arms for run in arm.runs if not run.finished]
    counts = Counter(_state(run) for run in runs)
    words = {
        "failed": "failed",
        "interrupted": "stopped before the end",
        "running": "have not finished",
        "unmeasured": "finished without a test result",
    }
    found = []
    for status, count in sorted(counts.items()):
        names = sorted({f"{run.arm} seed {run.seed}" for run in runs if _state(run) == status})
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        state = words.get(status, f"ended as '{status}'")
        noun = "1 run" if count == 1 else f"{count} runs"
        state = state.replace("have not", "has not") if count == 1 else state
        found.append(f"{noun} {state} and {'is' if count == 1 else 'are'} in no mean: {shown}.")
    return found


def _state(run: Run) -> str:
    return "unmeasured" if run.status == "finished" and run.metrics is None else run.status


def _seed_warnings(group: Group) -> list[str]:
    counts = {len(arm.finished) for arm in group.arms if arm.finished}
    found = []
    if 1 in counts:
        alone = [arm.short for arm in group.arms if len(arm.finished) == 1]
        who = (
            "every arm has"
            if counts == {1}
            else f"{_listed(alone)} {'has' if len(alone) == 1 else 'have'}"
        )
        found.append(f"{group.title}: {who} one seed, so no spread and no verdict.")
    if len(counts) > 1:
        found.append(f"{group.title}: arms have from {min(counts)} to {max(counts)} seeds.")
    again = [arm.short for arm in group.arms if arm.repeated]
    if again:
        found.append(
            f"{group.title}: {_listed(again)} ran a seed more than once; the latest run counts."
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
        f"{group.title}: some records are of an earlier version, without {_listed(late)}; they are "
        "taken to have had the others’ values."
    ]


def _setting_warnings(group: Group) -> list[str]:
    """Settings other than the loss that differ between arms: each is a rival explanation."""
    flats = comparable([arm.finished[0].config for arm in group.arms if arm.finished])
    keys = {
        key for flat in flats for key in flat if not key.startswith(("loss.", "detector.loss."))
    }
    differing = sorted(key for key in keys if len({repr(flat.get(key)) for flat in flats}) > 1)
    if not differing:
        return []
    shown = ", ".join(differing[:6]) + (
        f" and {len(differing) - 6} more" if len(differing) > 6 else ""
    )
    found = [f"{group.title}: arms differ in more than the loss: {shown}."]
    tried = max(Counter(arm.name for arm in group.arms if arm.finished).values())
    if tried > 1:
        found.append(
            f"{group.title}: an arm’s best of up to {tried} settings was picked by the result shown"
            " here, which favours arms with more of them."
        )
    return found


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


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"= {fixed(value, 3)}"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _listed(words: Sequence[str]) -> str:
    kept = list(words[:5])
    if len(words) > 5:
        kept.append(f"{len(words) - 5} more")
    return kept[0] if len(kept) == 1 else ", ".join(kept[:-1]) + " and " + kept[-1] if kept else ""
