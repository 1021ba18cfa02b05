"""Weights: the paper's pairs, and classes by their frequency."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from losses.alpha import ClassFrequency, PaperAlpha, class_weights_from_counts

COUNTS = st.lists(st.integers(0, 100_000), min_size=1, max_size=30).filter(any)


@pytest.mark.parametrize(
    ("gamma", "alpha"),
    [(0, 0.75), (0.1, 0.75), (0.2, 0.75), (0.5, 0.5), (1, 0.25), (2, 0.25), (5, 0.25)],
)
def test_the_best_pairs_of_table_1b(gamma: float, alpha: float) -> None:
    assert PaperAlpha()(gamma) == alpha


def test_between_the_pairs_alpha_falls_and_stays() -> None:
    alphas = [PaperAlpha()(step / 100) for step in range(1000)]
    assert alphas == sorted(alphas, reverse=True) and alphas[-1] == 0.25


@given(COUNTS)
def test_inverse_weights_have_mean_one_and_undo_the_counts(counts: list[int]) -> None:
    weights = class_weights_from_counts(counts)
    assert sum(weights) / len(weights) == pytest.approx(1)
    products = [weight * max(1, count) for weight, count in zip(weights, counts, strict=True)]
    assert max(products) == pytest.approx(min(products))


@given(COUNTS, st.floats(0, 0.9999))
def test_effective_numbers_lie_between_no_weights_and_the_inverse(
    counts: list[int], beta: float
) -> None:
    weights = class_weights_from_counts(counts, "effective", beta)
    assert sum(weights) / len(weights) == pytest.approx(1)
    rare, common = counts.index(min(counts)), counts.index(max(counts))
    inverse = max(1, counts[common]) / max(1, counts[rare])
    assert 1 - 1e-9 <= weights[rare] / weights[common] <= inverse * (1 + 1e-9)


def test_effective_number_by_hand() -> None:
    # beta 0.5: 1 + 0.5 = 1.5 for two objects, 1 for one
    one, two = class_weights_from_counts([1, 2], "effective", 0.5)
    assert one / two == pytest.approx(1.5)


def test_beta_zero_weighs_all_classes_alike() -> None:
    assert class_weights_from_counts([5, 500], "effective", 0.0) == (1.0, 1.0)


def test_the_unnormalised_form_multiplies_the_loss_by_the_classes() -> None:
    weights = class_weights_from_counts([10] * 20, "inverse_unnormalised")
    assert weights == (20.0,) * 20


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: class_weights_from_counts([]), "counts: must be >= 0 and not all 0"),
        (lambda: class_weights_from_counts([0, 0]), "counts: must be >= 0 and not all 0"),
        (lambda: class_weights_from_counts([3, -1]), "counts: must be >= 0"),
        (lambda: class_weights_from_counts([3], "square"), "form: must be inverse, .*'square'"),
        (lambda: class_weights_from_counts([3], "effective", 1.0), "beta: must be in"),
        (lambda: ClassFrequency(beta=1.0), "beta: must be in"),
        (lambda: ClassFrequency(images=0), "images: must be >= 1 or null, found 0"),
    ],
)
def test_what_cannot_be_weighed_is_refused(build, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build()
