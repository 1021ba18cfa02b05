"""The words of a verdict, the same wherever one is given. One seed never makes a winner.

Percentages and points have one decimal: seeds move the second.
"""

from collections.abc import Sequence
from typing import NamedTuple

from experiments.evaluation.bootstrap import PairedDifference
from experiments.evaluation.referee import DECIDED, SEEDS_ADVISED, Judgement
from experiments.evaluation.significance import ALPHA, POWER, Interval, Shared, Summary

ONE_RUN_EACH = "One run each says nothing of the methods: other seeds give other weights."
TRIES = {0.8: "four of five"}[POWER]
MOST_TOLD = 6  # arms that one sentence names


class Told(NamedTuple):
    """A finding and its uncertainty, a sentence or two each."""

    finding: str
    uncertainty: str


def told(found: Judgement, a: str, b: str, metric: str = "mAP") -> Told:
    """What may be said of arm `b` beside arm `a`."""
    return Told(finding(found, a, b, metric), uncertainty(found, a, b))


def told_together(found: Sequence[tuple[str, Judgement]], a: str, metric: str) -> Told:
    """What may be said of several arms beside arm `a`, all of one verdict that is decided.

    The names are given with their answers, the largest difference first or last.
    """
    names, answers = [name for name, _ in found], [one for _, one in found]
    sizes = sorted({fixed(abs(one.points or 0.0)) for one in answers}, key=float)
    kind = answers[0].verdict
    words = f"{capital(listed(names, MOST_TOLD))} {'is' if len(found) == 1 else 'are'}"
    if kind == "equivalent":
        words += (
            f" equivalent to {a}: less than {plain_points(answers[0].within)} apart in {metric}."
        )
    else:
        by = " to ".join(dict.fromkeys((sizes[0], sizes[-1])))
        words += f" {kind} than {a}, by {by} points of {metric}."
    each = [
        f"{name} {signed(one.points)}, 95 % interval {interval(one)}, p {p_words(one.p)}"
        for name, one in found[:MOST_TOLD]
    ]
    ways = dict.fromkeys(f"{_seeds_of(one)}, {_way(one)}" for one in answers)
    more = f"; {len(found) - MOST_TOLD} more are in the table" if len(found) > MOST_TOLD else ""
    unsure = f"{capital('; '.join(each))}{more} ({listed([*ways], 2)}"
    if answers[0].family > 1:
        unsure += f"; p after Holm’s correction for {answers[0].family} comparisons"
    return Told(words, f"{unsure}).")


def finding(found: Judgement, a: str, b: str, metric: str) -> str:
    """One sentence: the kind, both means and the difference."""
    name = capital(b)
    if found.points is None:
        missing = a if found.a.mean is None else b
        return f"Undecided: {missing} was not measured in {metric}."
    reached = f"{mean_sd(found.b)} {metric}, {_gap(found.points)}"
    against = f"{a} ({mean_sd(found.a)})"
    if found.verdict in ("better", "worse"):
        return f"{name} is {found.verdict}: {reached} {against}."
    if found.verdict == "equivalent":
        size = plain_points(found.within)
        return f"{name} and {a} are equivalent, less than {size} apart: {reached} {against}."
    if found.verdict == "not shown":
        return f"No difference is shown: {b} reaches {reached} {against}."
    return f"Undecided: {b} has {reached} {against}."


def uncertainty(found: Judgement, a: str, b: str) -> str:
    """What the kind rests on, and what more seeds would do."""
    if found.verdict not in DECIDED:
        return _why_open(found)
    words = f"The difference is {signed(found.points)}, 95 % interval {interval(found)}"
    words += f" ({_seeds_of(found)}, {_way(found)}; p {p_words(found.p)}"
    if found.family > 1:
        words += f" after Holm’s correction for {found.family} comparisons"
    words += ")."
    if found.improvement is not None:
        words += f" A run of {b} is above a run of {a} with probability {found.improvement:.2f}."
    return words + _equivalence(found) + _advice(found)


def pairing(shared: Shared | None) -> str:
    """How seeds were compared, and why; "" where there was nothing to choose."""
    if shared is None:
        return ""
    part = f"{100 * shared.part:.0f} % of the variance over {shared.seeds} seeds is shared by"
    part += f" {shared.arms} arms (F test: p {p_words(shared.p_value)})"
    if shared.is_shown:
        return (
            f"Arms are compared seed by seed (paired t test): {part}, and pairs take that out of"
            " the interval."
        )
    return (
        f"Arms are compared by their means (Welch’s t test): {part}, too little to be sure of, and"
        " pairs of seeds would give up half of the degrees of freedom."
    )


