"""A sweep of six arms of one seed with the tape of its frozen backbone, beside the same without.

    python -m benchmarks.tape data.root=PATH/VOC-animals
    python -m benchmarks.tape data.root=PATH/VOC-animals --iterations 1500 --recipes yolov2

Both are what a user runs, `python -m experiments sweep FILE`, starts, loading, evaluation and
records included. The animals recipes are scaled down whole: of 1,500 iterations, of the images
trained on and of those measured on, the same share is taken. What is fixed, a trial's start, then
weighs more than in a whole study, to the tape's disadvantage. Seconds are wall-clock time and CPU
time of all processes; on a busy machine only the latter tells. Results are compared bit for bit:
weights, detections, metrics and curves. The JSON goes to
benchmarks/results/tape_<instructions>_<date>.json, over what an earlier call filed there.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from experiments.engine.arithmetic import computes_bfloat16, device_here
from experiments.engine.checkpoint import newest_good
from experiments.record.origin import core_count, cpu_name, gpu_names, versions
from experiments.record.record import load_record

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


def main() -> int:
    """Run both sweeps of each recipe, print and file what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", metavar="data.root=PATH", help="the data set, as for train")
    parser.add_argument("--recipes", nargs="+", choices=tuple(BARS), default=list(BARS))
    parser.add_argument("--iterations", type=int, default=150, help="of each trial (150)")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time (1)")
    parser.add_argument("--out", type=Path, help="the JSON (default: benchmarks/results/..)")
    arguments = parser.parse_args()
    _, instructions = computes_bfloat16(device_here())
    name = f"tape_{instructions.split()[0].lower()}_{time.strftime('%Y-%m-%d')}.json"
    path = arguments.out or HERE / "results" / name
    parts = json.loads(path.read_text())["parts"] if path.is_file() else {}
    load = os.getloadavg()[0]
    for detector in arguments.recipes:
        with tempfile.TemporaryDirectory(dir=CHECKOUT / "runs" if keeps() else None) as folder:
            root = Path(arguments.root.removeprefix("data.root=")).absolute()
            found = both(detector, root, Path(folder), arguments.iterations, arguments.jobs)
        parts[detector] = found
        print(detector, json.dumps(found, indent=1))
        result = {
            "what": "tape",
            "cpu": cpu_name(),
            "gpus": gpu_names(),
            "cores": core_count(),
            "threads": os.environ.get("OMP_NUM_THREADS", str(torch.get_num_threads())),
            "instructions": instructions,
            "load_before": load,
            "versions": versions(("torch", "torchvision", "timm")),
            "parts": parts,
            "claims": claims(parts),
        }
        path.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def keeps() -> bool:
    """Whether there is a folder for runs: a temporary one may lie in memory."""
    return (CHECKOUT / "runs").is_dir()


def both(detector: str, root: Path, folder: Path, iterations: int, jobs: int) -> dict[str, Any]:
    """The sweep of one detector without and with tapes."""
    data = part_of(root, folder / "data", min(1.0, iterations / WHOLE))
    recipe = RECIPE.format(detector)
    file = folder / "sweep.yaml"
    file.write_text(
        SWEEP.format(recipe=recipe, root=data, iterations=iterations, gammas=list(GAMMAS))
    )
    rows = {way: timed(file, folder / way, jobs, words) for way, words in WAYS.items()}
    wall, busy = ([rows[way][kind] for way in WAYS] for kind in ("seconds", "cpu_seconds"))
    training = {way: trained(folder / way / "trials") for way in WAYS}
    return {
        **rows,
        "times as fast": wall[0] / wall[1],
        "times less CPU time": busy[0] / busy[1],
        "arms": len(GAMMAS),
        "iterations": iterations,
        "jobs": jobs,
        "megabytes_a_batch": rows["with"].pop("megabytes_a_batch"),
        "seconds_of_training": training,
        "equal": equal(folder / "without/trials", folder / "with/trials"),
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


def timed(file: Path, out: Path, jobs: int, words: tuple[str, ...]) -> dict[str, Any]:
    """One sweep: wall-clock and CPU seconds, and how large a batch is on its tape."""
    command = [sys.executable, "-m", "experiments", "sweep", str(file), "--out", str(out)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--jobs", str(jobs), *words], cwd=CHECKOUT, stderr=subprocess.DEVNULL
    )
    size = 0.0
    while process.poll() is None:
        time.sleep(1)
        frame = next((p for p in out.glob("tape/*-train-*/*/*") if p.name.isdigit()), None)
        if frame is not None and not size:
            size = frame.stat().st_size / 1e6
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise RuntimeError(f"{out}: the sweep ended with {process.returncode}")
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu_seconds": busy, "megabytes_a_batch": size}


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


def claims(parts: Mapping[str, Any]) -> dict[str, bool]:
    """The bars, as far as they were tried."""
    found = {
        f"{name}: {len(GAMMAS)} arms of one seed are {BARS[name]} times as fast with a tape": (
            part["times as fast"] >= BARS[name]
        )
        for name, part in parts.items()
    }
    whole = all(part["equal"] for part in parts.values())
    return {**found, "weights, detections, metrics and curves are the same bits": whole}


if __name__ == "__main__":
    raise SystemExit(main())
