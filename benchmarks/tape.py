"""A sweep of six arms of one seed with the tape of its frozen backbone, beside the same without.

    python -m benchmarks.tape data.root=PATH/VOC-animals --parts steps sweeps
    python -m benchmarks.tape data.root=PATH/VOC-animals --iterations 1500 --recipes yolov2

Part `steps`: milliseconds of CPU time of a training step's pieces, of one thread (a busy machine
tells the same), the median. Part `sweeps`: what a user runs, `python -m experiments sweep FILE`,
starts, loading, evaluation and records included. The animals recipes are scaled down whole: of
1,500 iterations, of the images trained on and of those measured on, the same share is taken, unless
`--share` says otherwise (a study of configs/studies: 750 or 600 iterations, `--share 1`). What is
fixed, a sweep's and a trial's start, weighs more in a part than in the whole, to the tape's
disadvantage. Seconds are wall-clock time and CPU time of all processes; on a busy machine only the
latter tells. Results are compared bit for bit: weights, detections, metrics and curves. The JSON
goes to benchmarks/results/tape_<instructions>_<date>.json, over what an earlier call filed there.
"""

import argparse
import functools
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks import filing
from datasets.sample import Batch
from detectors.base import AnyDetector
from experiments.config.run import RunConfig, load_config
from experiments.engine.arithmetic import (
    choose,
    device_here,
    placed,
    to_device,
)
from experiments.engine.averaging import Average
from experiments.engine.checkpoint import newest_good
from experiments.engine.fit import EMA_WARMUP
from experiments.engine.frames import (
    Frame,
    encoded,
    labels_of,
    output_of,
    read_frame,
    write_whole,
)
from experiments.engine.optimizer import build_optimizer
from experiments.engine.playing import beginning
from experiments.record.origin import core_count
from experiments.record.record import load_record
from experiments.run.assembly import TrainingBatches, build_detector, open_splits

HERE = Path(__file__).parent
CHECKOUT = HERE.parent
WHOLE = 1500  # iterations of the recipes
GAMMAS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)
BARS = {"yolov2": 2.2, "retinanet": 1.4}
RECIPE = "configs/voc/animals_{}_lite0_focal.yaml"
SWEEP = """
name: tape
method: grid
metric: {{name: voc07_map, goal: maximize}}
command: ["${{interpreter}}", -m, experiments, train, "${{args_no_hyphens}}"]
parameters:
  config: {{value: {recipe}}}
  data.root: {{value: {root}}}
  train.iterations: {{value: {iterations}}}
  tracking.wandb: {{value: "off"}}
  seed: {{value: 0}}
  loss.gamma: {{values: {gammas}}}
"""
WAYS = {"without": ("--tape-gib", "0"), "with": ()}
TIMED = ("seconds", "images_per_second")
STEPS, WARM = 15, 3  # steps that are timed, and how many of them are left out


def main() -> int:
    """Run the parts asked for, print and file what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", metavar="data.root=PATH", help="the data set, as for train")
    parser.add_argument("--parts", nargs="+", choices=("steps", "sweeps"), default=["sweeps"])
    parser.add_argument("--recipes", nargs="+", choices=tuple(BARS), default=list(BARS))
    parser.add_argument("--iterations", type=int, default=150, help="of each trial (150)")
    parser.add_argument("--share", type=float, help="of the images (as of the iterations)")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time (1)")
    parser.add_argument("--out", type=Path, help="the JSON (default: benchmarks/results/..)")
    arguments = parser.parse_args()
    root = Path(arguments.root.removeprefix("data.root=")).absolute()
    path = filing.path_of("tape", arguments.out)
    parts = filing.parts_at(path)
    load, status = os.getloadavg()[0], 0
    for part, detector in itertools.product(arguments.parts, arguments.recipes):
        if part == "steps":
            found = steps(detector, root)
        else:
            runs = CHECKOUT / "runs"  # on a disk: /tmp may lie in memory
            runs.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=runs) as folder:
                found = sweeps(detector, root, Path(folder), arguments)
        parts.setdefault(part, {})[detector] = found
        print(part, detector, json.dumps(found, indent=1), flush=True)
        status = filing.file_result(
            path,
            "tape",
            load=load,
            packages=("torch", "torchvision", "timm"),
            parts=parts,
            claims=claims(parts.get("sweeps", {})),
        )
    return status


def steps(detector: str, root: Path) -> dict[str, float]:
    """Milliseconds of CPU time: loading, a whole step on a batch, and a step's pieces by a tape."""
    torch.set_num_threads(1)
    words = [f"data.root={root}", "train.cache_images=no"]
    config = load_config(CHECKOUT / RECIPE.format(detector), words)
    splits = open_splits(config)
    network = build_detector(config, splits.train.classes)
    arithmetic = choose(config.train, network, device_here())
    step = stepping(config, placed(network, device_here(), arithmetic).train())
    begin = beginning(network, arithmetic)
    times: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        began = time.process_time()
        found = call()
        times.setdefault(name, []).append(1000 * (time.process_time() - began))
        return found

    batches = iter(TrainingBatches(config, splits.train, network).stream(range(STEPS)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame"
        for number in range(STEPS):
            batch = to_device(timed("load", lambda: next(batches)), device_here(), arithmetic)
            timed("whole step", functools.partial(step, batch))
            frame = timed("frozen front", functools.partial(begin, batch))
            write = functools.partial(written, path, frame, number)
            timed("write frame", write)
            frame = timed("read frame", functools.partial(read_frame, path, "", number))
            timed("rest of step", functools.partial(step, frame))
    found = {name: statistics.median(each[WARM:]) for name, each in times.items()}
    replayed = found["read frame"] + found["rest of step"]
    first = found["load"] + found["frozen front"] + found["write frame"] + found["rest of step"]
    without = found["load"] + found["whole step"]
    six = len(GAMMAS) * without / (first + (len(GAMMAS) - 1) * replayed)
    return {**found, "replayed, times faster": without / replayed, "six arms, times faster": six}


def stepping(config: RunConfig, network: AnyDetector) -> Callable[[Batch | Frame], None]:
    """A training step of the recipe, as the engine takes it."""
    network.classification_loss = config.loss.at(0.0)
    optimizer = build_optimizer(config.optimizer, network)
    assert config.train.ema is not None and config.optimizer.clip_norm is not None
    average = Average(network, momentum=1 - config.train.ema, gamma=EMA_WARMUP)
    norm = config.optimizer.clip_norm

    def step(fed: Batch | Frame) -> None:
        network.loss(output_of(network, fed), labels_of(fed)).total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), norm)
        optimizer.step()
        optimizer.zero_grad()
        average.update_parameters(network)

    return step


