"""Claims about the training engine: what it adds to a bare loop, and what its options gain.

    python -m benchmarks.engine
    python -m benchmarks.engine --part options --config configs/glyphs/yolov2_focal.yaml

overhead    milliseconds an iteration of the engine (schedules, rows, guards, average off) beyond
            forward, loss, backward and update written out in a loop, on a network so small that
            nothing hides
verb        images a second in the middle of a whole `train` run, over those of its bare step on
            batches that are there already
options     a step in float32, bfloat16, with and without channels_last, compiled or not

Contenders run in one process, in turns; a number is the median over rounds. The JSON goes to
benchmarks/results/engine_<cores>cores_<date>.json. Run it on a quiet machine.
"""

import argparse
import dataclasses
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from datasets.sample import Batch
from experiments.assembly import batches_from, build_detector, fit_plan, open_splits
from experiments.config import RunConfig, load_config
from experiments.engine.compiling import compile_parts
from experiments.engine.fit import Fit, Plan
from experiments.engine.optimizer import build_optimizer
from experiments.engine.step_model import to_device
from experiments.engine.update import LOW
from experiments.provenance import core_count, cpu_name, gpu_names, versions

HERE = Path(__file__).parent
CHECKOUT = HERE.parent
PARTS = ("overhead", "verb", "options")
RECIPES = ("configs/glyphs/yolov2_focal.yaml", "configs/glyphs/retinanet_focal.yaml")
TINY = [
    "detector.backbone={name: darknet19, width: 0.03125}",
    "detector.head_width=8",
    "detector.head_depth=0",
    "detector.passthrough=4",
    "input={fit: {mode: stretch, height: 32, width: 32}}",
    "train.batch_size=2",
    "train.ema=null",
    "train.channels_last=false",
    "train.precision=float32",
]
KEPT = 8  # batches that bare loops turn round


