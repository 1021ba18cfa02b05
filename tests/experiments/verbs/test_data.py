"""The data verbs as a user gives them: what they print, what they leave, how they end."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from experiments.__main__ import main
from experiments.config.run import load_config

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTGAMMA_CACHE", str(tmp_path / "cache"))


def test_glyphs_are_drawn_counted_and_examined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "glyphs"
    sizes = ["--train", "6", "--val", "2", "--test", "2"]
    assert main(["data", "glyphs", "--root", str(root), *sizes]) == 0
    assert capsys.readouterr().out == f"{root}\n"
    figure = tmp_path / "out/stats.png"
    counts = tmp_path / "out/counts.csv"
    more = ["--figure", str(figure), "--csv", str(counts)]
    assert main(["data", "stats", str(root), *more]) == 0
    printed = capsys.readouterr().out
    columns, first, *_ = counts.read_text().splitlines()
    assert columns == "split,class,images,objects,ignored"
    assert re.fullmatch(r"\w+,,\d+,\d+,\d+", first)
    assert "triangle" in printed and "most frequent" in printed
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert main(["doctor", str(root)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{root}: VOC layout, images decoded\n")
    assert re.search(r"train +│ +6 │", printed) and printed.endswith("\nnothing found\n")


def test_the_doctor_ends_with_1_names_the_flaw_and_writes_the_copy(
    tmp_path: Path, small_glyphs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "flawed"
    assert main(["doctor", str(small_glyphs), "--fix", str(root)]) == 0
    path = next((root / "Annotations").glob("train_*.xml"))
    text = path.read_text()
    path.write_text(text.replace("<difficult>0</difficult>", "", 1))
    capsys.readouterr()
    assert main(["doctor", str(root), "--json", "--no-decode"]) == 1
    finding = json.loads(capsys.readouterr().out)
    assert finding["kind"] == "missing_difficult"
    assert finding["file"] == f"Annotations/{path.name}"
    assert main(["doctor", str(root), "--fix", str(tmp_path / "sound")]) == 1
    assert "[missing_difficult]\n1 x missing_difficult" in capsys.readouterr().out
    assert main(["doctor", str(tmp_path / "sound")]) == 0


def test_stats_of_coco_files(small_glyphs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "annotations/instances_val.json"
    assert main(["data", "stats", str(small_glyphs), name, "--images", "JPEGImages"]) == 0
    assert "instances_val" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["doctor", "nowhere"], "nowhere: no such folder"),
        (["data", "stats", "nowhere"], "nowhere: no such folder"),
        (["data", "bccd", "--archives", "nowhere"], "no such archive; it is published at https://"),
        (["data", "voc", "--mirror", "ftp://127.0.0.1"], "only http and https"),
    ],
)
def test_what_can_not_be_done_ends_with_2_and_a_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "Traceback" not in error


def test_help_teaches_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (
        ["data"],
        ["doctor"],
        ["data", "glyphs"],
        ["data", "voc"],
        ["data", "stats"],
        ["data", "anchors"],
    ):
        with pytest.raises(SystemExit) as end:
            main([*verb, "--help"])
        assert end.value.code == 0
        assert len(capsys.readouterr().out) > 400


def test_anchors_are_lines_for_a_recipe(
    small_glyphs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "anchors", str(small_glyphs), "train", "--anchors", "3", "--input", "160"]
    assert main([*words, "--unit", "pixels"]) == 0
    printed = capsys.readouterr().out
    found = yaml.safe_load(printed)
    config = load_config(
        CHECKOUT / "configs/glyphs/yolov2_focal.yaml",
        [f"detector.{name}={value}" for name, value in found.items()],
    )
    pixels = np.array(config.detector.anchor_pixels())  # type: ignore[attr-defined]
    assert pixels.shape == (3, 2) and (np.diff(pixels.prod(1)) > 0).all()
    assert "yolov2-voc" in printed and "difficult or crowd left out" in printed
    assert main(words) == 0
    cells = yaml.safe_load(capsys.readouterr().out)
    assert cells["anchor_unit"] == "cells"
    np.testing.assert_allclose(np.array(cells["anchors"]) * 32, pixels, rtol=2e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--anchors", "9999"], "error: anchors: must be 1 to"),
        (["--input", "1", "2", "3"], "error: --input: one side, or height and width"),
    ],
)
def test_impossible_anchors_end_with_2(
    small_glyphs: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["data", "anchors", str(small_glyphs), "train", *words]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(message)
