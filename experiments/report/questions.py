"""What a reader asks, in the order in which it is asked, and the cards that answer it.

1. Does focal loss beat cross-entropy? The best of either side, as val tells.
2. Does a rising gamma beat a fixed one? Each soft arm beside the fixed one at its alpha.
3. What does alpha alone do? At one gamma.
4. What the study asks by name. Where none of these can be asked, the best arm and the baseline.
What is decided of other arms beside the baseline comes right after the first answer.

The referee answers; all pairs of a group are one family with each arm's comparison to the baseline.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from experiments.evaluation.bootstrap import PairedDifference
from experiments.evaluation.verdict import (
    ONE_RUN_EACH,
    capital,
    fixed,
    listed,
    of_two_runs,
    told,
    told_together,
)
from experiments.report.arms import Arm, Group, Question
from experiments.report.choice import LOSS, contest, val_seeds
from experiments.report.evidence.item import FigureItem
from experiments.report.figures import effects
from experiments.report.settings import comparable, loss_of
from experiments.report.tables import Contrast, Metric, Row, comparison, contest_of, contrasts_of
from experiments.report.verdict import KINDS, choice_words, ended_early, verdict

FOCAL, SOFT, ALPHA = (
    "Does focal loss beat cross-entropy?",
    "Does a rising γ beat a fixed one at the same α?",
    "What does α alone do?",
)
STUDY, BEST = "What the study asks", "Which arm is best?"
OTHERS = "Which other arms differ from {}?"
MOST_ALPHAS = 6  # pairs of the third question; the table has every arm
MOST_LINES = 8  # of a figure of other arms
CLEAR = ("better", "equivalent", "worse")
ORDER = ("focal", "best", "others", "soft", "alpha", "study")

TwoRuns = Callable[[Arm, Arm], PairedDifference | None]


@dataclass(frozen=True)
class Answer:
    """What is said of one group; `weights` speaks of two single runs."""

    group: str
    kind: str
    finding: str
    uncertainty: str
    weights: str = ""


@dataclass
class Card:
    """One question with its answers of all groups; `shared` is what all of them rest on."""

    key: str
    title: str
    answers: list[Answer] = field(default_factory=list)
    lines: list[effects.EffectLine] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)  # group, note
    against: set[str] = field(default_factory=set)
    figure: FigureItem | None = None

    @property
    def kind(self) -> str:
        """The answers' kind where all have one, else open."""
        kinds = {answer.kind for answer in self.answers}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def notes(self) -> list[str]:
        """How pairs were picked, once where all groups have the same to say."""
        said = list(dict.fromkeys(note for _, note in self.remarks))
        if len(said) == 1:
            return [capital(note) for note in said]
        return [f"{group}: {note}" for group, note in self.remarks]

    @property
    def shared(self) -> str:
        """The uncertainty of all answers, where it is the same."""
        found = {answer.uncertainty for answer in self.answers}
        return found.pop() if len(found) == 1 and len(self.answers) > 1 else ""


def asked_by_reader(group: Group, metric: str) -> Group:
    """The group with the questions that its arms can answer."""
    found = contest(group, metric)
    standing = [one.chosen or one.settings[0] for one in found.candidates]
    arms = [arm for arm in standing if arm.values(metric)]
    made = (_focal(arms, metric), _soft(arms, metric, found.keys), _alpha(group, arms, found.keys))
    return replace(group, questions=tuple(one for one in made if one is not None))


def cards(
    groups: Sequence[Group],
    primary: Metric,
    names: Sequence[Mapping[str, str]],
    two_runs: TwoRuns,
) -> list[Card]:
    """The cards in the order of the questions; `names` gives each group's palette names."""
    if sum(len(arm.runs) for group in groups for arm in group.arms) == 1:
        return [_one_run(groups[0], primary)]
    found: dict[str, Card] = {}
    said: set[tuple[Arm, Arm | None]] = set()  # arm, against
    for group, hues in zip(groups, names, strict=True):
        for question in group.questions:
            card = found.setdefault(question.key, Card(question.key, question.title))
            card.remarks += [(group.title, question.note)] if question.note else []
            for one in contrasts_of(group, primary, question.pairs):
                said.add((one.arm, one.against))
                _add(card, group, one, primary, hues, two_runs, several=len(groups) > 1)
    for group, hues in zip(groups, names, strict=True):
        for one in contrasts_of(group, primary, group.asked.contrasts):
            if (one.arm, one.against) not in said:
                said.add((one.arm, one.against))
                card = found.setdefault("study", Card("study", STUDY))
                _add(card, group, one, primary, hues, two_runs, several=len(groups) > 1)
    for group in groups:
        if not group.questions or any(card.key == "best" for card in found.values()):
            best = verdict(group, primary)
            said |= {(best.of, group.baseline)} if best.of is not None else set()
            card = found.setdefault("best", Card("best", BEST))
            card.answers.append(Answer(group.title, best.kind, best.finding, best.uncertainty))
    base = {group.baseline.bare for group in groups if group.baseline is not None}
    title = OTHERS.format(*base) if len(base) == 1 else OTHERS.format("the baseline")
    for group, hues in zip(groups, names, strict=True):
        rows = [row for row in _decided(group, primary) if (row.arm, row.against) not in said]
        if rows:
            card = found.setdefault("others", Card("others", title))
            _add_others(card, group, rows, primary, hues, several=len(groups) > 1)
    made = sorted(found.values(), key=lambda card: ORDER.index(card.key))
    for card in made:
        card.figure = _figure(card, primary)
    return made


