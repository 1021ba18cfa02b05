"""docs/your-own-loss.md does what it says, in a checkout of its own."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs/your-own-loss.md"
TINY = ("train.iterations=2", "train.batch_size=2", "tracking.wandb=off")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def written(folder: Path, block: str) -> Path:
    """The block as the file that its first line names."""
    path = folder / block.partition("\n")[0].removeprefix("# ")
    path.write_text(block.partition("\n")[2])
    return path


def test_the_page_does_what_it_says(small_glyphs: Path, tmp_path: Path) -> None:
    for room in ("experiments", "losses", "datasets", "detectors", "configs"):
        shutil.copytree(
            CHECKOUT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    loss, row = blocks("python")
    assert len(loss.split("def at")[1].splitlines()) <= 22  # 20 lines, as its title says
    table = tmp_path / "losses/__init__.py"
    table.write_text(f"{table.read_text()}\n{row}")
    written(tmp_path, loss)
    written(tmp_path, blocks("yaml")[0])

    def call(*words: str) -> str:
        told = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=600
        )
        assert told.returncode == 0, told.stderr
        return told.stdout

    example = "import doctest, torch, losses.poly as p; "
    example += "assert doctest.testmod(p, extraglobs={'torch': torch}) == (0, 1)"
    call("-c", example)
    show, train = (line.split()[1:] for line in blocks("bash")[0].splitlines())
    assert "epsilon: 2" in call(*show)
    call(*train, f"data.root={small_glyphs}", *TINY)
    record = json.loads((tmp_path / "runs/poly/record.json").read_text())
    assert record["status"] == "finished" and record["arm"] == "retinanet poly"
    assert [row["epsilon"] for row in record["curves"]] == [1.0, 1.0]
