"""A trial's own time, nodes that are lost, files that have changed: what goes on, what is said."""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from experiments.record.follow import Progress
from experiments.sweep.coordinator import MOST_LOSSES, Coordinator, Options
from experiments.sweep.executors import Ended, Started, Task
from experiments.sweep.ledger import Ledger
from experiments.sweep.state import Trial, open_state
from experiments.sweep.sweep_file import read_sweep
from experiments.sweep.table import row
from experiments.verbs.arguments import recipe_of


def test_a_trial_ends_when_its_time_is_up_and_goes_on_with_more(bench: Any) -> None:
    bench.write("steps: {value: 40}\npause: {value: 0.1}\nseed: {values: [0]}")
    words = [str(bench.file), "--out", str(bench.out)]
    status, output = bench.run(*words, "--trial-hours", "0.0003")
    assert status == 1, output
    assert "trial 0 used up its 0.0003 h after" in output
    assert "give --trial-hours a larger" in output
    (event,) = bench.events("interruption")
    assert event["exit"] == 75 and event["over"] == pytest.approx(1.08)
    assert "pending, time used up" in bench.run("status", str(bench.out))[1]
    assert bench.run(*words, "--trial-hours", "0.0003")[0] == 1  # nothing begins
    assert len(bench.events("start")) == 1
    status, output = bench.run(*words)
    assert status == 0, output
    steps = [word for word in bench.journal(0) if word != "start"]
    assert len(steps) == len(set(steps)) == 40


def test_a_file_gives_its_trials_their_time(bench: Any) -> None:
    bench.write("steps: {value: 40}\npause: {value: 0.1}", "method: grid\nx-trial-hours: 0.0003")
    assert read_sweep(bench.file).trial_seconds == pytest.approx(1.08)
    assert bench.run()[0] == 1 and len(bench.events("interruption")) == 1
    bench.write("steps: {value: 4}", "method: grid\nx-trial-hours: 0")
    assert "x-trial-hours: expected hours above 0, found 0" in bench.run()[1].replace("  ", " ")


class Nodes:
    """Stands for a cluster: each start of a trial meets the next of its fates."""

    slots = 1

    def __init__(self, *fates: str) -> None:
        self.fates = list(fates)
        self.task: Task | None = None

    @property
    def running(self) -> tuple[int, ...]:
        return () if self.task is None else (self.task.n,)

    def ready(self) -> bool:
        return True

    def start(self, task: Task) -> Started:
        self.task = task
        return Started(0, None, "ray")

    def release(self, n: int) -> None:
        pass

    def wait(self, seconds: float) -> list[Ended]:
        if self.task is None:
            return []
        task, self.task = self.task, None
        fate = self.fates.pop(0) if len(self.fates) > 1 else self.fates[0]
        if fate == "finished":
            record = {"status": "finished", "metrics": {"voc07_map": 1.0}}
            (task.folder / "record.json").write_text(json.dumps(record))
            return [Ended(task.n, 0)]
        if fate == "a row":
            with (task.folder / "curves.jsonl").open("a") as curves:
                rows = len((task.folder / "curves.jsonl").read_text().splitlines())
                curves.write(json.dumps({"iteration": rows + 1}) + "\n")
        return [Ended(task.n, -9, lost=True)]

    def stop(self, n: int) -> None:
        pass

    def kill(self) -> None:
        pass


class Silent:
    def said(self, text: str) -> None:
        pass

    def ticked(self, coordinator: Any) -> None:
        pass


def trial_after(bench: Any, *fates: str) -> Trial:
    """Trial 0 of a sweep whose nodes have these fates; the last one goes on for ever."""
    sweep = read_sweep(bench.write("seed: {values: [0]}"))
    nodes: Any = Nodes(*fates)
    with Ledger(bench.out) as ledger:
        state = open_state(ledger, sweep, bench.out)
        Coordinator(sweep, bench.out, ledger, state, nodes, Silent(), Options(retries=1)).run()
    return state.trials[0]


