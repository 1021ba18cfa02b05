"""Labels as tools export them, in ways of their own: read right, or refused in one sentence."""

from pathlib import Path

import pytest

from experiments.__main__ import main
from tests.calling import call, refused
from tests.experiments.verbs.test_world import IMAGES, coco, voc, xml, yolo


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTGAMMA_CACHE", str(tmp_path / "cache"))


def test_names_are_printed_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    names = ("[/]", "[red]cat", ":dog:")
    voc(tmp_path, xml())
    for stem, name in zip(IMAGES, names, strict=True):
        (tmp_path / f"Annotations/{stem}.xml").write_text(
            xml().replace("<name>cat<", f"<name>{name}<")
        )
    assert main(["data", "stats", str(tmp_path), "train"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)


def test_a_folder_without_a_split_is_refused_by_what_is_there(tmp_path: Path) -> None:
    voc(tmp_path / "vott", xml())
    for path in (tmp_path / "vott/ImageSets/Main").glob("*.txt"):
        path.rename(path.with_name(f"cat_{path.name}"))
    yolo(tmp_path / "yolo")
    (tmp_path / "yolo/data.yaml").write_text("names: [cat]\n")
    (tmp_path / "yolo/images").rename(tmp_path / "yolo/photos")
    for verb in (["doctor"], ["data", "stats"]):
        refused(r"only lists of one class \(cat_test, .*import FOLDER", *verb, tmp_path / "vott")
        refused("YOLO layout, but no split in it; .*import FOLDER", *verb, tmp_path / "yolo")
    coco(tmp_path / "both")
    (tmp_path / "both/ImageSets").mkdir()  # empty, beside labels of another layout
    assert call("data", "stats", tmp_path / "both") == 0
