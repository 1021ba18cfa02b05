"""Claim about sweeps: 12 short trials, two at a time, end sooner here than with the peers.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.sweep

The trials are the same runs of `train` (a small RetinaNet on 64-pixel glyphs), in the same order:

- ours: `sweep --jobs 2`, trials forked from a process that has the imports done
- ours, cold: the same, each trial started anew
- wandb agent: two agents of W&B's client against the stand-in server of tests/ on this machine,
  which answers faster than a real one
- Optuna: two processes over one journal, the grid enqueued, each trial a command of its own

Contenders take turns, `--rounds` times; each trial's metric is compared between them. CPU seconds
are those of all processes that were waited for, which a busy machine changes less than the wall's.
Then what 2,000 and 10,000 points cost besides their trials (sweep_scale.py). The JSON goes to
benchmarks/results/sweep_<instructions>_<date>.json. Run it on a quiet machine.
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import filing
from benchmarks.sweep_scale import SWEEP, scale
from datasets.glyphs.write import write_glyphs
from experiments.record.origin import core_count
from tests.stand_in.wandb_server import StandIn

HERE = Path(__file__).parent
CHECKOUT = HERE.parent
JOBS = 2
POINTS = (2_000, 10_000)
Metrics = dict[str, float]
RECIPE = """
data: {{name: voc, root: {root}, train: train, val: val, test: test}}
detector:
  name: retinanet
  backbone: {{name: darknet19, width: 0.125}}
  pyramid: {{width: 16, levels: 3}}
  head: {{depth: 1, norm: group, groups: 4}}
loss: {{name: focal, alpha: 0.25, gamma: 2.0}}
input: {{fit: {{mode: stretch, height: 64, width: 64}}}}
optimizer: {{name: adamw, lr: 1.0e-3}}
train: {{iterations: {iterations}, batch_size: 2, checkpoint_every: 1000, workers: 0}}
"""
# One of Optuna's workers: takes enqueued trials until none is left, each a command of its own.
WORKER = """
import os, subprocess, sys
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
optuna.logging.set_verbosity(optuna.logging.ERROR)
storage = JournalStorage(JournalFileBackend(sys.argv[1]))
study = optuna.load_study(study_name="s", storage=storage)
def waiting():
    states = (optuna.trial.TrialState.WAITING,)
    return bool(study.get_trials(deepcopy=False, states=states))
while waiting():
    trial = study.ask()
    if "fixed_params" not in study.trials[trial.number].system_attrs:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)  # the other worker took the last
        break
    gamma = trial.suggest_categorical("gamma", [0.0, 1.0, 2.0, 5.0])
    seed = trial.suggest_categorical("seed", list(range(int(sys.argv[4]))))
    words = ["experiments", "train", "--config", sys.argv[2], f"loss.gamma={gamma}", f"seed={seed}"]
    out = f"{sys.argv[3]}/{trial.number}"
    subprocess.run([sys.executable, "-m", *words, "--out", out], check=True)
    study.tell(trial, 0.0)
"""
BEGIN = """
import sys
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(study_name="s", storage=JournalStorage(JournalFileBackend(sys.argv[1])))
for gamma in [0.0, 1.0, 2.0, 5.0]:
    for seed in range(int(sys.argv[2])):
        study.enqueue_trial({"gamma": gamma, "seed": seed})
"""


def main() -> int:
    """Time the contenders, print, write the JSON; 1 if the claim fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="trials are four times as many")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="the JSON (default: benchmarks/results/..)")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        large = scale(Path(name), prepared(Path(name), 4), POINTS, environment(Path(name)))
        parts = measure(Path(name), arguments)
    found = claims(parts, large)
    status = filing.file_result(
        filing.path_of("sweep", arguments.out),
        "sweep",
        load=load,
        packages=("torch", "wandb", "optuna"),
        parts=parts,
        claims=found,
        trials=4 * arguments.seeds,
        at_a_time=JOBS,
        iterations_a_trial=arguments.iterations,
        rounds=arguments.rounds,
        load_after=os.getloadavg()[0],
        scale=large,
    )
    print_parts(parts)
    print(json.dumps(found, indent=1))
    return status


def claims(parts: dict[str, Any], large: dict[str, Any]) -> dict[str, bool]:
    """What is promised."""
    ours = parts["ours"]["seconds"]
    peers = [part["seconds"] for name, part in parts.items() if not name.startswith("ours")]
    return {
        "ours is the fastest": all(ours < theirs for theirs in peers),
        "all contenders were there": len(parts) == 4,
        "a point is planned in under 2 ms": all(
            found["plan_cpu_ms_a_point"] < 2 for found in large.values()
        ),
        "the coordinator stays under 200 MB": all(
            found["coordinator_peak_mb"] < 200 for found in large.values()
        ),
        "status of 2,000 takes under 1 s": large["2000"]["status_cpu_seconds"] < 1,
        "every trial has the same metric everywhere": all(part["same"] for part in parts.values()),
    }


