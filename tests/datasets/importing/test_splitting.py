"""Splits hold classes in proportion and never part a group."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.importing.splitting import split_groups

SHARES = (0.7, 0.15, 0.15)


def alone(count: int) -> Any:
    return np.arange(count)


def test_classes_are_in_proportion_where_they_are_rare_too() -> None:
    rng = np.random.default_rng(0)
    classes = rng.random((1000, 6)) < np.array([0.6, 0.3, 0.1, 0.05, 0.02, 0.01])
    splits = split_groups(classes, alone(1000), SHARES, 0)
    for split, share in enumerate(SHARES):
        mine = splits == split
        assert mine.sum() == pytest.approx(1000 * share, abs=3)
        for label in range(6):
            wanted = share * classes[:, label].sum()
            assert abs(classes[mine, label].sum() - wanted) <= max(1.5, 0.03 * wanted)


def test_the_seed_decides_alone() -> None:
    classes = np.random.default_rng(0).random((60, 3)) < 0.4
    once, again, other = (split_groups(classes, alone(60), SHARES, seed) for seed in (1, 1, 2))
    assert np.array_equal(once, again) and not np.array_equal(once, other)


def test_every_split_sees_a_class_of_three_images() -> None:
    classes = np.zeros((40, 2), bool)
    classes[:, 0] = True
    classes[:3, 1] = True
    splits = split_groups(classes, alone(40), SHARES, 0)
    assert sorted(splits[:3].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("count", [3, 4, 5, 10])
def test_few_images_still_make_three_splits(count: int) -> None:
    splits = split_groups(np.ones((count, 1), bool), alone(count), SHARES, 0)
    assert set(splits.tolist()) == {0, 1, 2}


def test_large_groups_leave_no_split_empty() -> None:
    splits = split_groups(np.ones((12, 1), bool), np.arange(12) // 3, SHARES, 0)
    assert sorted(np.bincount(splits).tolist()) == [3, 3, 6]


def test_a_split_that_is_not_asked_for_stays_empty() -> None:
    splits = split_groups(np.ones((20, 1), bool), alone(20), (0.8, 0.0, 0.2), 0)
    assert np.bincount(splits).tolist() == [16, 0, 4]
    assert len(split_groups(np.zeros((0, 2), bool), alone(0), SHARES, 0)) == 0


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.booleans()), min_size=1, max_size=40),
    st.integers(0, 9),
)
def test_a_group_is_never_parted(images: list[tuple[int, bool, bool]], seed: int) -> None:
    groups = np.array([group for group, *_ in images])
    classes = np.array([has for _, *has in images], bool)
    splits = split_groups(classes, groups, SHARES, seed)
    assert set(splits.tolist()) <= {0, 1, 2}
    for group in np.unique(groups):
        assert len(set(splits[groups == group].tolist())) == 1
