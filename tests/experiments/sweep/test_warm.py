"""Warm starts: forks of a process with the imports done, which behave like cold trials."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from experiments.sweep.executors import Ended, Task
from experiments.sweep.executors.local import LocalExecutor
from experiments.sweep.executors.processes import end_orphan, start_mark
from experiments.sweep.executors.warm import TRAINING, warm_words

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forking warm is for Linux")
TRIAL = """
import json, os, random, signal, sys, time
import slow_import
folder = os.environ["SOFTGAMMA_RUN_DIR"]
print("a line for the log", flush=True)
told = {"arguments": sys.argv[1:], "imported": slow_import.WHEN, "group": os.getpgid(0),
        "draw": random.random(), "home": os.environ.get("ONLY_HERE"), "name": __name__,
        "jobs": os.environ.get("SOFTGAMMA_JOBS")}
with open(folder + "/told.json", "w") as file:
    json.dump(told, file)
if sys.argv[1:] == ["wait"]:
    time.sleep(600)
sys.exit(int(sys.argv[1]) if sys.argv[1:] else 0)
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path of child processes with a module to import and one to run."""
    (tmp_path / "slow_import.py").write_text("import time\nWHEN = time.monotonic()\n")
    (tmp_path / "tiny_trial.py").write_text(TRIAL)
    checkout = Path(__file__).parents[3]
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{checkout}")
    return tmp_path


def task(root: Path, n: int, *words: str) -> Task:
    folder = root / f"trial{n}"
    folder.mkdir(exist_ok=True)
    command = ["/usr/bin/env", sys.executable, "-m", "tiny_trial", *words]
    return Task(n, command, folder, {"SOFTGAMMA_RUN_DIR": str(folder), "ONLY_HERE": str(n)})


def wait_for(executor: LocalExecutor, count: int) -> dict[int, int]:
    ends: list[Ended] = []
    limit = time.monotonic() + 120
    while len(ends) < count and time.monotonic() < limit:
        ends += executor.wait(1.0)
    return {end.n: end.exit_code for end in ends}


def when_ready(executor: LocalExecutor) -> LocalExecutor:
    limit = time.monotonic() + 120
    while not executor.ready() and time.monotonic() < limit:
        time.sleep(0.02)
    assert executor.ready()
    return executor


def told(root: Path, n: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / f"trial{n}" / "told.json").read_text())
    return found


def start(executor: LocalExecutor, *tasks: Task) -> list[int]:
    pids = [executor.start(one).pid for one in tasks]
    for one in tasks:
        executor.release(one.n)
    return pids


def test_trials_share_imports_and_nothing_else(modules: Path) -> None:
    with LocalExecutor(2, preload=("slow_import",)) as executor:
        when_ready(executor)
        pids = start(executor, task(modules, 0), task(modules, 1, "3"))
        assert wait_for(executor, 2) == {0: 0, 1: 3}
    first, second = told(modules, 0), told(modules, 1)
    assert first["imported"] == second["imported"]
    assert [first["group"], second["group"]] == pids
    assert first["draw"] != second["draw"]
    assert (first["home"], second["home"]) == ("0", "1")
    assert (first["jobs"], second["jobs"]) == ("2", "2")
    assert (second["arguments"], second["name"]) == (["3"], "__main__")
    assert "a line for the log" in (modules / "trial0" / "trial.log").read_text()


@pytest.mark.parametrize("gpus", [0, 1])
def test_imports_that_ask_cuda_make_trials_start_cold_where_there_is_a_gpu(
    modules: Path, gpus: int
) -> None:
    # What a process of which CUDA was asked tells its forks; then none of them could use a GPU.
    (modules / "slow_import.py").write_text(
        "import time, torch\nWHEN = time.monotonic()\ntorch.cuda._is_in_bad_fork = lambda: True\n"
        f"torch.cuda.device_count = lambda: {gpus}\n"
    )
    with LocalExecutor(1, preload=("slow_import",)) as executor:
        when_ready(executor)
        for n in (0, 1):
            start(executor, task(modules, n))
            assert wait_for(executor, 1) == {n: 0}
    cold = told(modules, 0)["imported"] != told(modules, 1)["imported"]
    assert cold is bool(gpus)


def test_what_trainings_import_leaves_forks_possible(modules: Path) -> None:
    (modules / "tiny_trial.py").write_text(
        'import sys\nprint("warm" if "experiments.run.training" in sys.modules else "cold")\n'
    )
    with LocalExecutor(1, preload=TRAINING) as executor:
        when_ready(executor)
        start(executor, task(modules, 0))
        assert wait_for(executor, 1) == {0: 0}
    assert "warm" in (modules / "trial0" / "trial.log").read_text()


MEDIA = """
import os, sys, time, wandb
from PIL import Image
go = os.path.dirname(os.environ["SOFTGAMMA_RUN_DIR"]) + "/go"
while sys.argv[1:] == ["wait"] and not os.path.exists(go):
    time.sleep(0.02)
