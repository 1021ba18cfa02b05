"""What README.md says was measured is what the committed records give."""

import argparse
import shutil
from pathlib import Path

from experiments.report import readme as readme_block
from experiments.verbs import report as report_verbs

CHECKOUT = Path(__file__).parents[2]


def test_the_block_is_what_the_records_under_results_give(tmp_path: Path) -> None:
    readme = Path(shutil.copyfile(CHECKOUT / "README.md", tmp_path / "README.md"))
    readme_block.fill(readme, "stale")
    parser = argparse.ArgumentParser()
    report_verbs.add_parsers(parser.add_subparsers())
    words = ["report", str(CHECKOUT / "results"), "--out", str(tmp_path / "report")]
    arguments = parser.parse_args([*words, "--images", "0", "--readme", str(readme)])
    assert arguments.run(arguments) == 0
    ours = readme_block.read(CHECKOUT / "README.md")
    assert ours == readme_block.read(readme), (
        "stale: python -m experiments report results --out /tmp/report --readme writes it anew"
    )
