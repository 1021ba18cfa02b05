"""What the pages say exists: paths, recipes and verbs named in README and docs."""

import re
from pathlib import Path

import pytest

from experiments.__main__ import VERBS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_PATH = re.compile(
    r"\b(?:configs|docs|benchmarks|detectors|losses|datasets|experiments|tests)/[\w/.-]+"
)
_WRITTEN = re.compile(r"^```\w+\n# (\S+)$", re.M)  # a file that the reader is told to write
_VERB = re.compile(r"python -m experiments ([a-z-]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = {found.rstrip("./-") for found in _PATH.findall(page.read_text())}
    named -= set(_WRITTEN.findall(page.read_text()))
    files = {name for name in named if re.search(r"\.(py|yaml|md|svg|png)$", name)}
    assert not [name for name in files if not (ROOT / name).exists() and not _beside(page, name)]


def _beside(page: Path, name: str) -> bool:
    return (page.parent / name).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_verbs_that_pages_name_exist() -> None:
    named = {verb for page in PAGES for verb in _VERB.findall(page.read_text())}
    assert named <= set(VERBS)
