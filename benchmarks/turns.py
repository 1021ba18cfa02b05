"""What several benchmarks share: contenders timed in turns, their spread, ceilings of the machine,
one JSON.
"""

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import filing
from datasets.sample import Batch, Placement
from detectors.base import AnyDetector
from experiments.config.train import Train
from experiments.engine.arithmetic import choose, computes_bfloat16, layout_of, placed

RESULTS = Path(__file__).parent / "results"
Contenders = dict[str, Callable[[], Any]]


def in_turns(contenders: Contenders, rounds: int, calls: int = 1) -> dict[str, list[float]]:
    """Seconds of every contender in every round. The order rotates by one each round, so that none
    always follows the same other; of several `calls` in a row the median counts. Each runs once
    beforehand, unmeasured.
    """
    names = list(contenders)
    for name in names:
        contenders[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(statistics.median(timed(contenders[name], calls)))
    return seconds


def timed(function: Callable[[], Any], calls: int) -> list[float]:
    """Seconds of each call."""
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds


def rows(seconds: Mapping[str, list[float]], baseline: str | None) -> dict[str, Any]:
    """Median and quartiles in milliseconds, and how many times faster than the baseline within a
    round (median over rounds).
    """
    return {
        name: {
            "milliseconds": 1000 * statistics.median(times),
            "quartiles": [1000 * value for value in quartiles(times)],
            "times_faster": ratio(seconds[baseline], times) if baseline in seconds else None,
        }
        for name, times in seconds.items()
    }


def quartiles(times: list[float]) -> tuple[float, float]:
    """First and third; the value itself where there is one."""
    if len(times) < 2:
        return times[0], times[0]
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return low, high


def ratio(theirs: list[float], ours: list[float]) -> float:
    """How many times longer theirs took: median of the ratios within rounds."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


def peak_bytes(step: Callable[[], Any]) -> int:
    """Most bytes of tensors alive at once during a step beyond what was alive before it."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        step()
    events = profile.profiler.kineto_results.events()  # the profiler's tables show totals only
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    alive = peak = 0
    for _, change in changes:
        alive += change
        peak = max(peak, alive)
    return peak


def operations(function: Callable[[], Any]) -> int:
    """Floating-point operations of a call; a multiply-add is two."""
    counter = FlopCounterMode(display=False)
    with counter:
        function()
    return counter.get_total_flops()


def ceilings(rounds: int) -> dict[str, float]:
    """GFLOP/s of a large float32 matrix product and of the best of three 3x3 convolutions of
    Darknet-19, alone on the machine.
    """
    left, right = torch.randn(2, 2048, 2048)
    found = {"matrix product": 2 * 2048**3 / statistics.median(timed(lambda: left @ right, rounds))}
    best = 0.0
    for inputs, outputs, side in ((64, 128, 104), (256, 512, 26), (512, 1024, 13)):
        layer = torch.nn.Conv2d(inputs, outputs, 3, padding=1, bias=False).requires_grad_(False)
        maps = torch.randn(1, inputs, side, side)
        layer, maps = (
            layer.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
            maps.contiguous(memory_format=torch.channels_last),
        )
        layer(maps)
        seconds = statistics.median(timed(lambda: layer(maps), rounds))  # noqa: B023
        best = max(best, 2 * 9 * inputs * outputs * side * side / seconds)
    return {name: value / 1e9 for name, value in (found | {"convolution": best}).items()}


def only_computed(calls: Mapping[str, Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """The contenders without bfloat16 where a processor only emulates it, in ten times the time."""
    able, _ = computes_bfloat16(torch.device("cpu"))
    return {name: call for name, call in calls.items() if able or "bfloat16" not in name}


def as_trained(detector: AnyDetector) -> tuple[AnyDetector, torch.memory_format]:
    """The network in training mode and in the layout that recipes train it in here, in float32."""
    device = torch.device("cpu")
    arithmetic = choose(Train(precision="float32"), detector, device)
    return placed(detector.train(), device, arithmetic), layout_of(arithmetic)


def finish(
    what: str,
    parts: Mapping[str, Any],
    claims: Mapping[str, bool | None],
    packages: tuple[str, ...],
    out: Path | None,
    load: float,
) -> int:
    """File the result, print where; 1 if a claim fails."""
    path = filing.path_of(what, out)
    status = filing.file_result(
        path, what, load=load, packages=packages, parts=parts, claims=claims
    )
    print(json.dumps(claims, indent=1))
    print(path)
    return status


def truth_of(images: int, truths: int, side: int, labels: range) -> Batch:
    """Random boxes of 20 px to half the side, in images without pixels."""
    generator = torch.Generator().manual_seed(1)
    sizes = 20 + (side // 2 - 20) * torch.rand(images, truths, 2, generator=generator)
    corners = (side - sizes) * torch.rand(images, truths, 2, generator=generator)
    shape = (images, truths)
    return Batch(
        images_BCHW=torch.zeros(images, 3, 1, 1, dtype=torch.uint8),
        content_B2=torch.full((images, 2), side),
        boxes_BM4=torch.cat((corners, corners + sizes), dim=-1),
        labels_BM=torch.randint(labels.start, labels.stop, shape, generator=generator),
        ignore_BM=torch.zeros(shape, dtype=torch.bool),
        valid_BM=torch.ones(shape, dtype=torch.bool),
        image_ids=("",) * images,
        original_hw=((side, side),) * images,
        placements=(Placement(),) * images,
    )


def load_now() -> float:
    """The machine's load before the benchmark begins."""
    return os.getloadavg()[0]


def print_part(name: str, part: Mapping[str, Any]) -> None:
    """One part as a table."""
    print(f"\n{name}")
    print(f"{'':34}{'ms':>9}{'quartiles':>18}{'faster':>9}{'differs':>10}")
    for contender, row in part["contenders"].items():
        low, high = row["quartiles"]
        faster = "" if row["times_faster"] is None else f"{row['times_faster']:.2f}x"
        differs = row.get("worst_difference")
        print(
            f"{contender:34}{row['milliseconds']:9.1f}{low:9.1f}{high:9.1f}{faster:>9}"
            + ("" if differs is None else f"{differs:10.1e}")
        )