def measure(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Median wall time of each contender over rounds taken in turns."""
    recipe = prepared(root, arguments.iterations)
    sweep = root / "sweep.yaml"
    sweep.write_text(
        SWEEP.format(name="benchmark", recipe=recipe, seeds=list(range(arguments.seeds)))
    )
    contenders: dict[str, Callable[[Path], None]] = {
        "ours": lambda out: embedded(sweep, out),
        "ours, cold": lambda out: embedded(sweep, out, "--cold"),
        "wandb agent x 2": lambda out: wandb_agents(sweep, out),
    }
    if importlib.util.find_spec("optuna") is not None:
        contenders["optuna x 2"] = lambda out: optuna_workers(recipe, out, arguments.seeds)
    else:
        print("optuna is not installed: pip install -r benchmarks/requirements.txt")
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    results: dict[str, list[Metrics]] = {name: [] for name in contenders}
    for number in range(arguments.rounds):
        for place, (name, run) in enumerate(contenders.items()):
            out = root / f"out-{number}-{place}"
            out.mkdir()
            start, used = time.perf_counter(), children_cpu()
            run(out)
            cpu[name].append(children_cpu() - used)
            seconds[name].append(time.perf_counter() - start)
            results[name].append(metrics_below(out))
            print(f"round {number + 1}: {name}: {seconds[name][-1]:.1f} s", flush=True)
    expected = results["ours"][0]
    return {
        name: {
            "seconds": statistics.median(times),
            "rounds": times,
            "cpu_seconds": statistics.median(cpu[name]),
            "times_ours": statistics.median(
                theirs / mine for theirs, mine in zip(times, seconds["ours"], strict=True)
            ),
            "same": len(expected) == 4 * arguments.seeds
            and all(found == expected for found in results[name]),
        }
        for name, times in seconds.items()
    }


def prepared(root: Path, iterations: int) -> Path:
    """The data and the recipe of all contenders."""
    if not (root / "glyphs").is_dir():
        write_glyphs(root / "glyphs", train=24, val=6, test=8)
    recipe = root / f"recipe-{iterations}.yaml"
    recipe.write_text(RECIPE.format(root=root / "glyphs", iterations=iterations))
    return recipe


def children_cpu() -> float:
    """CPU seconds of all processes that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def embedded(sweep: Path, out: Path, *more: str) -> None:
    """Our own coordinator."""
    words = ["sweep", str(sweep), "--jobs", str(JOBS), "--out", str(out), *more]
    finish(start([sys.executable, "-m", "experiments", *words], out, environment(out)))


def wandb_agents(sweep: Path, out: Path) -> None:
    """W&B's client, with the server on this machine."""
    with StandIn() as server:
        there = environment(out) | server.environment(out)
        del there["WANDB_MODE"]  # in a W&B sweep runs are online by themselves
        wandb = [sys.executable, "-m", "wandb"]
        finish(start([*wandb, "sweep", "--project", "p", str(sweep)], out, there))
        path = "tester/p/sweep000"
        agents = [start([*wandb, "agent", path], out, there) for _ in range(JOBS)]
        for agent in agents:
            finish(agent)


def optuna_workers(recipe: Path, out: Path, seeds: int) -> None:
    """Optuna's workers over one journal, as its documentation spreads a study over processes."""
    journal = str(out / "journal.log")
    begin = [sys.executable, "-c", BEGIN, journal, str(seeds)]
    finish(start(begin, out, environment(out)))
    work = [sys.executable, "-c", WORKER, journal, str(recipe), str(out), str(seeds)]
    for worker in [start(work, out, environment(out)) for _ in range(JOBS)]:
        finish(worker)


def environment(out: Path) -> dict[str, str]:
    """Each contender has the same threads, and a W&B mirror of its runs."""
    more = {"OMP_NUM_THREADS": str(max(1, core_count() // JOBS)), "PYTHONPATH": str(CHECKOUT)}
    return {**os.environ, "WANDB_MODE": "offline", "WANDB_DIR": str(out), **more}


def start(command: list[str], folder: Path, variables: dict[str, str]) -> Any:
    """A process in `folder`, its output kept for an error message."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: Any) -> None:
    """Wait; raises RuntimeError with the last of the output where it failed."""
    output = process.communicate()[0]
    if process.returncode != 0:
        raise RuntimeError(f"{process.args}\n{textwrap.indent(output[-3000:], '  ')}")


def metrics_below(folder: Path) -> Metrics:
    """The metric of every finished trial by its point."""
    found: Metrics = {}
    for path in sorted(folder.rglob("record.json")):
        record = json.loads(path.read_text())
        if record["status"] == "finished":
            point = f"gamma {float(record['config']['loss']['gamma'])}, seed {record['seed']}"
            found[point] = record["metrics"]["coco_ap"]
    return found


def print_parts(parts: dict[str, Any]) -> None:
    """A line a contender."""
    print(f"{'':18}{'seconds':>9}{'times ours':>12}  same metrics")
    for name, part in parts.items():
        line = f"{name:18}{part['seconds']:9.1f}{part['times_ours']:12.2f}"
        print(f"{line}  {'yes' if part['same'] else 'NO'}")


if __name__ == "__main__":
    sys.exit(main())
