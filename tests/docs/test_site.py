"""The pages make a site by one command, without a warning; a broken link is an error."""

import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def built(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_the_site_is_built_and_a_broken_link_is_an_error(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "docs", tmp_path / "docs")
    shutil.copy(CHECKOUT / "zensical.toml", tmp_path)
    done = built(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.stem for path in (CHECKOUT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in (tmp_path / "site").glob("*.html")}
    with (tmp_path / "docs/log.md").open("a") as page:
        page.write("[nothing](nowhere.md)\n")
    assert built(tmp_path).returncode != 0


def test_every_page_is_on_the_map() -> None:
    index = (CHECKOUT / "docs/index.md").read_text()
    pages = {path.name for path in (CHECKOUT / "docs").glob("*.md")} - {"index.md"}
    assert not [page for page in sorted(pages) if f"({page})" not in index]
