"""The verb `report`, as the command line calls it."""

import argparse
from pathlib import Path

import pytest

from experiments import report_verbs
from experiments.errors import UsageError


def call(*words: str) -> int:
    parser = argparse.ArgumentParser()
    report_verbs.add_parsers(parser.add_subparsers())
    arguments = parser.parse_args(["report", *words])
    status: int = arguments.run(arguments)
    return status


def test_report_is_written_below_the_first_folder(
    tiny_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = tmp_path / "study"
    link.symlink_to(tiny_study / "yolov2-cross-entropy-0")
    assert call(str(link), "--images", "0") == 0
    assert (tiny_study / "yolov2-cross-entropy-0/report/report.html").is_file()
    assert "report.html" in capsys.readouterr().out


def test_readme_block_is_filled_and_the_rest_kept(tiny_study: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(
        f"# A\n\n{report_verbs.BEGIN}\nold\n{report_verbs.END}\n\nthe end\n", encoding="utf-8"
    )
    call(str(tiny_study), "--out", str(tmp_path / "out"), "--images", "0", "--readme", str(readme))
    text = readme.read_text(encoding="utf-8")
    assert "old" not in text and "| arm |" in text and text.endswith("\n\nthe end\n")
    once = text
    report_verbs.fill_readme(readme, (tmp_path / "out/report.md").read_text(encoding="utf-8"))
    assert readme.read_text(encoding="utf-8") == once


def test_mistakes_are_usage_errors(tiny_study: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        call(str(tmp_path / "nowhere"))
    (tmp_path / "README.md").write_text("no markers", encoding="utf-8")
    with pytest.raises(UsageError, match="needs one line"):
        call(
            str(tiny_study),
            "--out",
            str(tmp_path),
            "--images",
            "0",
            "--readme",
            str(tmp_path / "README.md"),
        )
