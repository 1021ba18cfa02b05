"""The pages make a site by one command, without a warning; a broken link is an error."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.mathml import FormulaError, drawn

CHECKOUT = Path(__file__).parents[2]


def built(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_the_site_is_built_and_a_broken_link_is_an_error(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "docs", tmp_path / "docs")
    shutil.copy(CHECKOUT / "zensical.toml", tmp_path)
    done = built(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.stem for path in (CHECKOUT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in (tmp_path / "site").glob("*.html")}
    assert len(formulas_drawn(tmp_path / "site")) > 50
    with (tmp_path / "docs/log.md").open("a") as page:
        page.write("[nothing](nowhere.md)\n")
    assert built(tmp_path).returncode != 0


def formulas_drawn(site: Path) -> list[str]:
    """The formulas of all pages, none of which shows TeX: what is no code has no dollar sign, and
    no command.
    """
    found = []
    for path in site.glob("*.html"):
        page = re.sub(r"<(pre|code|script)\b.*?</\1>", "", path.read_text(), flags=re.DOTALL)
        body = page.partition("<article")[2].partition("</article>")[0]
        assert not re.search(r"\$|\\[a-zA-Z(\[{]", body), path.name
        found += re.findall(r"<math\b.*?</math>", body, re.DOTALL)
    return found


def test_a_formula_that_cannot_be_drawn_ends_the_build() -> None:
    assert "<mfrac>" in drawn(r"\(\frac{a}{b}\)") and 'display="block"' in drawn(r"\[a\]")
    with pytest.raises(FormulaError, match="nonesuch"):
        drawn(r"\(\nonesuch{a}\)")


def test_formulas_are_spaced_as_tex_spaces_them() -> None:
    made = drawn(r"\(-t\log p - \log(1-p)/2 = \mathrm{sp}(-x)\)")
    signs = re.findall(r'<mo( form="prefix")?>−</mo>', made)
    assert [bool(sign) for sign in signs] == [True, False, False, True]  # signs, not differences
    thin = '<mspace width="0.167em" />'
    assert f"<mi>t</mi>{thin}<mi>log</mi>{thin}<mi>p</mi>" in made
    assert '<mi>log</mi><mo stretchy="false">(</mo>' in made
    assert '<mo lspace="0" rspace="0">/</mo>' in made
    assert "<mi>min</mi>" in drawn(r"\(\min(a, b)\)") and made.startswith("<math xmlns=")


def test_every_page_is_on_the_map() -> None:
    index = (CHECKOUT / "docs/index.md").read_text()
    pages = {path.name for path in (CHECKOUT / "docs").glob("*.md")} - {"index.md"}
    assert not [page for page in sorted(pages) if f"({page})" not in index]