def _one_run(group: Group, primary: Metric) -> Card:
    """What one run says: its number, and no more."""
    score = group.arms[0].summary(primary.key).mean
    words = "No run has finished."
    if score is not None:
        words = f"{fixed(score)} {primary.name} on the test split, from one run."
    unsure = "" if score is None else "Another seed would give another number."
    return Card("best", group.title, [Answer(group.arms[0].short, "open", words, unsure)])


def _add(
    card: Card,
    group: Group,
    one: Contrast,
    primary: Metric,
    hues: Mapping[str, str],
    two_runs: TwoRuns,
    *,
    several: bool,
) -> None:
    answer = one.judgement
    finding, uncertainty = told(answer, one.against.short, one.arm.short, primary.name)
    uncertainty += choice_words(contest_of(group, primary), one.arm, one.against)
    uncertainty += ended_early(one.arm, one.against)
    images = two_runs(one.against, one.arm)
    weights = of_two_runs(images, one.against.short, one.arm.short) if images else ""
    weights = weights.removesuffix(f" {ONE_RUN_EACH}")  # the figure's caption says it once
    kind = KINDS.get(answer.verdict, "open")
    card.answers.append(Answer(group.title, kind, finding, uncertainty, weights))
    if answer.points is not None or images is not None:
        card.against.add(one.against.short)
        label = f"{group.title}: {one.arm.short}" if several else one.arm.short
        card.lines.append(_line(label, one, primary, hues, images))


def _line(
    label: str,
    one: Contrast,
    primary: Metric,
    hues: Mapping[str, str],
    images: PairedDifference | None = None,
) -> effects.EffectLine:
    hue = hues[one.arm.title] if hues[one.arm.title] != "base" else "ink"
    if images is not None:
        points, low, high = (100 * v for v in (images.difference, images.low, images.high))
        return effects.EffectLine(label, hue, points, low, high, (), images=True)
    a, b = (arm.seeds(primary.key) for arm in (one.against, one.arm))
    pairs = [(a[seed], b[seed]) for seed in sorted(a.keys() & b.keys())]
    seeds = effects.of_seeds(pairs) if a.keys() == b.keys() else ()
    found = one.judgement
    ends = (found.points or 0.0, found.low, found.high)
    return effects.EffectLine(label, hue, *ends, seeds, images=False)


def _decided(group: Group, primary: Metric) -> list[Row]:
    """The arms of whose comparison with the baseline something is known, the highest first; none
    where each setting has a comparison of its own.
    """
    if contest_of(group, primary).mode == "equal":
        return []
    rows = [row for row in comparison(group, primary) if primary.key in row.differences]
    rows = [row for row in rows if row.differences[primary.key].verdict in CLEAR]
    return sorted(rows, key=lambda row: -(row.differences[primary.key].points or 0.0))


def _add_others(
    card: Card,
    group: Group,
    rows: Sequence[Row],
    primary: Metric,
    hues: Mapping[str, str],
    *,
    several: bool,
) -> None:
    """One answer for all of `rows` that are better, for all that are worse, and so on."""
    found = contest_of(group, primary)
    for kind in CLEAR:
        mine = [row for row in rows if row.differences[primary.key].verdict == kind]
        against = mine[0].against if mine else None
        if against is None:
            continue
        named = [(row.arm.short, row.differences[primary.key]) for row in mine]
        words = told_together(named, against.short, primary.name)
        arms = [row.arm for row in mine]
        more = choice_words(found, *arms, against) + ended_early(*arms, against)
        unsure = words.uncertainty + more
        card.answers.append(Answer(group.title, KINDS[kind], words.finding, unsure))
        for row in mine[: MOST_LINES - len(card.lines)]:
            card.against.add(against.short)
            label = f"{group.title}: {row.arm.short}" if several else row.arm.short
            one = Contrast(row.arm, against, row.differences[primary.key])
            card.lines.append(_line(label, one, primary, hues))


def _figure(card: Card, primary: Metric) -> FigureItem | None:
    if not card.lines:
        return None
    single = any(line.images for line in card.lines)
    metric = "VOC area" if single else primary.name
    against = card.against.copy().pop() if len(card.against) == 1 else ""
    info = effects.EffectsInfo(metric, against, tuple(card.lines))
    caption = (
        "Intervals (95 %) are over images and speak of these two sets of weights, not of methods."
        if single
        else "Marks: differences of means. Lines: 95 % intervals. Small dots: single seeds."
    )
    described = f"{card.title} {caption}"
    key = f"question-{card.key}"
    return FigureItem(key, card.title, caption, described, lambda: effects.draw(info))


