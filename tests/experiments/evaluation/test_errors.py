"""Kinds of errors, confusion and calibration against an independent count; the loss's anatomy."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from experiments.evaluation import EvaluationError, VocRules
from experiments.evaluation.anatomy import (
    focal_losses,
    focal_slopes,
    gradient_share,
    loss_curve,
    loss_curves,
)
from experiments.evaluation.coco import coco_average_precision
from experiments.evaluation.match import overlaps
from experiments.evaluation.mistakes import calibration, confusion, curves, cuts, error_shares
from experiments.evaluation.tables import Dump
from experiments.evaluation.voc import voc_average_precision


def busy_dump(seed: int) -> Dump:
    """Some images of three classes with every kind of error, no score twice, nothing ignored."""
    random = np.random.default_rng(seed)
    images, count = 4, 24
    image_N = random.integers(0, images, count)
    label_N = random.integers(0, 3, count)
    corner = random.integers(0, 80, (count, 2)).astype(float)
    box_N4 = np.column_stack((corner, corner + random.integers(10, 30, (count, 2))))
    picked = random.integers(0, count, 60)
    box_D4 = box_N4[picked] + random.normal(0, 3, (60, 4))
    box_D4[40:] += random.uniform(-60, 60, (20, 1))
    box_D4[:, 2:] = np.maximum(box_D4[:, 2:], box_D4[:, :2] + 1)
    wrong = random.random(60) < 0.3
    none = np.zeros(count, dtype=bool)
    return Dump(
        classes=("a", "b", "c"),
        image_ids=tuple(map(str, range(images))),
        size_I2=np.full((images, 2), 120),
        image_D=image_N[picked],
        label_D=np.where(wrong, random.integers(0, 3, 60), label_N[picked]),
        score_D=random.permutation(60) / 61 + 0.01,
        box_D4=box_D4,
        image_N=image_N,
        label_N=label_N,
        box_N4=box_N4,
        difficult_N=none,
        crowd_N=none,
        area_N=np.ptp(box_N4.reshape(-1, 2, 2), axis=1).prod(axis=1),
    )


def overlap(dump: Dump, row: int, item: int) -> float:
    if dump.image_D[row] != dump.image_N[item]:
        return 0.0
    return float(overlaps(dump.box_D4[row : row + 1], dump.box_N4[item : item + 1])[0])


def coco_matches(dump: Dump) -> dict[int, int]:
    """Best detections first, each takes the free object of its class it overlaps most, from .5."""
    matched: dict[int, int] = {}
    for row in np.argsort(-dump.score_D).tolist():
        best, taken = 0.5, -1
        for item in range(len(dump.label_N)):
            same = dump.label_N[item] == dump.label_D[row]
            if same and item not in matched.values() and overlap(dump, row, item) >= best:
                best, taken = overlap(dump, row, item), item
        if taken >= 0:
            matched[row] = taken
    return matched


def kinds_in_loops(dump: Dump) -> dict[int, str]:
    """The kind of each wrong detection, asked in the order of TIDE's own program."""
    matched = coco_matches(dump)
    kinds = {}
    for row in set(range(len(dump.score_D))) - set(matched):
        both = [overlap(dump, row, item) for item in range(len(dump.label_N))]
        same = [v for v, k in zip(both, dump.label_N, strict=True) if k == dump.label_D[row]]
        other = [v for v, k in zip(both, dump.label_N, strict=True) if k != dump.label_D[row]]
        used = [both[item] for r, item in matched.items() if dump.label_D[r] == dump.label_D[row]]
        if 0.1 <= max(same, default=0) < 0.5:
            kinds[row] = "location"
        elif max(other, default=0) >= 0.5:
            kinds[row] = "class"
        elif max(used, default=0) >= 0.5:
            kinds[row] = "duplicate"
        elif max(both, default=0) <= 0.1:
            kinds[row] = "background"
        else:
            kinds[row] = "both"
    return kinds


def without(dump: Dump, rows: list[int]) -> Dump:
    keep = np.setdiff1d(np.arange(len(dump.score_D)), rows)
    return replace(
        dump,
        image_D=dump.image_D[keep],
        label_D=dump.label_D[keep],
        score_D=dump.score_D[keep],
        box_D4=dump.box_D4[keep],
    )


def test_counts_of_errors_equal_an_independent_count() -> None:
    seen: dict[str, int] = {}
    for seed in range(30):
        dump = busy_dump(seed)
        kinds = list(kinds_in_loops(dump).values())
        shares = error_shares(dump)
        for name in ("class", "location", "both", "duplicate", "background"):
            assert shares.counts[name] == kinds.count(name), (seed, name)
            seen[name] = seen.get(name, 0) + kinds.count(name)
        assert shares.ap50 == pytest.approx(coco_average_precision(dump).stats["ap50"])
    assert min(seen.values()) >= 5, seen


def test_gains_of_removable_errors_are_what_removing_them_gains() -> None:
    for seed in range(10):
        dump = busy_dump(seed)
        kinds, shares = kinds_in_loops(dump), error_shares(dump)
        for name in ("both", "duplicate", "background"):
            rows = [row for row, kind in kinds.items() if kind == name]
            mended = coco_average_precision(without(dump, rows)).stats["ap50"]
            assert shares.gains[name] == pytest.approx(mended - shares.ap50, abs=1e-9), (seed, name)
        assert all(gain >= -1e-9 for gain in shares.gains.values())


