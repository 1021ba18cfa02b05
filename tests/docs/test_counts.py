"""VOC's counts in docs/data.md are the committed ones (datasets/test_real_data.py counts anew)."""

import pandas as pd

from docs import counts


def test_the_page_holds_the_counted_table() -> None:
    text = counts.PAGE.read_text()
    start = text.index(counts.BEGIN) + len(counts.BEGIN)
    assert text[start : text.index(counts.END)] == counts.block()


def test_a_splits_line_without_a_class_sums_its_classes() -> None:
    table = pd.read_csv(counts.COUNTS, keep_default_na=False)
    whole = table[table["class"] == ""].set_index("split")[["objects", "ignored"]]
    parts = table[table["class"] != ""].groupby("split")[["objects", "ignored"]].sum()
    pd.testing.assert_frame_equal(whole.sort_index(), parts.sort_index())
