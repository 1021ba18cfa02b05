"""A report as a paper: tables, figures, appendix, checklist, model card; compiled where TeX is."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.calling import call


@pytest.fixture(scope="module")
def paper(tiny_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("paper")
    words = ("report", tiny_study, "--out", root / "report", "--images", "0", "--formats", "svg")
    assert call(*words, "--paper", root / "tex") == 0
    return root / "tex"


def test_tables_are_booktabs_with_bold_best_intervals_and_the_test_named(paper: Path) -> None:
    text = (paper / "results-yolov2.tex").read_text(encoding="utf-8")
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{", r"\label{tab:yolov2}"):
        assert text.count(part) == 1
    assert text.count(r"\mathbf{") == 4  # the best of each metric
    assert "Holm-corrected" in text and "Welch's $t$ test" in text and r"$^\dagger$" in text
    assert re.search(r"\$[+-][\d.]+(\^\\d?dagger)?\$ \$\[[+-][\d.]+, [+-][\d.]+\]\$", text)


def test_appendix_tells_roles_and_the_checklist_is_of_the_records(paper: Path) -> None:
    appendix = (paper / "hyperparameters.tex").read_text(encoding="utf-8")
    assert "& scientific &" in appendix and "& fixed &" in appendix
    told = (paper / "checklist.tex").read_text(encoding="utf-8")
    for part in ("0123456789ab", "a CPU", "torch 2.14.1", "bbbbbbbbbbbbbbbb", "Seeds & 0 and 1"):
        assert part in told
    assert "Energy & not on record" in told
    assert re.search(r"VOC07 mAP over \d seeds", (paper / "model_card.md").read_text("utf-8"))
    assert "?." not in (paper / "main.tex").read_text(encoding="utf-8")
    assert "@inproceedings{lin2017focal" in (paper / "references.bib").read_text(encoding="utf-8")


def test_figures_are_pdf_at_the_width_of_a_column(paper: Path) -> None:
    found = sorted((paper / "figures").iterdir())
    assert len(found) > 5
    for path in found:
        box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ", path.read_bytes())
        assert box is not None and float(box[1]) == pytest.approx(3.3 * 72, abs=0.1)
        assert b"/Type3" not in path.read_bytes()


def test_every_part_of_the_tex_is_closed_and_there(paper: Path) -> None:
    for path in paper.glob("*.tex"):
        text = re.sub(r"(?<!\\)%.*", "", path.read_text(encoding="utf-8"))
        begun = re.findall(r"\\begin\{(\w+\*?)\}", text)
        assert sorted(begun) == sorted(re.findall(r"\\end\{(\w+\*?)\}", text)), path.name
        bare = re.sub(r"\\[{}\\]", "", text)
        assert bare.count("{") == bare.count("}"), path.name
    main = (paper / "main.tex").read_text(encoding="utf-8")
    for name in re.findall(r"\\input\{([\w-]+)\}", main):
        assert (paper / f"{name}.tex").is_file()
    for name in re.findall(r"\\includegraphics\[.*?\]\{([\w/.-]+)\}", main):
        assert (paper / name).is_file()


def test_it_compiles(paper: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no TeX engine (pdflatex) is installed")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main"]
    for _ in range(2):
        done = subprocess.run(words, cwd=paper, capture_output=True, timeout=400, check=False)
    log = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, log[-2000:]
    assert "undefined references" not in log.replace("\n", " ").lower()
    assert (paper / "main.pdf").read_bytes().startswith(b"%PDF")
