"""A layout is a row of `DATASETS`: doctor, stats, anchors, import and training know it by that."""

import csv
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pytest
from PIL import Image

from datasets import DATASETS, index
from datasets.dataset import Dataset, Split
from datasets.errors import DataError
from datasets.formats.findings import Findings
from datasets.formats.plain import Thing, plain_columns
from datasets.parts import Val, labels_of, parted
from datasets.policy import Policy
from datasets.written import Written, chosen
from experiments.__main__ import main


@dataclass(frozen=True, slots=True)
class Table:
    """root/boxes.csv, a line an object: split,image,class,x1,y1,x2,y2."""

    root: str
    train: str = "train"
    val: Val = "val"
    test: str = "test"
    classes: tuple[str, ...] | None = None

    FORM: ClassVar[str] = "boxes.csv"

    @staticmethod
    def is_at(root: Path) -> bool:
        return (root / "boxes.csv").is_file()

    @staticmethod
    def splits_in(root: Path) -> list[str]:
        return sorted({row["split"] for row in _rows(root)})

    @classmethod
    def of_split(
        cls, root: Path, split: str, *, images: str | None, first_pixel: Literal[0, 1]
    ) -> Self:
        return cls(str(root), split, split, split)

    @property
    def policy(self) -> Policy:
        return Policy(inclusive=False)

    def open(self, split: Split) -> Dataset:
        written = self.written(split)
        classes = chosen(self.classes, written.names, "no class {!r}")
        return parted(written.dataset(classes, self.policy), self.val, split)

    def written(self, split: Split) -> Written:
        root, name = Path(self.root), getattr(self, labels_of(self.val, split))
        listed = (root / name).read_text().split() if name.endswith(".txt") else None
        things: dict[str, list[Thing]] = defaultdict(list)
        for row in _rows(root):
            if row["split"] == name or row["image"] in (listed or ()):
                x1, y1, x2, y2 = (float(row[corner]) for corner in ("x1", "y1", "x2", "y2"))
                things[row["image"]].append(Thing(row["class"], (x1, y1, x2, y2)))
        columns = plain_columns(list(things), list(things.values()), "boxes.csv", Findings())
        key = index.digest("table", (root / "boxes.csv").read_bytes(), name, list(things))
        return Written(root, columns, key, list(things))


def _rows(root: Path) -> list[dict[str, str]]:
    with (root / "boxes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(DATASETS, "table", Table)
    root, lines = tmp_path / "set", ["split,image,class,x1,y1,x2,y2"]
    root.mkdir()
    for row in range(12):
        rough = np.random.default_rng(row).integers(0, 255, (6, 8, 3)).astype(np.uint8)
        image = Image.fromarray(rough).resize((96, 64), Image.Resampling.BICUBIC)
        image.save(root / f"{row}.jpg")
        split = ("train", "train", "val", "test")[row % 4]
        lines.append(f"{split},{row}.jpg,{('cat', 'dog')[row % 2]},{row},4,{row + 40},44")
    lines.append("train,0.jpg,dog,50,20,150,40")  # leaves its image
    (root / "boxes.csv").write_text("\n".join(lines))
    return root


def said(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, Any]:
    status = main([str(word) for word in words])
    return status, capsys.readouterr()


def test_every_verb_takes_it(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = said(capsys, "doctor", table)
    assert status == 1 and "TABLE layout" in told.out
    assert "boxes.csv, object 2: dog: the box leaves the image" in told.out
    status, told = said(capsys, "doctor", table, "--fix", tmp_path / "copy")
    assert status == 2 and "nothing writes labels in table layout yet" in told.err
    status, told = said(capsys, "data", "stats", table)
    assert status == 0 and "cat" in told.out
    assert said(capsys, "data", "anchors", table, "train", "--anchors", "2")[0] == 0
    status, told = said(capsys, "data", "import", table)
    assert status == 0 and "12 images with TABLE labels, 2 classes" in told.out
    recipe = table / "splits/yolov2.yaml"
    words = ["train.iterations=1", "train.batch_size=2", "learning_rate.warmup_iterations=0"]
    assert said(capsys, "train", recipe, *words, "--out", tmp_path / "run")[0] == 0
    assert json.loads((tmp_path / "run/record.json").read_text())["data"]["classes"]


def test_a_folder_of_no_layout_is_told_all_forms(table: Path, tmp_path: Path) -> None:
    from datasets.layouts import layout_of

    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"TABLE layout \(boxes.csv\); "):
        layout_of(tmp_path / "none")
