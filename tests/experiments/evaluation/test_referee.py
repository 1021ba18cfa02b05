"""What may be said of arms: never a win from one seed, one answer whoever asks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.evaluation.referee import Judgement, Pair, judge
from experiments.evaluation.significance import Values
from experiments.evaluation.verdict import listed, p_words, pairing, signed, told


def seeds(*values: float) -> Values:
    return dict(enumerate(values))


def one(a: Values, b: Values, **more: float) -> Judgement:
    return judge([a, b], [Pair(0, 1)], **more)[0]


@settings(deadline=None)  # the first example imports scipy
@given(st.floats(0, 100), st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_one_seed_never_makes_a_winner(single: float, many: list[float]) -> None:
    for a, b in ((seeds(single), seeds(*many)), (seeds(*many), seeds(single))):
        found = one(a, b)
        assert found.verdict == "too few seeds" and found.p is None and found.low is None
        finding, uncertainty = told(found, "A", "B")
        assert finding.startswith("Undecided") and "run 3" in uncertainty


def test_equal_values_at_every_seed_are_not_judged() -> None:
    found = one(seeds(50.0, 50.0, 50.0), seeds(50.1, 50.1, 50.1))
    assert found.verdict == "no spread"
    finding, uncertainty = told(found, "A", "B")
    assert finding == "Undecided: B has 50.1 ± 0.0 mAP, 0.1 points above A (50.0 ± 0.0)."
    assert "one run copied" in uncertainty


def test_a_verdict_names_the_direction_only_where_it_is_shown() -> None:
    base = seeds(60.0, 60.4, 59.8)
    arms = [base, seeds(66.0, 66.3, 65.9), seeds(50.0, 50.4, 50.1), seeds(60.2, 60.6, 59.5), {}]
    found = judge(arms, [Pair(0, place) for place in range(1, 5)])
    assert [each.verdict for each in found] == ["better", "worse", "not shown", "not measured"]
    assert {each.family for each in found[:3]} == {3}


def test_verdicts_in_words() -> None:
    better = one(seeds(71.2, 70.8, 71.9, 71.4), seeds(72.0, 72.9, 71.8, 72.6, 72.2))
    finding, uncertainty = told(better, "cross-entropy", "focal", "VOC07 mAP")
    assert finding == (
        "Focal is better: 72.3 ± 0.4 VOC07 mAP, 1.0 points above cross-entropy (71.3 ± 0.5)."
    )
    assert uncertainty.startswith(
        "The difference is +1.0, 95 % interval [+0.2, +1.7] (5 and 4 seeds, Welch; p = 0.016)."
    )
    assert uncertainty.endswith("of focal is above a run of cross-entropy with probability 0.95.")
    unclear = told(one(seeds(70.0, 71.0, 72.0), seeds(71.7, 70.5, 72.2)), "A", "B")
    assert unclear.finding.startswith("No difference is shown: B reaches 71.5 ± 0.9 mAP")
    assert "about 65 seeds an arm would show it" in unclear.uncertainty


def test_arms_that_rise_and_fall_together_are_compared_seed_by_seed() -> None:
    base = seeds(60.0, 64.0, 57.0, 62.0)
    higher = {
        seed: value + lead
        for (seed, value), lead in zip(base.items(), (0.9, 1.1, 1.3, 0.8), strict=True)
    }
    found = one(base, higher)
    assert found.paired and found.verdict == "better" and found.shared is not None
    assert "seed by seed" in pairing(found.shared)
    apart = one(base, {seed + 9: value for seed, value in higher.items()})
    assert not apart.paired and apart.verdict == "not shown" and pairing(apart.shared) == ""
    alone = one(seeds(60.0, 61.0, 62.0), seeds(61.0, 60.5, 60.0))
    assert not alone.paired and "too little to be sure of" in pairing(alone.shared)


def test_an_equivalence_that_was_asked_for_is_a_verdict() -> None:
    base, near = seeds(60.0, 60.4, 59.8, 60.2), seeds(60.1, 60.3, 59.9, 60.0)
    found = one(base, near, within=1.0)
    assert found.verdict == "equivalent"
    finding, uncertainty = told(found, "A", "B")
    assert finding.startswith("B and A are equivalent, less than 1 point apart")
    assert "two one-sided tests: p < 0.001, 90 % interval [" in uncertainty
    assert one(base, near).verdict == "not shown"
    arms = [base, near, seeds(60.2, 60.1, 59.9, 60.3)]
    several = told(judge(arms, [Pair(0, 1), Pair(0, 2)], within=1.0)[0], "A", "B").uncertainty
    assert " after the same correction, 90 % interval [" in several
    assert "A run of B is above a run of A with probability 0.47" in several
    wide = told(one(base, seeds(58.0, 62.1, 59.0, 61.0), within=1.0), "A", "B")
    assert "It may be 1 point or more" in wide.uncertainty
    small = one(base, seeds(60.8, 61.2, 60.6, 61.1), within=3.0)
    assert small.verdict == "better" and "Yet it is shown to be less than 3 points" in (
        told(small, "A", "B").uncertainty
    )


def test_an_open_pair_has_no_p_value_and_counts_in_no_family() -> None:
    arms = [seeds(60.0, 60.4), seeds(70.0, 70.4), seeds(50.0, 50.4)]
    found = judge(arms, [Pair(0, 1, "unequal search"), Pair(0, 2)])
    assert [each.verdict for each in found] == ["unequal search", "worse"]
    assert found[0].p is None and found[0].points == pytest.approx(10.0) and found[1].family == 1
    assert "better by luck" in told(found[0], "A", "B").uncertainty


def test_a_pair_asked_both_ways_is_one_question() -> None:
    arms = [seeds(60.0, 60.4, 59.8), seeds(61.0, 61.6, 61.1), seeds(60.2, 60.6, 59.5)]
    plain = judge(arms, [Pair(0, 1), Pair(0, 2)], within=0.5)
    found = judge(arms, [Pair(0, 1), Pair(1, 0), Pair(0, 2)], within=0.5)
    assert [found[0], found[2]] == plain
    there, back = found[:2]
    assert back.family == 2 and (back.a, back.b) == (there.b, there.a)
    assert (back.p, back.within_p) == pytest.approx((there.p, there.within_p))
    assert (there.verdict, back.verdict) == ("better", "worse")


def test_of_families_without_a_difference_one_in_twenty_has_a_verdict_at_most() -> None:
    random = np.random.default_rng(3)
    wrong = 0
    for drawn in random.normal(60, 0.5, (400, 6, 3)):
        arms = [seeds(*row) for row in drawn.tolist()]
        found = judge(arms, [Pair(0, place) for place in range(1, 6)])
        wrong += any(each.verdict in ("better", "worse") for each in found)
    assert wrong / 400 <= 0.07


def test_numbers_as_words() -> None:
    assert [p_words(p) for p in (0.0, 0.00099, 0.0123, 0.5, None)] == [
        *("< 0.001", "< 0.001", "= 0.012", "= 0.5", "–"),
    ]
    assert [signed(value) for value in (1.26, -1.26, -0.04, None)] == ["+1.3", "−1.3", "0.0", "–"]
    assert listed(["a", "b", "c"]) == "a, b and c" and listed([]) == ""
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