wandb.Image(Image.new("RGB", (4, 4)))
"""


def test_the_end_of_a_trial_leaves_the_others_their_media(modules: Path) -> None:
    # The client keeps them in a folder of the process that imported it, which was the first to end.
    (modules / "tiny_trial.py").write_text(MEDIA)
    with LocalExecutor(2, preload=TRAINING[-1:]) as executor:  # the client is the last
        when_ready(executor)
        start(executor, task(modules, 0, "wait"), task(modules, 1))
        assert wait_for(executor, 1) == {1: 0}
        (modules / "go").touch()
        assert wait_for(executor, 1) == {0: 0}, (modules / "trial0" / "trial.log").read_text()


def test_a_trial_runs_only_once_it_is_released(modules: Path) -> None:
    with LocalExecutor(1, preload=("slow_import",)) as executor:
        when_ready(executor).start(task(modules, 0))
        assert executor.wait(0.3) == []
        assert not (modules / "trial0" / "told.json").exists()
        executor.release(0)
        assert wait_for(executor, 1) == {0: 0}


def test_signals_reach_a_warm_trial(modules: Path) -> None:
    with LocalExecutor(1, preload=("slow_import",)) as executor:
        when_ready(executor)
        start(executor, task(modules, 0, "wait"))
        while not (modules / "trial0" / "told.json").exists():
            time.sleep(0.02)
        executor.stop(0)
        assert wait_for(executor, 1) == {0: -signal.SIGTERM}


def test_without_its_warm_process_trials_start_cold(modules: Path) -> None:
    with LocalExecutor(1, preload=("no_such_module_anywhere",)) as executor:
        when_ready(executor)
        start(executor, task(modules, 0))
        assert wait_for(executor, 1) == {0: 0}


def test_a_warm_process_that_dies_loses_no_trial(modules: Path) -> None:
    with LocalExecutor(1, preload=("slow_import",)) as executor:
        when_ready(executor)
        (pid,) = start(executor, task(modules, 0, "wait"))
        warm = executor._warm
        assert warm is not None
        warm._process.kill()
        assert executor.wait(0.3) == []  # it runs on
        os.kill(pid, signal.SIGKILL)
        assert list(wait_for(executor, 1)) == [0]
        start(executor, task(modules, 1))
        assert wait_for(executor, 1) == {1: 0}


def test_an_orphan_is_ended_and_a_stranger_with_its_number_is_not(modules: Path) -> None:
    with LocalExecutor(1, preload=("slow_import",)) as executor:
        when_ready(executor)
        (pid,) = start(executor, task(modules, 0, "wait"))
        mark = start_mark(pid)
        assert mark is not None
        assert end_orphan(pid, mark + "0", grace_seconds=1) is False
        assert start_mark(pid) == mark
        assert end_orphan(pid, mark, grace_seconds=10) is True
        assert start_mark(pid) is None
        wait_for(executor, 1)


def test_only_a_module_of_this_interpreter_starts_warm() -> None:
    assert warm_words(["/usr/bin/env", sys.executable, "-m", "a", "b=1"]) == ("a", ["b=1"])
    assert warm_words([sys.executable, "-m", "a"]) == ("a", [])
    assert warm_words(["python", "-m", "a"]) is None
    assert warm_words([sys.executable, "script.py", "a"]) is None
