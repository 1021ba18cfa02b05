"""Claims about the training engine: what it adds to a bare loop, and what its options gain.

    python -m benchmarks.engine
    python -m benchmarks.engine --part options --config configs/glyphs/yolov2_focal.yaml

overhead    milliseconds an iteration of the engine (schedules, rows, guards, average off) beyond
            forward, loss, backward and update written out in a loop, on a network so small that
            nothing hides
start       seconds from the command `train` to the line that tells of its first iteration
verb        images a second in the middle of a run as `train` makes it, loading included, over
            those of its bare step on the same batches
memory      a step's time and the process's peak memory with freed memory kept, as `train` does on
            a CPU, and given back to the system, as glibc does
options     a step in float32, bfloat16, with and without channels_last, compiled or not

Contenders run in turns; a number is the median. The JSON goes to
benchmarks/results/engine_<instructions>_<date>.json. Run it on a quiet machine.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import filing
from benchmarks.bare import (
    CHECKOUT,
    RECIPES,
    bare_step,
    network,
    task_of,
    training_batches,
)
from benchmarks.engine_process import memory, start, verb
from datasets.sample import Batch
from experiments.config.run import load_config
from experiments.engine.fit import Fit

HERE = Path(__file__).parent
PARTS = ("overhead", "start", "verb", "memory", "options")
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
        parts["overhead"] = overhead(2 * arguments.iterations)
    for recipe in recipes:
        if "start" in chosen:
            parts[f"start {recipe}"] = start(recipe, arguments.rounds)
        if "verb" in chosen:
            parts[f"verb {recipe}"] = verb(recipe, 2 * arguments.iterations)
        if "memory" in chosen:
            parts[f"memory {recipe}"] = memory(recipe)
        if "options" in chosen:
            parts[f"options {recipe}"] = options(recipe, arguments.rounds)
    found, packages = claims(parts), ("torch", "torchvision", "mmengine")
    path = filing.path_of("engine", arguments.out)
    status = filing.file_result(
        path, "engine", load=load, packages=packages, parts=parts, claims=found
    )
    print_parts(parts)
    print(json.dumps(found, indent=1))
    return status


def claims(parts: dict[str, Any]) -> dict[str, bool]:
    """What is promised of the parts that ran."""
    found = {}
    if "overhead" in parts:
        found["the engine adds less than 1 ms an iteration"] = (
            parts["overhead"]["added_milliseconds"] < 1
        )
    for name, part in parts.items():
        if name.startswith("verb "):
            found[f"{name}: at least .95 of the bare step"] = part["ratio"] >= 0.95
        if name.startswith("start "):
            found[f"{name}: first iteration in less than 4 s"] = part["seconds"] < 4
    return found


def overhead(iterations: int) -> dict[str, Any]:
    """Updates by the engine and written out, in turns on the same batches."""
    words = [*TINY, f"train.iterations={iterations}", "train.checkpoint_every=1000000"]
    config = load_config(CHECKOUT / RECIPES[0], words)
    batches = list(itertools.islice(training_batches(config), KEPT))
    step = bare_step(config)
    ours: list[float] = []
    bare: list[float] = []

    def in_turns(start: int) -> Iterator[Batch]:
        for batch in itertools.cycle(batches):
            began = time.perf_counter()
            yield batch
            ended = time.perf_counter()
            step(batch)
            ours.append(ended - began)
            bare.append(time.perf_counter() - ended)

    with tempfile.TemporaryDirectory() as folder:
        detector = network(config)
        Fit(
            detector,
            in_turns,
            Path(folder),
            task_of(config, detector),
            sinks=[lambda row: None],
            validate=lambda detector, iteration: {},
        ).run()
    warm = len(ours) // 5
    added = [1000 * (mine - its) for mine, its in zip(ours[warm:], bare[warm:], strict=True)]
    return {
        "iterations": len(added),
        "bare_milliseconds": 1000 * statistics.median(bare[warm:]),
        "engine_milliseconds": 1000 * statistics.median(ours[warm:]),
        "added_milliseconds": statistics.median(added),
        "added_quartiles": statistics.quantiles(added, n=4),
    }


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
