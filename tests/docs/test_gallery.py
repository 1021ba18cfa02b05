"""The committed report of the demo is what the committed records give."""

import shutil
from pathlib import Path

from experiments.report import write_report
from experiments.report.evidence.diagnoses import STORE
from experiments.report.templates.fill import TEMPLATES
from experiments.report.verify import verify

CHECKOUT = Path(__file__).parents[2]
GALLERY = CHECKOUT / "docs/gallery"
STALE = "stale: python -m experiments report results/demo --gallery docs/gallery --in-place"


def test_the_gallery_is_of_the_committed_records() -> None:
    assert verify(GALLERY, metrics=False) == [], STALE


def test_the_page_has_todays_script_and_style() -> None:
    page = (GALLERY / "report.html").read_text(encoding="utf-8")
    for name in ("report.js", "report.css"):
        text = (TEMPLATES / name).read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line.strip()]
        missing = [line for line in lines if line not in page]
        assert missing == [], f"{name}: {STALE}"


def test_its_tables_and_words_are_what_the_report_says_today(tmp_path: Path) -> None:
    """Curves and error shares come from the gallery's own store, by the hashes of the dumps."""
    shutil.copyfile(GALLERY / STORE, tmp_path / STORE)
    write_report([CHECKOUT / "results/demo"], tmp_path, images=0)
    tables = [path.name for path in GALLERY.iterdir() if path.suffix in (".csv", ".tex", ".md")]
    assert {"table.csv", "errors.csv", "table.tex", "report.md"} <= set(tables)
    for name in set(tables) - {"README.md"}:
        assert (tmp_path / name).read_bytes() == (GALLERY / name).read_bytes(), f"{name} is {STALE}"
    told = (GALLERY / "README.md").read_text(encoding="utf-8")
    assert told.endswith((GALLERY / "report.md").read_text(encoding="utf-8"))
