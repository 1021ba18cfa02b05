"""Resampling by weights is resampling of images, and its intervals cover what they promise."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.evaluation import EvaluationError, VocRules
from experiments.evaluation.bootstrap import (
    bootstrap_map,
    normal_p_value,
    paired_bootstrap,
    resampled_map,
)
from experiments.evaluation.tables import Dump
from experiments.evaluation.verdict import of_two_runs
from experiments.evaluation.voc import rank, voc_average_precision

FORMS = ("voc07", "area")


def two_detectors(images: int, gain: float, seed: int, classes: int = 5) -> tuple[Dump, Dump]:
    """Two detectors on the same images, hard images hard for both; B finds more for gain > 0."""
    random = np.random.default_rng(seed)
    each = random.poisson(2.0, images)
    image_N = np.repeat(np.arange(images), each)
    count = len(image_N)
    place = np.concatenate([np.arange(n) for n in each]) * 20.0
    zero = np.zeros(count)
    box_N4 = np.column_stack([place, zero, place + 10, zero + 10])
    often = np.arange(classes, 0, -1) / np.arange(1, classes + 1).sum()
    label_N = random.choice(classes, count, p=often)
    hard_N = random.normal(0, 1, images)[image_N] + random.normal(0, 1, count)
    dumps = []
    for shift in (0.0, gain):
        seen_N = hard_N + random.normal(0, 0.7, count)
        found = seen_N < 1.0 + shift
        score = 1 / (1 + np.exp(seen_N[found] - random.normal(0, 0.5, found.sum())))
        wrong = random.poisson(3.0, images)
        more = int(wrong.sum())
        dumps.append(
            Dump(
                classes=tuple(map(str, range(classes))),
                image_ids=tuple(map(str, range(images))),
                size_I2=np.full((images, 2), 400),
                image_D=np.r_[image_N[found], np.repeat(np.arange(images), wrong)],
                label_D=np.r_[label_N[found], random.choice(classes, more)],
                score_D=np.r_[score, 1 / (1 + np.exp(random.normal(1.5 + shift, 1, more)))],
                box_D4=np.r_[box_N4[found], np.tile([0.0, 50, 10, 60], (more, 1))],
                image_N=image_N,
                label_N=label_N,
                box_N4=box_N4,
                difficult_N=random.random(count) < 0.05 if not dumps else dumps[0].difficult_N,
                crowd_N=np.zeros(count, dtype=bool),
                area_N=np.full(count, 100.0),
            )
        )
    return dumps[0], dumps[1]


def repeated(dump: Dump, weights: list[int]) -> Dump:
    """Every image as often as its weight says, under new names; equal scores told apart."""
    picked = np.repeat(np.arange(len(weights)), weights)
    found = [np.flatnonzero(dump.image_D == image) for image in picked]
    objects = [np.flatnonzero(dump.image_N == image) for image in picked]
    rows, items = np.concatenate(found), np.concatenate(objects)
    return replace(
        dump,
        image_ids=tuple(map(str, range(len(picked)))),
        size_I2=dump.size_I2[picked],
        image_D=np.repeat(np.arange(len(picked)), [len(part) for part in found]),
        label_D=dump.label_D[rows],
        score_D=dump.score_D[rows],
        box_D4=dump.box_D4[rows],
        image_N=np.repeat(np.arange(len(picked)), [len(part) for part in objects]),
        label_N=dump.label_N[items],
        box_N4=dump.box_N4[items],
        difficult_N=dump.difficult_N[items],
        crowd_N=dump.crowd_N[items],
        area_N=dump.area_N[items],
    )


@pytest.mark.parametrize("form", FORMS)
def test_weights_give_the_map_of_repeated_images(form: str) -> None:
    random = np.random.default_rng(0)
    for seed in range(15):
        dump, _ = two_detectors(12, 0.0, seed, classes=3)
        weights = random.multinomial(12, np.full(12, 1 / 12), size=4)
        ranked = rank(dump, VocRules())
        fast = resampled_map(dump, ranked, weights.T.astype(float), form)  # type: ignore[arg-type]
        for drawn, value in zip(weights.tolist(), fast, strict=True):
            slow = voc_average_precision(repeated(dump, drawn))
            expected = slow.map07 if form == "voc07" else slow.map_area
            assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_equal_weights_give_the_plain_map() -> None:
    dump, _ = two_detectors(40, 0.0, 1)
    plain = voc_average_precision(dump)
    one = np.ones((40, 1))
    ranked = rank(dump, VocRules())
    assert resampled_map(dump, ranked, one, "area")[0] == pytest.approx(plain.map_area, abs=1e-12)
    assert resampled_map(dump, ranked, one, "voc07")[0] == pytest.approx(plain.map07, abs=1e-12)


def test_a_run_is_not_different_from_itself() -> None:
    dump, _ = two_detectors(40, 0.0, 2)
    result = paired_bootstrap(dump, dump, resamples=50)
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)
    assert "can’t be told apart" in of_two_runs(result, "A", "B")


def test_a_much_better_run_is_seen_and_the_order_only_turns_the_sign() -> None:
    a, b = two_detectors(200, 1.0, 3)
    forth, back = paired_bootstrap(a, b, resamples=200), paired_bootstrap(b, a, resamples=200)
    assert forth.low > 0 and forth.p_value < 0.001
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low))
    told = of_two_runs(forth, "focal", "cross-entropy")
    assert (
        "are better than those of focal on images like these" in told
        and "One run each says nothing" in told
    )
    assert paired_bootstrap(a, b, resamples=200) == forth  # the same seed gives the same numbers


def test_runs_on_different_truth_are_not_compared() -> None:
    a, b = two_detectors(20, 0.0, 4)
    with pytest.raises(EvaluationError, match="differ in image_ids"):
        paired_bootstrap(a, replace(b, image_ids=("x", *b.image_ids[1:])))
    with pytest.raises(EvaluationError, match="different objects .box_N4."):
        paired_bootstrap(a, replace(b, box_N4=b.box_N4 + 1))
    hard = np.ones(len(a.label_N), dtype=bool)
    with pytest.raises(EvaluationError, match="no object that counts"):
        paired_bootstrap(replace(a, difficult_N=hard), replace(b, difficult_N=hard))


def test_p_value_without_spread() -> None:
    assert normal_p_value(0.0, 0.0) == 1
    assert normal_p_value(0.1, 0.0) == 0
    assert normal_p_value(1.96, 1.0) == pytest.approx(0.05, abs=1e-4)


def test_spread_over_resamples_is_the_spread_over_data_sets() -> None:
    truly = [voc_average_precision(two_detectors(100, 0.0, seed)[0]).map_area for seed in range(80)]
    told = [bootstrap_map(two_detectors(100, 0.0, s)[0], resamples=60).std() for s in range(15)]
    assert np.mean(told) == pytest.approx(np.std(truly), rel=0.25)


def true_difference(gain: float, populations: int) -> float:
    """Of populations of 40,000 images; one of them is only known to 0.0018, SD."""
    found = []
    for seed in range(999, 999 + populations):
        a, b = (voc_average_precision(dump).map_area for dump in two_detectors(40_000, gain, seed))
        found.append(b - a)
    return float(np.mean(found))


def coverage(images: int, repetitions: int, resamples: int, populations: int) -> float:
    true = true_difference(0.3, populations)
    assert true > 0.05
    covered = 0
    for seed in range(repetitions):
        result = paired_bootstrap(*two_detectors(images, 0.3, seed), resamples=resamples)
        covered += result.low <= true <= result.high
    return covered / repetitions


def test_95_percent_intervals_cover_about_that_often() -> None:
    assert 0.84 <= coverage(images=100, repetitions=40, resamples=80, populations=2) <= 1.0


@pytest.mark.slow
def test_95_percent_intervals_cover_93_to_97_percent() -> None:
    found = coverage(images=300, repetitions=1000, resamples=300, populations=12)
    assert 0.93 <= found <= 0.97
