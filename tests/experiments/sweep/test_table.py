"""A sweep on a terminal: what varies, the best first and marked, at any width."""

import io

import pytest
from rich.console import Console

from experiments.sweep.state import State, fold
from experiments.sweep.table import by_choice, rendered, row, varying_names

SOFT = {"schedule": "linear", "start": 0.0, "end": 2.0, "ramp": [0.0, 0.5]}


def state() -> State:
    events = []
    for n, (detector, gamma, metric) in enumerate(
        [("retinanet", 0.0, 20.0), ("retinanet", SOFT, 31.5), ("yolov2", SOFT, None)]
    ):
        parameters = {
            "config": f"configs/glyphs/{detector}_focal.yaml",
            "loss.gamma": gamma,
            "train.iterations": 300,
        }
        events.append({"event": "point", "n": n, "key": f"k{n}", "parameters": parameters})
        if metric is not None:
            events.append({"event": "end", "n": n, "status": "finished", "metric": metric})
    return fold(events)


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_trials_can_be_told_apart_and_the_best_is_marked(columns: int) -> None:
    known = state()
    rows = by_choice([row(trial, None, 61.0) for trial in known.trials.values()])
    table = rendered(known, rows, "voc07_map", varying_names(known), "caption")
    out = io.StringIO()
    Console(file=out, width=columns).print(table)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= columns
    assert not [name for name in ("iterations", "300", "left") if name in out.getvalue()]
    shown = [line for line in lines if "finished" in line or "pending" in line]
    assert [line.split()[:2] for line in shown] == [
        ["★", "1"],
        ["0", "retinanet_focal"],
        ["2", "yolov2_focal"],
    ]
    assert "31.50" in shown[0] and "0→2" in shown[0] and "20.00" in shown[1]


def test_a_goal_to_minimize_turns_the_order() -> None:
    rows = [row(trial, None, 1.0) for trial in state().trials.values()]
    assert [item.trial.n for item in by_choice(rows, maximize=False)] == [0, 1, 2]
