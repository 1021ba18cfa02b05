"""The verb `report`, as the command line calls it."""

import shutil
from pathlib import Path

import pytest

from experiments.report import readme as readme_block
from experiments.report.verify import verify
from tests.calling import call, refused


def test_report_is_written_below_the_first_folder(
    tiny_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = tmp_path / "study"
    link.symlink_to(tiny_study / "yolov2-cross-entropy-0")
    assert call("report", str(link), "--images", "0") == 0
    report = tiny_study / "yolov2-cross-entropy-0/report"
    assert (report / "report.html").is_file()
    kinds = {path.suffix for path in (report / "figures").iterdir()}
    assert kinds == {".svg", ".pdf", ".png"}
    assert "report.html" in capsys.readouterr().out


def test_readme_block_is_filled_and_the_rest_kept(tiny_study: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(
        f"# A\n\n{readme_block.BEGIN}\nold\n{readme_block.END}\n\nthe end\n", encoding="utf-8"
    )
    out = tmp_path / "out"
    words = ("--out", out, "--images", "0", "--formats", "svg", "--readme", readme)
    call("report", tiny_study, *words)
    text = readme.read_text(encoding="utf-8")
    assert (
        "\nold\n" not in text
        and "| question (VOC07 mAP) |" in text
        and text.endswith("\n\nthe end\n")
    )
    once = text
    readme_block.write_block([tiny_study], readme, {})
    assert readme.read_text(encoding="utf-8") == once


def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    tiny_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")

    def work(*_: object) -> None:
        raise AssertionError("the figures' numbers were made for nothing")

    monkeypatch.setattr("experiments.report.render._context", work)
    refused(
        "file: cannot be written: it is a file, not a folder", "report", tiny_study, "--out", file
    )
    words = ("report", tiny_study, "--out", tmp_path / "out", "--paper", file / "tex")
    refused("tex: cannot be written: Not a directory", *words)
    assert file.read_text(encoding="utf-8") == "mine"


def test_two_runs_of_one_arm_are_told_apart_by_their_folders(
    tiny_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(tiny_study / f"yolov2-cross-entropy-{seed}") for seed in (0, 1)]
    assert call("compare", *folders) == 0
    told = capsys.readouterr().out
    assert all(f"yolov2 cross-entropy ({folder})" in told for folder in folders)


def test_mistakes_are_usage_errors(tiny_study: Path, tmp_path: Path) -> None:
    refused("no such folder", "report", str(tmp_path / "nowhere"))
    (tmp_path / "README.md").write_text("no markers", encoding="utf-8")
    words = ("--out", tmp_path, "--formats", "svg", "--readme", tmp_path / "README.md")
    refused("needs one line", "report", tiny_study, "--images", "0", *words)


def test_without_records_the_block_says_so(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"{readme_block.BEGIN}\nold\n{readme_block.END}\n", encoding="utf-8")
    (tmp_path / "results").mkdir()
    assert call("report", str(tmp_path / "results"), "--readme", readme) == 0
    assert readme_block.read(readme) == readme_block.NOTHING


def test_a_gallery_holds_its_records_and_verifies_wherever_it_is_moved(
    tiny_study: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "docs/gallery"
    call("report", tiny_study, "--gallery", folder, "--images", "1")
    assert len(list((folder / "records").rglob("record.json"))) == 4
    told = (folder / "README.md").read_text(encoding="utf-8")
    assert "## Verdict" in told and "figures/recall-yolov2.svg" in told and "--gallery" in told
    first = (folder / "report.html").read_bytes()
    call("report", tiny_study, "--gallery", folder, "--images", "1")
    assert (folder / "report.html").read_bytes() == first
    moved = folder.rename(tmp_path / "elsewhere")
    found = verify(moved)
    assert [line for line in found if "metrics." not in line] == []  # they were invented
    for path in moved.rglob("record.json"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace('"voc07_map": 7', '"voc07_map": 8'), encoding="utf-8")
    assert any("table.csv: is not the table" in line for line in verify(moved, metrics=False))


def test_a_gallery_in_place_names_the_records_where_they_are(
    tiny_study: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "gallery"
    call("report", tiny_study, "--gallery", folder, "--in-place", "--images", "0")
    assert not (folder / "records").exists()
    assert "--in-place" in (folder / "README.md").read_text(encoding="utf-8")
    assert verify(folder, metrics=False) == []


def test_a_gallery_takes_no_folder_of_somebody_elses(tiny_study: Path, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records/thesis.tex").write_text("mine", encoding="utf-8")
    refused("is in the way", "report", tiny_study, "--gallery", tmp_path)
    refused("goes with --gallery", "report", tiny_study, "--in-place")
    refused(
        "leave out --out",
        "report",
        tiny_study,
        "--gallery",
        tmp_path,
        "--out",
        tmp_path,
    )


def test_readme_tells_each_study_below_a_folder_by_its_own_contrasts(
    tiny_study: Path, tmp_path: Path
) -> None:
    asked = "x-contrasts: [{arm: focal alpha 0.25 gamma 1, against: cross-entropy}]\n"
    for name in ("one", "two"):
        study = tmp_path / "results" / name
        for folder in tiny_study.glob("yolov2*"):
            shutil.copytree(folder, study / folder.name)
        (study / "sweep.yaml").write_text(
            f"method: grid\ncommand: [train]\n{asked}parameters: {{seed: {{values: [0, 1]}}}}\n",
            encoding="utf-8",
        )
    readme = tmp_path / "README.md"
    readme.write_text(f"{readme_block.BEGIN}\n{readme_block.END}\n", encoding="utf-8")
    out = tmp_path / "out"
    call("report", tmp_path / "results", "--out", out, "--images", "0", "--readme", readme)
    rows = [line for line in readme_block.read(readme).splitlines() if " against " in line]
    assert len(rows) == 2
    for row, name in zip(rows, ("one", "two"), strict=True):
        assert row.startswith(f"| {name}: focal") and "gamma 1 against cross-entropy" in row
