"""One version, with a date, wherever it is told; entries of the log have dates too."""

import re
import tomllib
from datetime import date
from pathlib import Path

import pytest

from tests.calling import call

CHECKOUT = Path(__file__).parents[2]
RELEASE = re.compile(r"^## (\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d)\)$", re.M)


def test_the_version_is_the_changelogs_newest(capsys: pytest.CaptureFixture[str]) -> None:
    changes = (CHECKOUT / "CHANGELOG.md").read_text()
    releases = RELEASE.findall(changes)
    assert len(releases) == changes.count("\n## ") - changes.count("\n## Unreleased")
    days = [date.fromisoformat(day) for _, day in releases]
    assert days == sorted(days, reverse=True)
    newest, day = releases[0]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert project["version"] == newest
    cited = (CHECKOUT / "CITATION.cff").read_text()
    assert f"\nversion: {newest}\ndate-released: {day}\n" in cited
    paper = CHECKOUT / "experiments/report/paper/templates/references.bib.j2"
    assert f"note = {{Version {newest}}}" in paper.read_text()
    with pytest.raises(SystemExit, match="0"):
        call("--version")
    assert capsys.readouterr().out.strip() == f"softgamma {newest}"


def test_what_did_not_work_is_dated() -> None:
    lines = (CHECKOUT / "docs/log.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| when")]
    assert rows
    for row in rows:
        date.fromisoformat(row.split("|")[1].strip())
