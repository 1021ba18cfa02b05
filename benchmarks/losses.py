"""Claims about the losses: speed and memory of forward + backward against the peers.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.losses

All contenders run in one process, in turns; a ratio is the median over rounds of the ratio within
a round. Numbers are compared first, then the clock is read. The JSON goes to
benchmarks/results/losses_<instructions>_<date>.json. Run it on a quiet machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import filing
from losses.focal import sigmoid_focal_loss, softmax_focal_loss

warnings.filterwarnings(
    "ignore", message=".*torch.jit"
)  # torchvision and fvcore script as imported
from torchvision.ops import sigmoid_focal_loss as torchvision_loss  # noqa: E402

HERE = Path(__file__).parent
ALPHA, GAMMA = 0.25, 2.0
OTHER_FUNCTIONS = {"torch's cross-entropy", "ours eager, gamma 0.7"}  # for their speed only
Contenders = dict[str, Callable[[Tensor], Tensor]]


def main() -> int:
    """Run all parts, print them, write the JSON; 1 if a claim fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--anchors", type=int, default=120_000)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="the JSON (default: benchmarks/results/..)")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    shape = (arguments.anchors, arguments.classes)
    parts: dict[str, Any] = {"first_call": time_first_calls(shape)}
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        parts[f"sigmoid {name}"] = sigmoid_part(shape, dtype, arguments.rounds)
        parts[f"softmax {name}"] = softmax_part(shape, dtype, arguments.rounds)
    found, packages = claims(parts), ("torch", "torchvision", "fvcore")
    path = filing.path_of("losses", arguments.out)
    status = filing.file_result(
        path, "losses", load=load, packages=packages, parts=parts, claims=found, shape=shape
    )
    print_parts(parts)
    print(json.dumps(found, indent=1))
    return status


def claims(parts: dict[str, Any]) -> dict[str, bool]:
    """What is claimed of 120,000 x 80 float32 logits."""
    single = parts["sigmoid float32"]["contenders"]
    return {
        "fused: 8 times torchvision": single["ours fused"]["times_faster"] >= 8,
        "eager: 4 times torchvision": single["ours eager"]["times_faster"] >= 4,
        "eager: at most 1.5 times the logits": single["ours eager"]["memory"] <= 1.5,
        "fused: at most 1.5 times the logits": single["ours fused"]["memory"] <= 1.5,
        "all numbers agree": all(
            row["worst_difference"] < 1e-5
            for part in (parts["sigmoid float32"], parts["softmax float32"])
            for name, row in part["contenders"].items()
            if name not in OTHER_FUNCTIONS
        ),
    }


