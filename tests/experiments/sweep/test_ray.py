"""Trials on a Ray cluster of two nodes on this machine, one of which is killed."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import UsageError
from experiments.sweep.executors.ray import require_ray

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="ray, an optional extra, is not installed here")
GUARDIAN = Path(__file__).parents[3] / "experiments/sweep/executors/guardian.py"
# Ray warns of its own code as it is imported, so it lives in a process of its own.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
small = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=small)
other = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
print(cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(other, allow_graceful=False)
    print("removed", flush=True)
cluster.shutdown()
"""


@pytest.mark.skipif(HAS_RAY, reason="ray is installed here")
def test_without_ray_the_message_says_how_to_get_it() -> None:
    with pytest.raises(UsageError, match="pip install 'ray"):
        require_ray()


class Leash:
    """A guardian with a trial at its end."""

    def __init__(self, folder: Path, script: str, grace: float = 20.0) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-E", GUARDIAN, str(grace), sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"SOFTGAMMA_RUN_DIR": str(folder)},
        )

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def let_go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self) -> str:
        """What the guardian said until it was gone; the leash is held as long."""
        assert self.process.stdout is not None
        with self.process.stdout as output:
            told = output.read()
        self.let_go()
        self.process.wait()
        return told

    def wait_for(self, name: str) -> None:
        limit = time.monotonic() + 60
        while not (self.folder / name).exists():
            assert time.monotonic() < limit
            time.sleep(0.02)


TRIAL = """
import os, signal, sys, time
folder = os.environ["SOFTGAMMA_RUN_DIR"]
def save(*_):
    open(folder + "/saved", "w").close()
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
open(folder + "/began", "w").close()
print("a line for the log", flush=True)
time.sleep(600)
"""


def test_the_guardian_tells_the_exit_code_and_keeps_the_log(tmp_path: Path) -> None:
    leash = Leash(tmp_path, "print('hello'); raise SystemExit(3)")
    assert leash.end() == "ended 3\n"
    assert (tmp_path / "trial.log").read_text() == "hello\n"


def test_the_guardian_asks_a_trial_to_save_when_its_starter_is_gone(tmp_path: Path) -> None:
    leash = Leash(tmp_path, TRIAL)
    leash.wait_for("began")
    leash.let_go()
    leash.wait_for("saved")
    assert leash.end() == "ended 75\n"


def test_two_attempts_never_run_at_once(tmp_path: Path) -> None:
    first = Leash(tmp_path, TRIAL)
    first.wait_for("began")
    second = Leash(tmp_path, TRIAL, grace=0.2)
    assert second.end() == "ended 1\n"  # it waited twice its grace
    first.tell("kill")
    assert first.end() == "ended -9\n"


@pytest.fixture
def cluster() -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield process
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    process.communicate(timeout=120)


@needs_ray
@pytest.mark.slow
def test_a_node_dies_and_each_point_ends_once(bench: Any, cluster: "subprocess.Popen[str]") -> None:
    assert cluster.stdin is not None and cluster.stdout is not None
    address = cluster.stdout.readline().strip()
    bench.write(
        "loss.gamma: {values: [0, 1, 2]}\nseed: {values: [0, 1]}\n"
        "steps: {value: 40}\npause: {value: 0.1}"
    )
    words = ("--jobs", "2", "--executor", "ray", "--ray-address", address, "--retries", "0")
    sweep = bench.start(str(bench.file), "--out", str(bench.out), *words)
    limit = time.monotonic() + 300
    while len(list(bench.out.glob("trials/*/checkpoint"))) < 2:  # one on each node
        assert sweep.poll() is None and time.monotonic() < limit
        time.sleep(0.1)
    cluster.stdin.write("remove\n")
    cluster.stdin.flush()
    output = sweep.communicate(timeout=500)[0]
    assert sweep.returncode == 0, output
    assert bench.ends() == {n: 1 for n in range(6)}
    interrupted = {event["n"] for event in bench.events("interruption")}
    assert len(interrupted) == 1
    for n in range(6):
        steps = [int(line.split()[1]) for line in bench.journal(n) if line.startswith("step")]
        assert sorted(set(steps)) == list(range(1, 41))
        assert bench.journal(n).count("start") == (2 if n in interrupted else 1)
    told = json.loads(bench.run("status", str(bench.out), "--json")[1])
    assert {trial["status"] for trial in told["trials"]} == {"finished"}


@needs_ray
@pytest.mark.slow
def test_a_node_that_dies_before_a_first_row_counts_no_crash(
    bench: Any, cluster: "subprocess.Popen[str]"
) -> None:
    assert cluster.stdin is not None and cluster.stdout is not None
    address = cluster.stdout.readline().strip()
    bench.write("seed: {values: [0, 1]}\nsteps: {value: 2}\npause: {value: 8}")
    words = ("--jobs", "2", "--executor", "ray", "--ray-address", address, "--retries", "0")
    sweep = bench.start(str(bench.file), "--out", str(bench.out), *words)
    limit = time.monotonic() + 300
    while len(list(bench.out.glob("trials/*/journal"))) < 2:
        assert sweep.poll() is None and time.monotonic() < limit
        time.sleep(0.1)
    cluster.stdin.write("remove\n")
    cluster.stdin.flush()
    output = sweep.communicate(timeout=500)[0]
    assert sweep.returncode == 0, output
    assert bench.ends() == {0: 1, 1: 1} and bench.events("failure") == []
    (lost,) = bench.events("interruption")
    assert lost["lost"] is True