def written(path: Path, frame: Frame, number: int) -> None:
    """Put a frame on the disk."""
    write_whole(path, encoded(frame, "", number))


def sweeps(detector: str, root: Path, folder: Path, how: argparse.Namespace) -> dict[str, Any]:
    """The sweep of one detector without and with tapes."""
    iterations, jobs = how.iterations, how.jobs
    share = min(1.0, how.share or iterations / WHOLE)
    data = part_of(root, folder / "data", share)
    recipe = RECIPE.format(detector)
    file = folder / "sweep.yaml"
    file.write_text(
        SWEEP.format(recipe=recipe, root=data, iterations=iterations, gammas=list(GAMMAS))
    )
    walls, busy = zip(
        *(swept(file, folder / way, jobs, words) for way, words in WAYS.items()), strict=True
    )
    training = [statistics.median(trained(folder / way / "trials")) for way in WAYS]
    return {
        "seconds without": walls[0],
        "seconds with": walls[1],
        "times as fast": walls[0] / walls[1],
        "CPU seconds without": busy[0],
        "CPU seconds with": busy[1],
        "times less CPU time": busy[0] / busy[1],
        "seconds of training without": training[0],
        "seconds of training with": training[1],
        "same bits": equal(folder / "without/trials", folder / "with/trials"),
        "arms": len(GAMMAS),
        "iterations": iterations,
        "share of the images": share,
        "jobs": jobs,
        "threads": os.environ.get("OMP_NUM_THREADS", str(core_count() // jobs)),
    }


def trained(trials: Path) -> list[float]:
    """Each trial's seconds in iterations."""
    return [load_record(path).seconds.train for path in sorted(trials.iterdir())]


def part_of(root: Path, made: Path, share: float) -> Path:
    """The data set with the first images of each list, this share of them."""
    lists = made / "ImageSets/Main"
    lists.mkdir(parents=True)
    for name in ("JPEGImages", "Annotations"):
        (made / name).symlink_to(root / name)
    for path in (root / "ImageSets/Main").glob("*.txt"):
        lines = path.read_text().splitlines()
        kept = lines[: max(1, round(share * len(lines)))]
        (lists / path.name).write_text("\n".join(kept) + "\n")
    return made


def swept(file: Path, out: Path, jobs: int, words: tuple[str, ...]) -> tuple[float, float]:
    """One sweep: its wall-clock seconds, and the CPU seconds of all its processes."""
    command = [sys.executable, "-m", "experiments", "sweep", str(file), "--out", str(out)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(
        [*command, "--jobs", str(jobs), *words], cwd=CHECKOUT, stderr=subprocess.DEVNULL
    )
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{out}: the sweep ended with {done.returncode}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def equal(one: Path, other: Path) -> bool:
    """Whether all trials of two sweeps ended with the same bits."""
    names = sorted(path.name for path in one.iterdir())
    return names == sorted(path.name for path in other.iterdir()) and all(
        same_run(one / name, other / name) for name in names
    )


def same_run(one: Path, other: Path) -> bool:
    """Weights, average, metrics, detections and curves, times apart."""
    left, right = (load_record(path) for path in (one, other))
    rows = [
        [{key: row[key] for key in row if key not in TIMED} for row in record.curves]
        for record in (left, right)
    ]
    states = [newest_good(path / "checkpoints") for path in (one, other)]
    assert states[0] is not None and states[1] is not None
    return (
        all(same(states[0][1][name], states[1][1][name]) for name in ("detector", "average"))
        and rows[0] == rows[1]
        and (left.metrics, left.files) == (right.metrics, right.files)
    )


def same(one: Any, other: Any) -> bool:
    """Whether two states hold the same tensors."""
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)


def claims(found: Mapping[str, Any]) -> dict[str, bool | None]:
    """The bars, as far as they were tried."""
    told: dict[str, bool | None] = {}
    for name, bar in BARS.items():
        claim = f"{name}: six arms of one seed are {bar} times as fast with a tape, all included"
        told[claim] = found[name]["times as fast"] >= bar if name in found else None
    whole = all(part["same bits"] for part in found.values()) if found else None
    return {**told, "weights, detections, metrics and curves are the same bits": whole}


if __name__ == "__main__":
    raise SystemExit(main())