def test_a_node_that_dies_before_the_first_row_is_no_crash_of_the_trial(bench: Any) -> None:
    trial = trial_after(bench, "gone", "gone", "gone", "finished")
    assert (trial.status, trial.attempts, trial.failures) == ("finished", 4, 0)


def test_a_trial_that_loses_every_node_ends_as_failed(bench: Any) -> None:
    trial = trial_after(bench, "gone")
    assert (trial.status, trial.attempts) == ("failed", MOST_LOSSES + 2)


def test_a_trial_that_comes_further_each_time_is_never_given_up(bench: Any) -> None:
    fates = ["gone", "gone", "a row"] * MOST_LOSSES
    trial = trial_after(bench, *fates, "finished")
    assert (trial.status, trial.attempts, trial.failures) == ("finished", len(fates) + 1, 0)


def test_extend_says_when_only_the_command_has_changed(bench: Any) -> None:
    bench.write("seed: {values: [0]}")
    assert bench.run()[0] == 0
    bench.file.write_text(bench.file.read_text().replace('"${args_no', 'pause=0, "${args_no'))
    status, output = bench.run()
    assert status != 0 and "its points are the same, its command is not" in output
    assert f"sweep extend {bench.file} --out {bench.out}" in output
    status, output = bench.run("extend", str(bench.file), "--out", str(bench.out))
    assert status == 0 and "extended: its points are the same, its command is not" in output
    assert len(bench.events("start")) == 1


def test_a_run_without_a_row_for_long_by_its_own_pace_is_marked(tmp_path: Path) -> None:
    def quiet(*rows: dict[str, float], ago: float, started: float = 1000.0) -> float | None:
        now = time.time()
        (tmp_path / "curves.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
        os.utime(tmp_path / "curves.jsonl", (now - ago, now - ago))
        progress = Progress(tmp_path)
        progress.update()
        return progress.quiet(now, now - started)

    fast = {"iteration": 100, "seconds": 10.0, "progress": 0.5}
    slow = {"iteration": 10, "seconds": 100.0, "progress": 0.5}
    assert quiet(fast, ago=50) is None
    assert quiet(fast, ago=70) == pytest.approx(70, abs=1)
    assert quiet(slow, ago=290) is None and quiet(slow, ago=310) is not None
    assert quiet(fast, ago=500, started=30) is None  # it has begun again
    assert quiet({"iteration": 9, "progress": 1.0}, ago=5000) is None  # measuring
    (tmp_path / "curves.jsonl").unlink()
    started = time.time()
    assert Progress(tmp_path).quiet(started + 299, started) is None
    assert Progress(tmp_path).quiet(started + 301, started) is not None
    trial = Trial(0, "k", {}, 0, status="running", started=started - 301)
    assert (row(trial, Progress(tmp_path), 301.0).quiet or 0) > 300


def test_the_json_of_all_parameters_names_the_recipe_too() -> None:
    word = json.dumps({"config": "configs/a.yaml", "loss.gamma": 1.5, "loss": {"alpha": 0.5}})
    path, words = recipe_of(argparse.Namespace(overrides=[word], config=None))
    assert path == Path("configs/a.yaml")
    assert [json.loads(text) for text in words] == [{"loss.gamma": 1.5, "loss": {"alpha": 0.5}}]


def test_a_bayes_sweep_that_ends_before_it_searches_says_so(bench: Any) -> None:
    extra = "method: bayes\nrun_cap: {}"
    parameters = "loss.gamma: {min: 0.0, max: 5.0}\nseed: {values: [0, 1]}"
    bench.write(parameters, extra.format(20) + "\nx-roles: {seed: seed}")
    (warning,) = read_sweep(bench.file).warnings
    assert "the first 20 trials of a bayes sweep are random draws" in warning
    bench.write(parameters, extra.format(21) + "\nx-roles: {seed: seed}")
    assert read_sweep(bench.file).warnings == ()
