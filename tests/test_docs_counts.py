"""VOC's counts in docs/data.md are the committed ones, and those are what the real labels say."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from datasets import VOC
from datasets.stats import describe
from docs import counts
from experiments.data_tables import stats_csv


def test_the_page_holds_the_counted_table() -> None:
    text = counts.PAGE.read_text()
    start = text.index(counts.BEGIN) + len(counts.BEGIN)
    assert text[start : text.index(counts.END)] == counts.block()


def test_a_splits_line_without_a_class_sums_its_classes() -> None:
    table = pd.read_csv(counts.COUNTS, keep_default_na=False)
    whole = table[table["class"] == ""].set_index("split")[["objects", "ignored"]]
    parts = table[table["class"] != ""].groupby("split")[["objects", "ignored"]].sum()
    pd.testing.assert_frame_equal(whole.sort_index(), parts.sort_index())


@pytest.mark.parametrize(
    "split",
    [
        "2007/test",
        pytest.param("2007/trainval", marks=pytest.mark.slow),
        pytest.param("2012/trainval", marks=pytest.mark.slow),
    ],
)
def test_the_labels_give_the_committed_counts(shared: Callable[[str], Path], split: str) -> None:
    root = str(shared("VOCdevkit"))
    found = stats_csv({split: describe(VOC(root, split, split, split).open("train"))})
    lines = counts.COUNTS.read_text().splitlines()
    assert found.splitlines() == [lines[0]] + [row for row in lines if row.startswith(split)]