def test_confusion_equals_greedy_matching_over_all_classes() -> None:
    for seed in range(10):
        dump = busy_dump(seed)
        expected = np.zeros((4, 4), dtype=int)
        rows = [row for row in np.argsort(-dump.score_D).tolist() if dump.score_D[row] >= 0.3]
        pairs = [
            (overlap(dump, row, item), row, item)
            for row in rows
            for item in range(len(dump.label_N))
        ]
        taken: set[int] = set()
        for row in rows:
            free = [(v, item) for v, r, item in pairs if r == row and item not in taken]
            best, item = max(free, key=lambda pair: pair[0])
            if best >= 0.5:
                taken.add(item)
                expected[dump.label_N[item], dump.label_D[row]] += 1
            else:
                expected[3, dump.label_D[row]] += 1
        for item in set(range(len(dump.label_N))) - taken:
            expected[dump.label_N[item], 3] += 1
        np.testing.assert_array_equal(confusion(dump, least_score=0.3).matrix, expected)


def test_calibration_counts_the_right_detections_of_each_bin() -> None:
    dump = busy_dump(1)
    matched = coco_matches(dump)
    result = calibration(dump, bins=5)
    assert sum(row.detections for row in result.bins) == len(dump.score_D)
    error = 0.0
    for row in result.bins:
        inside = np.flatnonzero((dump.score_D > row.low) & (dump.score_D <= row.high)).tolist()
        right = sum(r in matched for r in inside) / len(inside)
        assert row.precision == pytest.approx(right)
        assert row.mean_score == pytest.approx(dump.score_D[inside].mean())
        error += len(inside) / len(dump.score_D) * abs(right - row.mean_score)
    assert result.expected_error == pytest.approx(error)


def test_curves_and_cuts_agree_with_the_average_precision() -> None:
    dump = busy_dump(2)
    shown = curves(dump)
    assert set(shown) == {"a", "b", "c"}
    for one in shown.values():
        assert (np.diff(one.recall_T) >= 0).all() and (np.diff(one.score_T) <= 0).all()
    whole, half = cuts(dump, [0.0, 0.5])
    assert whole.map_area == voc_average_precision(dump).map_area
    assert half.map_area == voc_average_precision(dump, VocRules(score_threshold=0.5)).map_area
    assert (whole.detections, half.detections) == (60, int((dump.score_D >= 0.5).sum()))


def test_without_detections_all_is_missed() -> None:
    shares = error_shares(without(busy_dump(0), list(range(60))))
    assert shares.counts["missed"] == 24 and shares.ap50 == 0
    assert shares.gains["missed"] >= 0


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_loss_curves_rise_from_0_to_1(gamma: float) -> None:
    probabilities = np.random.default_rng(0).beta(2, 1, 5000)
    result = loss_curve(probabilities, gamma)
    assert result.share_of_loss[0] == 0 and result.share_of_loss[-1] == 1
    assert (np.diff(result.share_of_loss) >= 0).all()
    assert (result.share_of_loss <= result.share_of_anchors + 1e-12).all()  # smallest first


def test_a_uniform_probability_gives_the_curve_of_the_integral() -> None:
    probabilities = (np.arange(200_000) + 0.5) / 200_000
    result = loss_curve(probabilities, 0.0)
    x = result.share_of_anchors
    left = np.maximum(1 - x, 1e-300)
    # the x easiest have p in [1 - x, 1]; -log p integrates to x + (1 - x) log(1 - x)
    np.testing.assert_allclose(result.share_of_loss, x + left * np.log(left), atol=1e-4)


def test_a_large_gamma_gathers_the_loss_of_easy_anchors_on_few() -> None:
    random = np.random.default_rng(0)
    background, foreground = random.beta(30, 1, 50_000), random.beta(2, 1, 500)
    plain, focal = loss_curves(background, [0.0, 2.0])
    assert focal.half_share < plain.half_share / 3
    shrink = focal.half_share / plain.half_share
    plain, focal = loss_curves(foreground, [0.0, 2.0])
    assert focal.half_share / plain.half_share > shrink  # the foreground is gathered less


@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0, 2.0])
def test_slopes_are_the_derivative_of_the_losses(gamma: float) -> None:
    logits, step = np.linspace(-6, 6, 50), 1e-5

    def at(x: Any) -> Any:
        return focal_losses(1 / (1 + np.exp(-x)), gamma)

    numeric = np.abs(at(logits + step) - at(logits - step)) / (2 * step)
    np.testing.assert_allclose(focal_slopes(1 / (1 + np.exp(-logits)), gamma), numeric, rtol=1e-4)


def test_gamma_moves_the_gradient_from_background_to_foreground() -> None:
    random = np.random.default_rng(0)
    foreground, background = random.beta(2, 1, 100), random.beta(60, 1, 20_000)
    shares = [gradient_share(foreground, background, g).of_foreground for g in (0.0, 1.0, 2.0)]
    assert shares == sorted(shares) and shares[2] > 2 * shares[0]
    half = gradient_share(foreground, background, 0.0, alpha=0.5)
    assert half.of_foreground == pytest.approx(shares[0])


@pytest.mark.parametrize(
    ("values", "gamma", "message"),
    [
        ([0.5], -1.0, "gamma: must be >= 0"),
        ([], 2.0, "not one anchor"),
        ([1.5], 2.0, r"must be in \[0, 1\]"),
        ([np.nan], 2.0, r"must be in \[0, 1\]"),
        ([1.0], 2.0, "no loss to share"),
    ],
)
def test_impossible_probabilities_are_refused(
    values: list[float], gamma: float, message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        loss_curve(np.array(values), gamma)
