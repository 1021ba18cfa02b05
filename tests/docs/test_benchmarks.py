"""docs/benchmarks.md is what the filed results say."""

import json

from docs import benchmarks


def test_the_page_holds_the_filed_results() -> None:
    assert benchmarks.PAGE.read_text(encoding="utf-8") == benchmarks.page()


def test_of_two_results_of_one_benchmark_the_later_is_shown() -> None:
    kinds = [path.stem.rpartition("_")[0] for path in benchmarks.newest()]
    assert len(kinds) == len(set(kinds)) > 0
    for path in benchmarks.newest():
        assert not any(
            other > path for other in path.parent.glob(path.stem.rpartition("_")[0] + "_*")
        )


def test_a_claim_that_does_not_hold_is_not_hidden() -> None:
    text = benchmarks.PAGE.read_text(encoding="utf-8")
    for path in benchmarks.newest():
        what, machine, _ = path.stem.split("_")
        section = text.partition(f"\n## {what}\n")[2].partition("\n## ")[0]
        heads, _, *rows = [line.split(" | ") for line in section.splitlines() if line[:1] == "|"]
        column = [head.strip("| ") for head in heads].index(machine.upper())
        told = {row[0].strip("| "): row[column].strip("| ") for row in rows if column < len(row)}
        for claim, holds in json.loads(path.read_text())["claims"].items():
            assert told[claim] == benchmarks.CLAIM[holds]


def test_the_page_shows_figures_and_no_program_text() -> None:
    assert "{'" not in benchmarks.page()
