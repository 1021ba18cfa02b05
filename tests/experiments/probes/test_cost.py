"""`show` counts parameters with as many classes as the run will have."""

from pathlib import Path

import pytest

from tests.calling import call

RECIPE = "configs/bccd/yolov2_focal.yaml"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data.root={glyphs}"], "12 classes (the data's)"),
        (["data.root={glyphs}", "data.classes=[disc, ring]"], "2 classes (the recipe's)"),
        (["--classes", "5"], "5 classes (as asked)"),
        (["data.root=nowhere"], "20 classes (a guess, for nowhere: no such folder"),
    ],
)
def test_the_classes_counted_with(
    words: list[str], told: str, small_glyphs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("show", RECIPE, *(word.format(glyphs=small_glyphs) for word in words)) == 0
    assert told in capsys.readouterr().out
