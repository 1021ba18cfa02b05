"""docs/findings.md is what the committed records say, and says what a study left open."""

import shutil
from pathlib import Path

import pytest
import yaml

from docs import findings
from experiments.errors import UsageError

CHECKOUT = Path(__file__).parents[2]


def test_the_page_is_of_the_committed_records() -> None:
    stale = "stale: python -m docs.findings"
    assert findings.PAGE.read_text(encoding="utf-8") == findings.page(), stale


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's records with the sweep that they were run from."""
    root = tmp_path_factory.mktemp("results")
    for folder in (CHECKOUT / "results/demo").glob("0*"):
        (root / "demo" / folder.name).mkdir(parents=True)
        shutil.copyfile(folder / "record.json", root / "demo" / folder.name / "record.json")
    shutil.copyfile(CHECKOUT / "sweep.yaml", root / "demo/sweep.yaml")
    return root


def test_a_section_tells_answers_spread_seeds_cost_and_doubts(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo.md").write_text("### Seen\n\nGamma 2 had {mean:retinanet focal α 0.5 γ 2}.\n")
    monkeypatch.setattr(findings, "NOTES", tmp_path)
    text = findings.page(demo)
    for part in ("What came out", "What weakens it", "What it cost", "What to run next", "Seen"):
        assert f"### {part}\n" in text
    assert text.count("Seed-to-seed SD of ") == 2 and "Seeds an arm needed: " in text
    assert "| better |" in text and "| worse |" in text and "{mean" not in text
    (tmp_path / "demo.md").write_text("{difference:focal|nobody}")
    with pytest.raises(UsageError, match=r"demo\.md: \{difference:focal\|nobody\}: the study has"):
        findings.page(demo)


def test_a_study_on_its_way_decides_nothing(demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo, tmp_path / "results")
    path = tmp_path / "results/demo/sweep.yaml"
    sweep = yaml.safe_load(path.read_text())
    sweep["parameters"]["seed"] = {"values": [0, 1, 2, 3]}
    sweep["x-roles"] = {"seed": "seed", "config": "scientific"}
    sweep["x-contrasts"] = [{"arm": "not begun", "against": "gamma 2"}]
    path.write_text(yaml.safe_dump(sweep))
    text = findings.page(tmp_path / "results")
    assert "| unfinished |" in text and "| better |" not in text and "| worse |" not in text
    assert "lack some of its 4 planned seeds" in text
    assert "No run of the arm 'not begun', which the study asks about." in text
