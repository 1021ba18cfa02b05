"""The bar of a run: its own clock, and what stands on terminals of 80 and 140 columns."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.run.progress import Pace
from tests.terminal import shown

CHECKOUT = Path(__file__).parents[3]
TITLE = "retinanet focal alpha 0.25 gamma linear 0-2 over the first half"
RUN = f"""
import time
from experiments.run.progress import TrainProgress, shown
with TrainProgress({TITLE!r}, 250) as progress:
    progress({{"iteration": 1, "loss": 2.5}})
    time.sleep(1)
    progress.validated(30, {{"voc07_map": 41.26}})
    row = {{"loss": 1.2345, "gamma": 1.5, "lr": 0.01, "images_per_second": 88.2}}
    progress({{"iteration": 61, **row}})
    time.sleep(2.3)
    for item in shown(range(20), "detecting on val", 20):
        time.sleep(0.05)
"""


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_left_is_of_all_rows_and_counts_down_between_them() -> None:
    clock = Clock()
    pace = Pace(250, clock)
    assert pace.left() is None
    pace.saw(1)
    assert pace.left() is None
    clock.now += 60
    pace.saw(61)  # a second each
    assert pace.left() == pytest.approx(189)
    clock.now += 5
    assert pace.left() == pytest.approx(184)
    clock.now += 1000
    assert pace.left() == 0
    pace.saw(250)
    assert pace.left() == 0


def test_a_resumed_run_counts_its_own_iterations() -> None:
    clock = Clock()
    pace = Pace(1000, clock)
    pace.saw(900)
    clock.now += 10
    pace.saw(910)
    assert pace.left() == pytest.approx(90)


@pytest.mark.parametrize("columns", [80, 140])
def test_the_bar_on_a_terminal(columns: int) -> None:
    screens = shown([sys.executable, "-c", RUN], columns, CHECKOUT)
    lines = [line for screen in screens for line in screen if "61/250" in line]
    last = lines[-1]
    assert any(re.search(r"detecting on val \d+/20", line) for line in lines)
    assert not any(len([x for x in screen if x]) > 1 for screen in screens)  # one moving line
    assert all(len(line) <= columns for line in lines)
    for words in (" 61/250 ", " 24% ", " left ", "loss 1.234", "mAP 41.3"):
        assert words in f" {last} ", last
    assert ("gamma 1.50" in last and "88 images/s" in last) == (columns == 140)
    assert last.startswith("retinanet")
    left = [re.search(r"(\d):(\d\d):(\d\d) left", line) for line in lines]
    seconds = {int(one[2]) * 60 + int(one[3]) for one in left if one is not None}
    assert len(seconds) >= 3  # it moved with no row in between


def test_a_training_outlives_the_reader_of_its_log(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from experiments.run.progress import TrainProgress, outliving_its_log
with outliving_its_log(), TrainProgress("a run", 3) as progress:
    print("first", file=sys.stderr)
    time.sleep(1)
    for step in (1, 2, 3):
        progress({{"iteration": step, "loss": 1.0}})
        print("x" * 100_000, file=sys.stderr)
Path({str(tmp_path / "end")!r}).touch()
"""
    (tmp_path / "run.py").write_text(code)
    pipe = f"PYTHONPATH=. {sys.executable} {tmp_path}/run.py 2>&1 | head -1"
    command = ["bash", "-c", f'{pipe}; echo "${{PIPESTATUS[@]}}"']
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "first\n0 0\n" and done.stderr == ""
    assert (tmp_path / "end").is_file()
