"""A sweep on a terminal: what varies, the best first and marked, at any width."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from experiments.sweep.state import State, Trial, fold
from experiments.sweep.table import Left, by_choice, left_of, rendered, row, varying_names

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
            "seed": n,
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


def trial(n: int, status: str, tape: str, seconds: float = 0.0, kind: str = "k") -> Trial:
    return Trial(n, f"{n}", {}, n, status, started=n, seconds=seconds, kind=kind, tape=tape)  # type: ignore[arg-type]


def left(trials: list[Trial], waiting: int, slots: int = 1) -> tuple[float, int]:
    known = State({each.n: each for each in trials})
    rows = [row(each, None, each.seconds) for each in trials]
    found = left_of(known, rows, waiting, 0, slots)
    assert found is not None
    return found


def test_time_left_counts_who_writes_a_tape_and_who_replays_it_apart() -> None:
    done = [trial(0, "finished", "a", 100.0), trial(1, "finished", "a", 10.0)]
    ahead = [trial(2, "pending", "a"), trial(3, "pending", "b"), trial(4, "pending", "b")]
    assert left(done + ahead, 3) == (pytest.approx(100 + 2 * 10), 0)
    assert left(done + ahead, 3, 2) == (pytest.approx(60), 0)
    # A tryout leaves out one of those that wait, never a tape.
    assert left(done + ahead, 2) == (pytest.approx(100 + 10), 0)
    assert left(done[:1] + ahead, 3) == (pytest.approx(300), 2)  # none has replayed yet
    strange = trial(5, "pending", "c", kind="another")
    seconds, guessed = left([*done, strange], 1)
    assert (seconds, guessed) == (pytest.approx(55), 1)
    assert "kind that none has ended" in Left(seconds, guessed).told


def test_a_goal_to_minimize_turns_the_order() -> None:
    rows = [row(trial, None, 1.0) for trial in state().trials.values()]
    assert [item.trial.n for item in by_choice(rows, maximize=False)] == [0, 1, 2]


def test_a_schedule_is_never_the_column_that_a_narrow_terminal_cuts() -> None:
    """The demo while it runs: detector, gamma and seed vary, and one trial has time left."""
    known = state()
    rows = [row(one, None, 3661.0) for one in known.trials.values()]
    rows[2] = replace(rows[2], seconds_left=3000.0, quiet=1130.0)
    table = rendered(known, rows, "voc07_map", varying_names(known), "caption")
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and "gamma" in lines[1]
    assert "voc07_map" in lines[1] and sum("finished" in line for line in lines) == 2
    assert sum("0→2" in line for line in lines) == 2 and "…" not in out.getvalue()