def _focal(arms: Sequence[Arm], metric: str) -> Question | None:
    plain = [arm for arm in arms if arm.gamma == 0.0]
    fixed = [arm for arm in arms if isinstance(arm.gamma, float) and arm.gamma > 0]
    if not plain or not fixed:
        return None
    against, arm = _best(plain, metric), _best(fixed, metric)
    note = ""
    if len(plain) + len(fixed) > 2:
        sides = {"with γ 0": len(plain), "with γ above 0": len(fixed)}
        told = [f"the {count} arms {side}" for side, count in sides.items() if count > 1]
        note = (
            f"val chose the best of {' and of '.join(told)}."
            if _by_val([*plain, *fixed], metric)
            else (
                f"the best of {' and of '.join(told)} is told by the test set, for val is not on"
                " record: the difference leans to the side with more arms."
            )
        )
    return Question("focal", FOCAL, ((arm.title, against.title),), note)


def _soft(arms: Sequence[Arm], metric: str, settled: Sequence[str]) -> Question | None:
    fixed = [arm for arm in arms if isinstance(arm.gamma, float) and arm.gamma > 0]
    pairs, alone, moving = [], [], []
    for arm in arms:
        if not isinstance(arm.gamma, str):
            continue
        like = [one for one in fixed if _same_beside_loss(arm, one, settled)]
        top = [one for one in like if one.gamma == _peak(arm)]
        if isinstance(arm.alpha, str):  # alpha moves with gamma: beside the fixed arm of its end
            moving += [arm.short] if top else []
            like = top
        else:
            like = [one for one in like if one.alpha == arm.alpha]
            like = [one for one in like if one in top] or like
        if like:
            pairs.append((arm.title, _best(like, metric).title))
        else:
            alone.append(arm.short)
    if not pairs:
        return None
    notes = [f"{listed(alone)} has no fixed γ at its α to stand beside."] if alone else []
    if moving:
        notes.append(
            f"in {listed(moving)} α moves with γ; beside it stands the fixed arm of its last γ."
        )
    return Question("soft", SOFT, tuple(pairs), " ".join(notes))


def _alpha(group: Group, arms: Sequence[Arm], settled: Sequence[str]) -> Question | None:
    by_gamma: dict[object, list[Arm]] = {}
    for arm in arms:
        if not isinstance(arm.alpha, str):
            by_gamma.setdefault(arm.gamma, []).append(arm)
    several = {
        gamma: found
        for gamma, found in by_gamma.items()
        if gamma is not None and len({arm.alpha for arm in found}) > 1
    }
    if not several:
        return None
    gamma = 0.0 if 0.0 in several else max(several, key=lambda gamma: len(several[gamma]))
    found = several[gamma]
    against = next((arm for arm in found if arm is group.baseline), None)
    against = against or next((arm for arm in found if arm.alpha == 0.25), found[0])
    rivals = [arm for arm in found if arm.alpha != against.alpha]
    rivals = [arm for arm in rivals if _same_beside_loss(arm, against, settled)]
    if not rivals:
        return None
    told = f"with γ {gamma:g}" if isinstance(gamma, float) else f"with γ {gamma}"
    more = len(rivals) - MOST_ALPHAS
    note = f"{told} in both." + (f" {more} more are in the table." if more > 0 else "")
    pairs = tuple((arm.title, against.title) for arm in rivals[:MOST_ALPHAS])
    return Question("alpha", ALPHA, pairs, note)


def _best(arms: Sequence[Arm], metric: str) -> Arm:
    """The highest on val where all have one of their own, else on test."""
    on_val = _by_val(arms, metric)

    def score(arm: Arm) -> float:
        values = val_seeds(arm, metric) if on_val else arm.seeds(metric)
        return sum((values or {}).values()) / max(1, len(values or {}))

    return max(arms, key=score)


def _by_val(arms: Sequence[Arm], metric: str) -> bool:
    return all(val_seeds(arm, metric) is not None for arm in arms)


def _same_beside_loss(one: Arm, two: Arm, settled: Sequence[str]) -> bool:
    """Whether nothing but the loss tells two arms apart, and knobs that were set for each."""
    flats = comparable([one.runs[0].config, two.runs[0].config])
    keys = [key for key in {**flats[0], **flats[1]} if not key.startswith(LOSS)]
    return all(flats[0].get(key) == flats[1].get(key) for key in keys if key not in settled)


def _peak(arm: Arm) -> float | None:
    """The highest gamma of an arm's schedule."""
    gamma: Any = loss_of(arm.runs[0].config).get("gamma")
    if not isinstance(gamma, Mapping):
        return None
    single = [gamma.get(name) for name in ("start", "end", "peak", "value")]
    numbers = [*single, *(gamma.get("values") or ())]
    found = [float(one) for one in numbers if isinstance(one, (int, float))]
    return max(found) if found else None
