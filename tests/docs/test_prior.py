"""The table on the prior pi in docs/detectors.md is what its committed records say."""

import json
from pathlib import Path

import pytest

from docs import prior


def test_the_page_holds_the_records_table() -> None:
    text = prior.PAGE.read_text()
    start = text.index(prior.BEGIN) + len(prior.BEGIN)
    assert text[start : text.index(prior.END)] == prior.block()


@pytest.mark.parametrize("pi", [0.01, 0.5])
def test_the_first_loss_is_as_large_as_the_formula_says(pi: float) -> None:
    record = json.loads(Path(prior.RECORDS / f"prior_{pi}.json").read_text())
    first = record["curves"][0]
    assert first["loss_classification"] == pytest.approx(
        prior.formula(record, first["foreground"]), rel=0.1
    )