def of_two_runs(found: PairedDifference, a: str, b: str) -> str:
    """Words for two single runs: about these weights and images like these, not about methods."""
    shift, low, high = (100 * value for value in (found.difference, found.low, found.high))
    metric = {"voc07": "VOC07 mAP", "area": "VOC area"}[found.form]
    rests = f"{signed(shift)} {metric} [{signed(low)}, {signed(high)}], p {p_words(found.p_value)}"
    rests += f", {found.images:,} images"
    if found.p_value < ALPHA:
        word = "better" if shift > 0 else "worse"
        return (
            f"These weights of {b} are {word} than those of {a} on images like these: {rests}."
            f" {ONE_RUN_EACH}"
        )
    return f"These two sets of weights can’t be told apart on these images: {rests}. {ONE_RUN_EACH}"


def _why_open(found: Judgement) -> str:
    fewest = min(found.a.seeds, found.b.seeds)
    if found.verdict == "not measured":
        return "There is nothing to compare yet."
    if found.verdict == "unfinished":
        return (
            "The study is not finished: seeds that it plans have not run, and a look on the way"
            " decides nothing."
        )
    if found.verdict == "unequal search":
        return (
            "More settings were tried for the one than for the other, and the better of many is"
            " better by luck: try the same number for each."
        )
    if found.verdict == "no spread":
        return (
            "Neither has any spread over its seeds: equal values are more likely one run copied"
            " than a method without noise."
        )
    if fewest == found.a.seeds == found.b.seeds:
        return (
            "With one seed an arm this cannot be told from seed noise (detectors trained twice"
            f" alike differ by half a point and more); run {SEEDS_ADVISED} seeds an arm or more"
            " before believing it."
        )
    return (
        f"Seeds are too few for an interval ({found.b.seeds} against {found.a.seeds}); run"
        f" {SEEDS_ADVISED} of each or more before believing it."
    )


def _equivalence(found: Judgement) -> str:
    if found.within is None or found.within_p is None or found.within_interval is None:
        return ""
    bounds = bracketed(found.within_interval)
    p = f"p {p_words(found.within_p)}" + (" after the same correction" if found.family > 1 else "")
    if found.within_p < ALPHA:
        but = "Yet it is shown to be" if found.verdict in ("better", "worse") else "It is"
        return (
            f" {but} less than {plain_points(found.within)} (two one-sided tests: {p},"
            f" 90 % interval {bounds})."
        )
    return (
        f" It may be {plain_points(found.within)} or more (two one-sided tests: {p}, 90 %"
        f" interval {bounds})."
    )


def _advice(found: Judgement) -> str:
    if found.verdict != "not shown":
        return ""
    needed = found.seeds_needed
    if needed is None:
        return " A difference this small would take more than 1,000 seeds an arm to see."
    if needed <= min(found.a.seeds, found.b.seeds):
        return ""
    return f" Were it real, about {needed} seeds an arm would show it alone in {TRIES} tries."


def _seeds_of(found: Judgement) -> str:
    one, two = found.b.seeds, found.a.seeds
    return f"{one} seeds each" if one == two else f"{one} and {two} seeds"


def _way(found: Judgement) -> str:
    return "paired" if found.paired else "Welch"


def _gap(points: float) -> str:
    return f"{fixed(abs(points))} points {'above' if points >= 0 else 'below'}"


# ---------------------------------------------------------------- numbers as text


def fixed(value: float | None, digits: int = 1) -> str:
    """A number with `digits` decimals and no negative zero; a dash for None."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def plain_points(size: float | None) -> str:
    """`1 point`, `0.5 points`."""
    return f"{size or 0.0:g} point{'' if size == 1 else 's'}"


def signed(value: float | None, digits: int = 1) -> str:
    """A difference with its sign (a true minus), `0.0` unsigned, a dash for None."""
    text = fixed(value, digits)
    if value is None or float(text) == 0:
        return text
    return f"+{text}" if value > 0 else text.replace("-", "\N{MINUS SIGN}")


def mean_sd(summary: Summary) -> str:
    """`61.2 ± 0.4`, or `61.2` where one seed gives no spread."""
    if summary.sd is None:
        return fixed(summary.mean)
    return f"{fixed(summary.mean)} ± {fixed(summary.sd)}"


def interval(found: Judgement) -> str:
    """`[+0.3, +1.9]`, empty where there is no interval."""
    if found.low is None or found.high is None:
        return ""
    return bracketed(Interval(found.low, found.high, 0.95))


def bracketed(found: Interval) -> str:
    """`[+0.3, +1.9]`."""
    return f"[{signed(found.low)}, {signed(found.high)}]"


def p_words(p_value: float | None) -> str:
    """`= 0.012`, `= 0.3`, `< 0.001`: no more zeros than it has earned."""
    if p_value is None:
        return "–"
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.2g}"


def capital(words: str) -> str:
    """The words as a sentence begins; a Greek letter stays what it is, γ is no Γ."""
    return words[:1].upper() + words[1:] if words[:1].isascii() else words


def listed(words: Sequence[str], most: int = 5) -> str:
    """`a, b and c`, and how many more there are."""
    kept = list(words[:most])
    if len(words) > most:
        kept.append(f"{len(words) - most} more")
    return kept[0] if len(kept) == 1 else ", ".join(kept[:-1]) + " and " + kept[-1] if kept else ""