def sigmoid_part(shape: tuple[int, int], dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    """Sigmoid form, one anchor in a hundred an object, as after some training."""
    logits, labels = problem(shape, dtype)
    targets = F.one_hot(labels, shape[1] + 1)[:, : shape[1]].to(dtype)
    contenders: Contenders = {
        "torchvision": lambda x: torchvision_loss(x, targets, ALPHA, GAMMA),
        "mmdet's formula": lambda x: mmdet_formula(x, targets),
        **fvcore_loss(targets),
        "torchvision compiled": compiled(
            lambda x, t: torchvision_loss(x, t, ALPHA, GAMMA), targets
        ),
        "ours eager": lambda x: sigmoid_focal_loss(x, targets, alpha=ALPHA, gamma=GAMMA),
        "ours eager, sum": lambda x: sigmoid_focal_loss(
            x, targets, alpha=ALPHA, gamma=GAMMA, reduction="sum"
        ),
        "ours eager, gamma 0.7": lambda x: sigmoid_focal_loss(x, targets, alpha=ALPHA, gamma=0.7),
        "ours eager, labels": lambda x: sigmoid_focal_loss(x, labels, alpha=ALPHA, gamma=GAMMA),
        "ours fused": lambda x: sigmoid_focal_loss(
            x, targets, alpha=ALPHA, gamma=GAMMA, fused=True
        ),
        "ours fused, sum": lambda x: sigmoid_focal_loss(
            x, targets, alpha=ALPHA, gamma=GAMMA, fused=True, reduction="sum"
        ),
        "ours fused, labels": lambda x: sigmoid_focal_loss(
            x, labels, alpha=ALPHA, gamma=GAMMA, fused=True
        ),
    }
    exact = sigmoid_focal_loss(logits.double(), targets.double(), alpha=ALPHA, gamma=GAMMA)
    return measure(contenders, logits, exact, "torchvision", rounds)


def softmax_part(shape: tuple[int, int], dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    """Softmax form over the same logits."""
    logits, labels = problem(shape, dtype)
    labels = labels.clamp(max=shape[1] - 1)
    contenders: Contenders = {
        "log_softmax and gather": lambda x: plain_softmax(x, labels),
        "torch's cross-entropy": lambda x: F.cross_entropy(x, labels, reduction="none"),
        "ours eager": lambda x: softmax_focal_loss(x, labels, gamma=GAMMA),
        "ours fused": lambda x: softmax_focal_loss(x, labels, gamma=GAMMA, fused=True),
    }
    exact = softmax_focal_loss(logits.double(), labels, gamma=GAMMA)
    return measure(contenders, logits, exact, "log_softmax and gather", rounds)


def problem(shape: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Logits about the prior of 0.01, and labels of which 1 in 100 is no background."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator) * 2 - 4.6
    labels = torch.randint(shape[1], shape[:1], generator=generator)
    background = torch.rand(shape[0], generator=generator) > 0.01
    return logits.to(dtype), labels.masked_fill(background, shape[1])


def mmdet_formula(logits: Tensor, targets: Tensor) -> Tensor:
    """What mmdet computes without its CUDA operator, which needs a compiled mmcv to import."""
    p = logits.sigmoid()
    wrong = (1 - p) * targets + p * (1 - targets)
    weight = (ALPHA * targets + (1 - ALPHA) * (1 - targets)) * wrong.pow(GAMMA)
    return weight * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def plain_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    """The usual softmax focal loss."""
    log_p = logits.log_softmax(1).gather(1, labels[:, None]).squeeze(1)
    return -((1 - log_p.exp()) ** GAMMA) * log_p


def fvcore_loss(targets: Tensor) -> Contenders:
    """fvcore's scripted loss, where it is installed."""
    try:
        from fvcore.nn import sigmoid_focal_loss_jit
    except ImportError:
        print("fvcore is not installed: pip install -r benchmarks/requirements.txt")
        return {}
    return {"fvcore's jit": lambda x: sigmoid_focal_loss_jit(x, targets, ALPHA, GAMMA)}


def compiled(function: Callable[..., Tensor], targets: Tensor) -> Callable[[Tensor], Tensor]:
    """What torch.compile makes of a peer's code."""
    fast = torch.compile(function)
    return lambda x: fast(x, targets)


def step(loss_of: Callable[[Tensor], Tensor], logits: Tensor) -> float:
    """Seconds of one forward and backward pass."""
    logits.grad = None
    start = time.perf_counter()
    loss_of(logits).sum().backward()
    return time.perf_counter() - start


def measure(
    contenders: Contenders, logits: Tensor, exact: Tensor, baseline: str, rounds: int
) -> dict[str, Any]:
    """Numbers, time and memory of each; time in turns, so that all meet the same disturbances."""
    differences = {
        name: None if name in OTHER_FUNCTIONS else difference(loss_of(logits), exact)
        for name, loss_of in contenders.items()
    }
    leaf = logits.clone().requires_grad_()
    for loss_of in contenders.values():  # compiles and warms up
        step(loss_of, leaf)
        step(loss_of, leaf)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    copies, target = [], torch.empty_like(logits)
    for _ in range(rounds):
        for name, loss_of in contenders.items():
            seconds[name].append(step(loss_of, leaf))
        start = time.perf_counter()
        target.copy_(logits)
        copies.append(time.perf_counter() - start)
    size = logits.numel() * logits.element_size()
    table = {
        name: {
            "milliseconds": 1000 * statistics.median(times),
            "fastest_milliseconds": 1000 * min(times),
            "times_faster": statistics.median(
                theirs / mine for theirs, mine in zip(seconds[baseline], times, strict=True)
            ),
            "memory": peak_bytes(contenders[name], leaf) / size,
            "worst_difference": differences[name],
        }
        for name, times in seconds.items()
    }
    return {
        "baseline": baseline,
        "copy_milliseconds": 1000 * statistics.median(copies),
        "logits_mib": size / 2**20,
        "contenders": table,
    }


def difference(loss: Tensor, exact: Tensor) -> float:
    """Greatest difference of the unreduced loss, or the relative one of a sum."""
    if loss.ndim == 0:
        return float((loss.double() / exact.sum() - 1).abs())
    return float((loss.double() - exact).abs().max())


def peak_bytes(loss_of: Callable[[Tensor], Tensor], logits: Tensor) -> int:
    """Most bytes of tensors alive at once during a step beyond what was alive before it."""
    logits.grad = None
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        loss_of(logits).sum().backward()
    events = profile.profiler.kineto_results.events()  # the profiler's tables show totals only
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    alive = peak = 0
    for _, change in changes:
        alive += change
        peak = max(peak, alive)
    return peak


def time_first_calls(shape: tuple[int, int]) -> dict[str, float]:
    """Seconds of the first fused step of a process: compiling, and loading what was compiled."""
    script = (
        "import time, torch; from losses.focal import sigmoid_focal_loss as loss;"
        f"x = torch.randn({shape}, requires_grad=True); t = torch.zeros({shape});"
        "start = time.perf_counter();"
        "loss(x, t, alpha=0.25, gamma=2.0, fused=True).sum().backward();"
        "print(time.perf_counter() - start)"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache}
        runs = [
            subprocess.run(
                [sys.executable, "-c", script],
                env=environment,
                cwd=HERE.parent,
                capture_output=True,
                text=True,
                check=True,
            )
            for _ in range(2)
        ]
    cold, warm = (float(run.stdout) for run in runs)
    return {"compiling_seconds": cold, "loading_seconds": warm}


def print_parts(parts: dict[str, Any]) -> None:
    """A table a part."""
    print("first fused call:", {key: round(value, 1) for key, value in parts["first_call"].items()})
    for name, part in parts.items():
        if name == "first_call":
            continue
        floor = part["copy_milliseconds"]
        print(f"\n{name}: {part['logits_mib']:.0f} MiB of logits, a copy takes {floor:.1f} ms")
        print(f"{'':26}{'ms':>8}{'faster':>8}{'memory':>8}{'differs':>10}")
        for contender, row in part["contenders"].items():
            differs = row["worst_difference"]
            print(
                f"{contender:26}{row['milliseconds']:8.1f}{row['times_faster']:7.1f}x"
                f"{row['memory']:7.2f}x{'' if differs is None else f'{differs:10.1e}'}"
            )


if __name__ == "__main__":
    sys.exit(main())
