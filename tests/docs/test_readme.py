"""What README.md says was measured is what the committed records give."""

import shutil
from pathlib import Path

from experiments.report import readme as readme_block
from tests.calling import call

CHECKOUT = Path(__file__).parents[2]


def test_the_block_is_what_the_records_under_results_give(tmp_path: Path) -> None:
    readme = Path(shutil.copyfile(CHECKOUT / "README.md", tmp_path / "README.md"))
    readme_block.fill(readme, "stale")
    words = ["report", CHECKOUT / "results", "--out", tmp_path / "report", "--images", "0"]
    assert call(*words, "--readme", readme) == 0
    ours = readme_block.read(CHECKOUT / "README.md")
    assert ours == readme_block.read(readme), (
        "stale: python -m experiments report results --out /tmp/report --readme writes it anew"
    )
