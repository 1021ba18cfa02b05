"""Tables of data on terminals of 80 and 140 columns: whole words, no line too long."""

from pathlib import Path

import pytest

from tests.calling import call


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("verb", [["doctor"], ["data", "stats"]])
def test_tables_of_data_fit_the_terminal(
    verb: list[str],
    columns: int,
    small_glyphs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))  # as a terminal tells its width
    call(*verb, str(small_glyphs))
    lines = capsys.readouterr().out.splitlines()
    tables = [line for line in lines if line[:1] in "│┃┏┡└"]
    assert tables and max(map(len, tables)) <= columns
    assert not [line for line in tables if "…" in line]
