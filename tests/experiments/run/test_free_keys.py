"""The keys in which a stopped run may go on otherwise are the documented ones."""

import re
from pathlib import Path

from experiments.config.run import FREE, config_text, deciding, free_keys, load_config

CHECKOUT = Path(__file__).parents[3]
RECIPE = CHECKOUT / "configs" / "glyphs" / "yolov2_focal.yaml"


def test_the_documented_table_holds_the_free_keys() -> None:
    text = (CHECKOUT / "docs" / "training.md").read_text()
    table = text.partition("| free key |")[2].partition("\n\n")[0]
    keys = "".join(row.split("|")[1] for row in table.splitlines()[2:])
    named = re.findall(r"`([a-z_.]+)`", keys)
    assert sorted(named) == sorted(free_keys())


def test_show_marks_them_and_nothing_else() -> None:
    text = config_text(load_config(RECIPE))
    marked = [line.split(":")[0].strip() for line in text.splitlines() if line.endswith(FREE)]
    assert sorted(marked) == sorted(key.rpartition(".")[2] for key in free_keys())


def test_free_keys_decide_nothing() -> None:
    base = deciding(load_config(RECIPE))
    free = ["train.workers=3", "data.root=elsewhere", "arm=mine", "tracking.wandb=off"]
    assert deciding(load_config(RECIPE, free)) == base
    assert deciding(load_config(RECIPE, ["optimizer.lr=0.5"])) != base
