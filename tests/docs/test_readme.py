"""What README.md says was measured is what the committed records give."""

import re
import shutil
import subprocess
from pathlib import Path

from experiments.report import readme as readme_block
from tests.calling import call

STALE = "stale: python -m experiments report results --out runs/report --readme writes it anew"
CHECKOUT = Path(__file__).parents[2]


def test_the_block_is_what_the_records_under_results_give(tmp_path: Path) -> None:
    readme = Path(shutil.copyfile(CHECKOUT / "README.md", tmp_path / "README.md"))
    readme_block.fill(readme, "stale")
    words = ["report", CHECKOUT / "results", "--out", tmp_path / "report", "--images", "0"]
    assert call(*words, "--readme", readme) == 0
    ours = readme_block.read(CHECKOUT / "README.md")
    assert ours == readme_block.read(readme), STALE
    picture = (tmp_path / readme_block.PICTURE).read_bytes()
    assert picture == (CHECKOUT / readme_block.PICTURE).read_bytes(), STALE


def test_it_is_short() -> None:
    lines = (CHECKOUT / "README.md").read_text().splitlines()
    assert len(lines) <= 130
    rows = [line for line in readme_block.read(CHECKOUT / "README.md").splitlines() if "|" in line]
    assert 3 <= len(rows) <= 2 + readme_block.MOST
    assert str(readme_block.PICTURE) in "\n".join(lines)


def test_every_room_is_on_its_map() -> None:
    text = (CHECKOUT / "README.md").read_text().partition("## The rooms")[2]
    named = set(re.findall(r"^    ([a-z.]+/?)  ", text, re.M))
    hidden = subprocess.run(
        ["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout
    folders = {f"{line.partition('/')[0]}/" for line in hidden.splitlines() if "/" in line}
    folders = {name for name in folders if not name.startswith(".")}
    assert folders <= named
    inside = text.partition("one room a question: ")[2].partition("\n")[0].split(", ")
    rooms = {path.parent.name for path in (CHECKOUT / "experiments").glob("*/__init__.py")}
    assert set(inside) == rooms