def main() -> int:
    """Run the parts, print them, write the JSON; 1 if a claim fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="all, unless named")
    parser.add_argument("--config", action="append", help="recipes (glyphs, both detectors)")
    parser.add_argument("--iterations", type=int, default=200, help="of a loop (200)")
    parser.add_argument("--rounds", type=int, default=5, help="of each contender (5)")
    parser.add_argument("--out", type=Path, help="the JSON (default: benchmarks/results/..)")
    parser.add_argument(
        "--onto", type=Path, metavar="FILE", help="keep this result's other parts in the new one"
    )
    arguments = parser.parse_args()
    chosen = arguments.part or list(PARTS)
    recipes = arguments.config or list(RECIPES)
    load = os.getloadavg()[0]
    parts: dict[str, Any] = (
        json.loads(arguments.onto.read_text())["parts"] if arguments.onto else {}
    )
    if "overhead" in chosen:
        parts["overhead"] = overhead(arguments.iterations, arguments.rounds)
    for recipe in recipes:
        if "verb" in chosen:
            parts[f"verb {recipe}"] = verb(recipe, arguments.iterations // 2, 3)
        if "options" in chosen:
            parts[f"options {recipe}"] = options(recipe, arguments.rounds)
    result = {
        "what": "engine",
        "cpu": cpu_name(),
        "gpus": gpu_names(),
        "cores": core_count(),
        "threads": torch.get_num_threads(),
        "load_before": load,
        "versions": versions(("torch", "torchvision", "mmengine")),
        "parts": parts,
        "claims": claims(parts),
    }
    name = f"engine_{core_count()}cores_{time.strftime('%Y-%m-%d')}.json"
    path = arguments.out or HERE / "results" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print_parts(parts)
    print(json.dumps(result["claims"], indent=1))
    return 0 if all(result["claims"].values()) else 1


def claims(parts: dict[str, Any]) -> dict[str, bool]:
    """What issue 8 promises, of the parts that ran."""
    found = {}
    if "overhead" in parts:
        found["the engine adds less than 1 ms an iteration"] = (
            parts["overhead"]["added_milliseconds"] < 1
        )
    for name, part in parts.items():
        if name.startswith("verb "):
            found[f"{name}: at least .95 of the bare step"] = part["ratio"] >= 0.95
    return found


def overhead(iterations: int, rounds: int) -> dict[str, Any]:
    """The same updates by the engine and by a bare loop, in turns."""
    words = [*TINY, f"train.iterations={iterations}", "train.checkpoint_every=1000000"]
    config = load_config(CHECKOUT / RECIPES[0], words)
    batches = list(itertools.islice(training_batches(config), KEPT))
    ours, bare = [], []
    for _ in range(rounds + 1):  # the first round warms up
        bare.append(bare_seconds(config, batches, iterations))
        ours.append(engine_seconds(config, batches, iterations))
    added = [1000 * (mine - theirs) for mine, theirs in zip(ours[1:], bare[1:], strict=True)]
    return {
        "iterations": iterations,
        "bare_milliseconds": 1000 * statistics.median(bare[1:]),
        "engine_milliseconds": 1000 * statistics.median(ours[1:]),
        "added_milliseconds": statistics.median(added),
        "added_by_round": added,
    }


def engine_seconds(config: RunConfig, batches: list[Batch], iterations: int) -> float:
    """Median seconds of an iteration of the engine."""
    moments: list[float] = []

    def endless(start: int) -> Iterator[Batch]:
        for batch in itertools.cycle(batches):
            moments.append(time.perf_counter())
            yield batch

    with tempfile.TemporaryDirectory() as folder:
        Fit(
            network(config),
            endless,
            Path(folder),
            plan_of(config),
            sinks=[lambda row: None],
            validate=lambda detector, iteration: {},
        ).run()
    return median_step(moments)


def bare_seconds(config: RunConfig, batches: list[Batch], iterations: int) -> float:
    """Median seconds of an iteration that is only the training itself."""
    step = bare_step(config)
    moments = []
    for batch in itertools.islice(itertools.cycle(batches), iterations):
        moments.append(time.perf_counter())
        step(batch)
    return median_step(moments)


def bare_step(config: RunConfig) -> Callable[[Batch], None]:
    """Forward, loss, backward and update in the recipe's arithmetic, and nothing else."""
    plan, detector = plan_of(config), network(config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    memory = torch.channels_last if plan.channels_last else torch.contiguous_format
    detector = detector.to(device, memory_format=memory).train()
    detector.classification_loss = plan.loss.at(0.0)
    optimizer = build_optimizer(plan.optimizer, detector)
    clip, low = plan.optimizer.clip_norm, LOW.get(plan.precision)
    if plan.compile:
        compile_parts(detector)

    def step(batch: Batch) -> None:
        batch = to_device(batch, device, plan.channels_last)
        with torch.autocast(device.type, low, enabled=low is not None):
            output = detector(detector.normalise(batch.images_BCHW, batch.content_B2))
            total = detector.loss(output, batch, 0).total
        total.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(detector.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def verb(recipe: str, iterations: int, rounds: int) -> dict[str, Any]:
    """Whole runs of the recipe as processes and its step alone on the same images, in turns; and
    loading those images alone.
    """
    words = [f"train.iterations={iterations}", "train.validate_every=null", "tracking.wandb=off"]
    config = load_config(CHECKOUT / recipe, words)
    step, images = bare_step(config), config.train.batch_size
    batches = training_batches(config)
    whole, runs, bares, loads = [], [], [], []
    for _ in range(rounds):
        seconds, run = one_run(recipe, words)
        whole.append(seconds)
        runs.append(run)
        steps, waits = [], []
        for _ in range(iterations):
            began = time.perf_counter()
            batch = next(batches)
            loaded = time.perf_counter()
            step(batch)
            waits.append(loaded - began)
            steps.append(time.perf_counter() - loaded)
        bares.append(statistics.median(steps[len(steps) // 5 :]))
        loads.append(statistics.median(waits[len(waits) // 5 :]))
    return {
        "iterations": iterations,
        "rounds": rounds,
        "whole_run_seconds": statistics.median(whole),
        "images_per_second_of_the_verb": images / statistics.median(runs),
        "images_per_second_of_the_bare_step": images / statistics.median(bares),
        "images_per_second_of_loading": images / statistics.median(loads),
        "ratio": statistics.median(bare / run for bare, run in zip(bares, runs, strict=True)),
        "ratio_by_round": [bare / run for bare, run in zip(bares, runs, strict=True)],
    }


def one_run(recipe: str, words: list[str]) -> tuple[float, float]:
    """Seconds of a whole run as a process, and of an iteration in its middle."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "experiments", "train", "--config", recipe, "--out", folder, *words]
        began = time.perf_counter()
        subprocess.run([sys.executable, *command], cwd=CHECKOUT, check=True, capture_output=True)
        whole = time.perf_counter() - began
        record = json.loads((Path(folder) / "record.json").read_text())
    return whole, median_step([row["seconds"] for row in record["curves"]])


def options(recipe: str, rounds: int) -> dict[str, Any]:
    """Milliseconds of a bare step under each combination, in turns on the same batches."""
    contenders = {}
    base = load_config(CHECKOUT / recipe)
    batches = list(itertools.islice(training_batches(base), KEPT))
    for precision, last, compiled in itertools.product(
        ("float32", "bfloat16"), (False, True), (False, True)
    ):
        words = [
            f"train.precision={precision}",
            f"train.channels_last={str(last).lower()}",
            f"train.compile={str(compiled).lower()}",
        ]
        name = precision + (", channels last" if last else "") + (", compiled" if compiled else "")
        contenders[name] = bare_step(load_config(CHECKOUT / recipe, words))
    warming = {name: seconds_of(step, batches) for name, step in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, step in contenders.items():
            times[name].append(seconds_of(step, batches))
    first = next(iter(contenders))
    return {
        name: {
            "milliseconds": 1000 * statistics.median(each),
            "times_faster": statistics.median(
                theirs / mine for theirs, mine in zip(times[first], each, strict=True)
            ),
            "first_steps_seconds": warming[name] * len(batches),
        }
        for name, each in times.items()
    }


def seconds_of(step: Callable[[Batch], None], batches: list[Batch]) -> float:
    """Mean seconds of a step over `batches`."""
    began = time.perf_counter()
    for batch in batches:
        step(batch)
    return (time.perf_counter() - began) / len(batches)


def training_batches(config: RunConfig) -> Iterator[Batch]:
    """The recipe's training batches."""
    splits = open_splits(config)
    return iter(batches_from(config, splits.train, network(config), 0))


def network(config: RunConfig) -> Any:
    """The recipe's detector for its own classes."""
    return build_detector(config, open_splits(config).train.classes)


def plan_of(config: RunConfig) -> Plan:
    """The recipe's plan, without validations and with one row flush at the end of a loop."""
    plan = fit_plan(config, open_splits(config).train.classes, config.loss)
    return dataclasses.replace(plan, validate_every=None)


def median_step(moments: list[float]) -> float:
    """Median distance of moments, the first fifth left out."""
    steps = [later - sooner for sooner, later in itertools.pairwise(moments)]
    return statistics.median(steps[len(steps) // 5 :])


def print_parts(parts: dict[str, Any]) -> None:
    """Each part in a few lines."""
    for name, part in parts.items():
        print(f"\n{name}")
        for key, value in part.items():
            if isinstance(value, dict):
                told = f"{value['milliseconds']:9.2f} ms{value['times_faster']:7.2f}x"
                print(f"  {key:40}{told}")
            elif isinstance(value, list):
                print(f"  {key:40}" + ", ".join(f"{each:.3f}" for each in value))
            else:
                print(f"  {key:40}{value:9.3f}")


if __name__ == "__main__":
    sys.exit(main())
