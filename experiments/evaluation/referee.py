"""The referee: arms in, what may be said of them out, in kind, numbers and words.

Everything that calls an arm better asks here: `compare`, `report` and its page, README, `serve`.
All comparisons that are asked at once are one family: Holm's correction goes over all of them, so
that in at most 5 % of families anything is called better, worse or equivalent that is not.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from experiments.evaluation.significance import (
    ALPHA,
    LEVEL,
    Interval,
    Shared,
    Summary,
    Values,
    equivalence_p_value,
    holm,
    improvement,
    seeds_needed,
    shared_part,
    summarise,
    t_test,
)

Kind = Literal[
    "better",
    "worse",
    "equivalent",  # shown to differ by less than was asked
    "not shown",
    "too few seeds",
    "no spread",  # equal values at every seed of both arms
    "not measured",
    "unfinished",  # seeds that the study plans have not run yet
    "unequal search",  # more settings were tried for one arm than for the other
]
DECIDED: tuple[Kind, ...] = ("better", "worse", "equivalent", "not shown")
SEEDS_ADVISED = 3  # an arm: the least with which a spread means anything


class Pair(NamedTuple):
    """A question: how does arm `b` differ from arm `a`, both by their place among the arms?

    `open_for` is why no verdict may be given, whatever the numbers.
    """

    a: int
    b: int
    open_for: Kind | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer. Points are of B less A; what cannot be had from so few seeds is None."""

    verdict: Kind
    a: Summary
    b: Summary
    points: float | None = None
    low: float | None = None  # of the 95 % interval, not adjusted
    high: float | None = None
    p: float | None = None  # adjusted (Holm) over `family`
    paired: bool = False  # seed by seed, because seeds share something; else Welch's
    sd: float | None = None  # of the differences where paired, else of one arm, pooled
    improvement: float | None = None  # probability that a run of B is above one of A
    within: float | None = None  # points: the equivalence that was asked for
    within_p: float | None = None  # of it, adjusted over the family
    within_interval: Interval | None = None  # 90 %: inside +-within where it is shown
    family: int = 1  # comparisons that have a p value
    shared: Shared | None = None  # what the seeds of all arms share

    @property
    def seeds_needed(self) -> int | None:
        """Seeds an arm to see a difference of this size in 4 of 5 tries; None where it is unknown
        or over 1,000.
        """
        if self.points is None or self.sd is None:
            return None
        return seeds_needed(self.sd, self.points, paired=self.paired)


def judge(
    arms: Sequence[Values], pairs: Sequence[Pair], *, within: float | None = None
) -> list[Judgement]:
    """One judgement for each of `pairs`, which are one family. A pair asked both ways, A against B
    and B against A, is one question, told from either side: it counts once.

    Two arms are compared seed by seed where both ran the same seeds and all arms that ran those
    are shown to rise and fall together over them (`significance.shared_part`), else by Welch's t.
    `within` (points) also asks whether the difference is smaller than that.
    """
    shared = _shared(arms)
    tests = [_test(arms[pair.a], arms[pair.b], shared, pair, within) for pair in pairs]
    p_values = [test.p for test in tests] + [test.within_p for test in tests]
    asked = list(dict.fromkeys(frozenset((pair.a, pair.b)) for pair in pairs))
    questions = [asked.index(frozenset((pair.a, pair.b))) for pair in pairs]
    adjusted = holm(p_values, questions * 2)
    family = len({one for one, test in zip(questions, tests, strict=True) if test.p is not None})
    return [
        _settled(test, adjusted[place], adjusted[place + len(tests)], family)
        for place, test in enumerate(tests)
    ]


def _shared(arms: Sequence[Values]) -> dict[frozenset[int], Shared | None]:
    """Seeds -> what they share, over all arms that ran exactly these."""
    alike: dict[frozenset[int], list[Values]] = defaultdict(list)
    for arm in arms:
        alike[frozenset(arm)].append(arm)
    return {seeds: shared_part(members) for seeds, members in alike.items()}


def _test(
    a: Values,
    b: Values,
    shared: dict[frozenset[int], Shared | None],
    pair: Pair,
    within: float | None,
) -> Judgement:
    """The numbers of one pair, its p values not adjusted yet."""
    one, two = summarise([*a.values()]), summarise([*b.values()])
    if one.mean is None or two.mean is None:
        return Judgement("not measured", one, two)
    points, above = two.mean - one.mean, improvement(a, b)
    known = shared[frozenset(a)] if a.keys() == b.keys() else None
    done = None
    if pair.open_for is None:
        done = t_test(a, b, paired=known is not None and known.is_shown)
    if done is None:
        kind: Kind = "too few seeds" if min(one.seeds, two.seeds) < 2 else "no spread"
        return Judgement(pair.open_for or kind, one, two, points, improvement=above, shared=known)
    within_p, narrow = None, None
    if within is not None:
        within_p = equivalence_p_value(a, b, within, paired=done.paired)
        inner = t_test(a, b, paired=done.paired, level=2 * LEVEL - 1)
        narrow = inner.interval if inner else None
    return Judgement(
        verdict="not shown",
        a=one,
        b=two,
        points=points,
        low=done.interval.low,
        high=done.interval.high,
        p=done.p_value,
        paired=done.paired,
        sd=done.sd,
        improvement=above,
        within=within,
        within_p=within_p,
        within_interval=narrow,
        shared=known,
    )


def _settled(test: Judgement, p: float | None, within_p: float | None, family: int) -> Judgement:
    """With p values adjusted, and the kind that follows from them."""
    if p is None:
        return test
    kind: Kind = "not shown"
    if p < ALPHA:
        kind = "better" if (test.points or 0.0) > 0 else "worse"
    elif within_p is not None and within_p < ALPHA:
        kind = "equivalent"
    return replace(test, verdict=kind, p=p, within_p=within_p, family=family)
