"""What is measured of `train` as a process: its start, its throughput, the memory it keeps."""

import itertools
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.bare import CHECKOUT, bare_step
from datasets.sample import Batch
from experiments.config.run import load_config
from experiments.record.record import CURVES_FILE, read_curves
from experiments.run import tape as tape_room
from experiments.run import training as training_room
from experiments.run.assembly import batches_from

SLICES, SLICE_SECONDS = 16, 3.0  # of each of two processes, in turns
ENDLESS = "train.iterations=100000"
PLAIN = "import sys; from experiments.__main__ import main; sys.exit(main())"
GIVING_BACK = f"""
from experiments.engine import machine
machine.keep_freed_memory = bool
{PLAIN}
"""
QUIET = ("train.validate_every=null", "tracking.wandb=off")


def start(recipe: str, rounds: int) -> dict[str, Any]:
    """Seconds from the command to the line of its first iteration, and of `import torch` alone in
    a process, in turns.
    """
    ours, torch_alone = [], []
    for _ in range(rounds + 1):  # the first round brings the files into the cache
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        torch_alone.append(time.perf_counter() - began)
        began = time.perf_counter()
        with training(recipe, ()):
            ours.append(time.perf_counter() - began)
    return {
        "rounds": rounds,
        "seconds": statistics.median(ours[1:]),
        "seconds_by_round": ours[1:],
        "import_torch_seconds": statistics.median(torch_alone[1:]),
        "import_torch_seconds_by_round": torch_alone[1:],
    }


def verb(recipe: str, iterations: int) -> dict[str, Any]:
    """A whole run in this process, whose iterations (loading included) take turns with its bare
    step on the batch that was just trained on: two processes of the same program differ by up to
    8 % here, whatever they do.
    """
    config = load_config(CHECKOUT / recipe, [*QUIET, f"train.iterations={iterations}"])
    step, images = bare_step(config), config.train.batch_size
    steps: list[float] = []
    waits: list[float] = []
    runs: list[float] = []

    def in_turns(*arguments: Any) -> Iterator[Batch]:
        batches = iter(batches_from(*arguments))
        while True:
            began = time.perf_counter()
            batch = next(batches)
            loaded = time.perf_counter()
            yield batch
            ended = time.perf_counter()
            step(batch)
            waits.append(loaded - began)
            runs.append(ended - began)
            steps.append(time.perf_counter() - ended)

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(tape_room, "batches_from", in_turns),
    ):
        training_room.train_run(config, Path(folder) / "run")
    warm = len(runs) // 5
    pairs = list(zip(steps[warm:], runs[warm:], strict=True))
    ratios = sorted(bare / run for bare, run in pairs)
    return {
        "iterations": len(pairs),
        "images_per_second_of_the_verb": images / statistics.median(runs[warm:]),
        "images_per_second_of_the_bare_step": images / statistics.median(steps[warm:]),
        "images_per_second_of_loading": images / statistics.median(waits[warm:]),
        "ratio": statistics.median(ratios),
        "ratio_quartiles": statistics.quantiles(ratios, n=4),
    }


def memory(recipe: str) -> dict[str, Any]:
    """The recipe in two processes, one of which doesn't keep freed memory, in turns of seconds."""
    with (
        training(recipe, (*QUIET, ENDLESS)) as keeps,
        paused(keeps),
        training(recipe, (*QUIET, ENDLESS), GIVING_BACK) as gives_back,
        paused(gives_back),
    ):
        processes = {"kept": keeps, "given_back": gives_back}
        for _ in range(SLICES):
            for process in processes.values():
                process.send_signal(signal.SIGCONT)
                time.sleep(SLICE_SECONDS)
                process.send_signal(signal.SIGSTOP)
        seconds = {name: statistics.median(iterations_of(p)) for name, p in processes.items()}
        found: dict[str, Any] = {"slices": SLICES}
        for name, process in processes.items():
            found[f"milliseconds_{name}"] = 1000 * seconds[name]
            found[f"page_faults_an_iteration_start_included_{name}"] = faults(process) / len(
                iterations_of(process)
            )
            found[f"peak_MiB_{name}"] = peak_mib(process)
    found["times_faster"] = seconds["given_back"] / seconds["kept"]
    return found


def iterations_of(process: "subprocess.Popen[str]") -> list[float]:
    """Seconds of each iteration of a process of `training` that its curves know of."""
    path = Path(process.args[-1]) / CURVES_FILE  # type: ignore[arg-type,index]
    points, *_ = read_curves(path, most=sys.maxsize)
    seconds = [float(point["seconds"] or 0) for point in points]
    return [later - sooner for sooner, later in itertools.pairwise(seconds)]


def faults(process: "subprocess.Popen[str]") -> int:
    """Pages that the process had to get from the system so far (proc(5), minflt)."""
    words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[7])


def peak_mib(process: "subprocess.Popen[str]") -> float:
    """The most memory that the process held."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@contextmanager
def paused(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Stopped after a few iterations, until it is told to go on."""
    time.sleep(SLICE_SECONDS)
    process.send_signal(signal.SIGSTOP)
    yield


@contextmanager
def training(
    recipe: str, words: tuple[str, ...], code: str = PLAIN
) -> Iterator["subprocess.Popen[str]"]:
    """`train` in a folder of its own, from its first iteration on; killed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "run")
        command = ["-c", code, "train", "--config", recipe, *words, "--out", place]
        process = subprocess.Popen(
            [sys.executable, *command], cwd=CHECKOUT, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stderr is not None
            told = "".join(itertools.takewhile(lambda line: ": 1/" not in line, process.stderr))
            if process.poll() is not None:
                raise RuntimeError(told)
            yield process
        finally:
            process.kill()
            process.wait()
