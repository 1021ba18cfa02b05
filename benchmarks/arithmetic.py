"""What a training step costs in each arithmetic: what `train.precision: auto` and
`train.channels_last: auto` are chosen by.

    python -m benchmarks.arithmetic configs/glyphs/yolov2_focal.yaml configs/bccd/..
    python -m benchmarks.arithmetic configs/bccd/yolov2_focal.yaml data.root=PATH/BCCD --threads 1
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python -m benchmarks.arithmetic ..

The last is the same machine as if it were a lesser one. Forward, loss, backward and update of the
recipe's own batches, written out; contenders run in turns on the same batches, each round in
another order. Milliseconds are CPU time, and the figure is the least of all rounds: what else runs
on a machine only ever adds to it, by a tenth and more where caches are shared, so that medians of a
busy one do not tell two layouts apart. The JSON goes to
benchmarks/results/arithmetic_<instructions>_<date>.json, over what an earlier call filed there.
"""

import argparse
import dataclasses
import itertools
import math
import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks import filing
from benchmarks.bare import bare_step, network, training_batches
from datasets.sample import Batch
from experiments.config.resolve import parse_words
from experiments.config.run import Recipes
from experiments.engine.arithmetic import choose, device_here
from experiments.record.origin import core_count

AUTO: dict[str, Any] = {"precision": "auto", "channels_last": "auto"}
CONTENDERS = {
    "float32": ("train.precision=float32", "train.channels_last=false"),
    "float32, channels last": ("train.precision=float32", "train.channels_last=true"),
    "bfloat16": ("train.precision=bfloat16", "train.channels_last=false"),
    "bfloat16, channels last": ("train.precision=bfloat16", "train.channels_last=true"),
}


def main() -> int:
    """Time the recipes named, print and file what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="+", help="recipes, and key=value for all of them")
    parser.add_argument("--batches", type=int, default=2, help="that contenders run on (2)")
    parser.add_argument("--rounds", type=int, default=5, help="of each contender (5)")
    parser.add_argument("--threads", type=int, default=core_count(), help="of torch (all cores)")
    parser.add_argument("--only", default="", help="contenders with this in their name (all)")
    parser.add_argument("--out", type=Path, help="the JSON (default: benchmarks/results/..)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    words = [word for word in arguments.words if "=" in word]
    path = filing.path_of("arithmetic", arguments.out)
    parts = filing.parts_at(path)
    load = os.getloadavg()[0]
    for recipe in (word for word in arguments.words if "=" not in word):
        found = steps(Path(recipe), words, arguments)
        parts[" ".join((recipe, *shown(words)))] = found
        print(recipe, found)
    packages = ("torch", "torchvision")
    return filing.file_result(
        path, "arithmetic", load=load, packages=packages, parts=parts, claims=claims(parts)
    )


def shown(words: list[str]) -> list[str]:
    """The words without where the data lie, which is the machine's business."""
    return [word for word in words if not word.startswith("data.root=")]


def steps(recipe: Path, words: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of CPU time of a step in each arithmetic, and which one `auto` takes."""
    read = Recipes()
    base = read.resolve(recipe, parse_words(words)).config
    batches = list(itertools.islice(training_batches(base), options.batches))
    contenders = {
        name: bare_step(read.resolve(recipe, parse_words([*words, *more])).config)
        for name, more in CONTENDERS.items()
        if options.only in name
    }
    least = {name: [math.inf] * len(batches) for name in contenders}
    names = list(contenders)
    for turn in range(options.rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds = [busy(contenders[name], batch) for batch in batches]
            if turn:  # the first turn warms up
                least[name] = list(map(min, least[name], seconds))
    auto = choose(dataclasses.replace(base.train, **AUTO), network(base), device_here())
    chosen = auto.precision + (", channels last" if auto.channels_last else "")
    found = {name: 1000 * statistics.mean(each) for name, each in least.items()}
    return {"images": len(batches[0].image_ids), **found, "auto": chosen}


def claims(parts: Mapping[str, Any]) -> dict[str, bool]:
    """Whether `auto` takes what was measured to be fast."""
    best = [
        min(value for name, value in row.items() if name in CONTENDERS) for row in parts.values()
    ]
    taken = [row.get(row["auto"], math.inf) for row in parts.values()]
    within = all(mine <= 1.05 * least for mine, least in zip(taken, best, strict=True))
    return {"auto takes the fastest arithmetic, or one within 5 % of it": within}


def busy(step: Any, batch: Batch) -> float:
    """CPU seconds of one step."""
    began = time.process_time()
    step(batch)
    return time.process_time() - began


if __name__ == "__main__":
    raise SystemExit(main())
