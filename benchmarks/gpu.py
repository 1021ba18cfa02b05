"""What one GPU does: its ceilings, the losses, and training steps of both detectors beside peers.

    python -m benchmarks.gpu

Darknet-19 with the VOC head at 416 px, 20 classes; RetinaNet-R50 at 800 px, 91 classes, with
torchvision's weights on both sides. A step is forward, assignment, losses, backward and SGD, in the
layout that recipes train in; float32 is torch's default, TF32 in convolutions alone. Compiled is
`train.compile`. All contenders of a part run in one process, in turns. The JSON goes to
benchmarks/results/gpu_<card>_<date>.json. Loading images is no part of it.
"""

import argparse
import dataclasses
import json
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import filing, turns
from benchmarks.losses import ALPHA, GAMMA, problem
from benchmarks.retinanet import CLASSES, TheirRetinaNet, networks, sgd
from benchmarks.yolov2 import random_detector
from datasets.sample import Batch
from detectors.base import AnyDetector
from experiments.config.train import Train
from experiments.engine.arithmetic import autocast, choose, device_here, placed, to_device
from experiments.engine.machine import compile_parts
from experiments.record.origin import gpu_names
from losses.focal import Focal, sigmoid_focal_loss, softmax_focal_loss

warnings.filterwarnings("ignore", message=".*torch.jit")
from torchvision.ops import sigmoid_focal_loss as torchvision_loss  # noqa: E402

DEVICE = device_here()
THEIRS = "torchvision"
PARTS = ("losses", "yolov2", "retinanet")
Step = Callable[[], float]
Contenders = dict[str, Callable[[Tensor], Tensor]]


def main() -> int:
    """Run all parts, print them, write the JSON; 1 if a claim fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="of each contender (10)")
    parser.add_argument("--anchors", type=int, default=400_000, help="of the losses (400,000)")
    parser.add_argument("--yolov2", type=int, nargs=2, default=(416, 64), help="pixels, images")
    parser.add_argument("--retinanet", type=int, nargs=2, default=(800, 8), help="pixels, images")
    parser.add_argument(
        "--parts", nargs="+", default=PARTS, choices=PARTS, help="the file keeps the others (all)"
    )
    parser.add_argument("--out", type=Path, help="the JSON (default: benchmarks/results/..)")
    options = parser.parse_args()
    load, status = turns.load_now(), 0
    short = re.sub(r"[^a-z0-9]+", "", card().lower().removeprefix("nvidia").split()[0])
    path = filing.path_of("gpu", options.out, short)
    parts = filing.parts_at(path)
    for key, found in measured(options):
        parts[key] = found
        if "contenders" in found:
            turns.print_part(key, found)
        print({name: value for name, value in found.items() if name != "contenders"}, flush=True)
        status = file(path, parts, load)  # each time: a GPU may be gone before the last
    print(json.dumps(claims(parts), indent=1))
    return status


def file(path: Path, parts: dict[str, Any], load: float) -> int:
    """Write what has been measured so far."""
    return filing.file_result(
        path,
        "gpu",
        load=load,
        packages=("torch", "torchvision", "triton"),
        parts=parts,
        claims=claims(parts),
        instructions=card(),
    )


def measured(options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts that are asked for, by name."""
    if "losses" in options.parts:
        yield "ceilings", ceilings(options.rounds)
        for dtype in (torch.float32, torch.bfloat16):
            kind, shape = str(dtype).removeprefix("torch."), (options.anchors, 80)
            for form, part in (("sigmoid", sigmoid_part), ("softmax", softmax_part)):
                yield f"{form} focal loss, {kind} logits", part(shape, dtype, options.rounds)
    for name, step_part in (("yolov2", yolov2_part), ("retinanet", retinanet_part)):
        if name in options.parts:
            side, images = getattr(options, name)
            title = f"{name}: training step, {images} images of {side} px"
            yield title, step_part(side, images, options.rounds)


def card() -> str:
    """The GPU's name, or the processor's instructions where there is none."""
    return (gpu_names() or [filing.instructions_here()])[0]


def claims(parts: dict[str, Any]) -> dict[str, bool]:
    """What holds of the parts that there are."""
    return {
        claim: held
        for name, part in parts.items()
        if "contenders" in part
        for claim, held in claims_of(name, part).items()
    }


def claims_of(name: str, part: dict[str, Any]) -> dict[str, bool]:
    """Of the losses on float32 logits, and of RetinaNet beside torchvision's."""
    rows = part["contenders"]
    held: dict[str, bool] = {}
    if "float32 logits" in name:
        worst = max(row["worst_difference"] for row in rows.values())
        held[f"{name}: agrees with float64 to 1e-5"] = worst < 1e-5
    if name == "sigmoid focal loss, float32 logits":
        eager, fused = (rows[f"ours {kind}"]["times_faster"] for kind in ("eager, bool", "fused"))
        held["sigmoid, eager, bool targets: torchvision's pace or faster"] = eager >= 1
        held["sigmoid, fused: at least twice torchvision's pace"] = fused >= 2
    if name.startswith("retinanet"):
        time_of = {row: figures["milliseconds"] for row, figures in rows.items()}
        for precision in ("float32", "bfloat16"):
            mine, theirs = (time_of[f"{who}, {precision}"] for who in ("ours", THEIRS))
            held[f"RetinaNet, {precision}: torchvision's pace or faster"] = mine <= theirs
        peak = part["peak_mib"]
        held["RetinaNet, float32: less memory than torchvision"] = (
            peak["ours, float32"] <= peak[f"{THEIRS}, float32"]
        )
        held["RetinaNet: both have one loss, to 1 %"] = part["loss_difference"] < 0.01
    return held


def wait() -> None:
    """Until the device has done what it was given."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def ceilings(rounds: int) -> dict[str, float]:
    """GB/s of a copy, read and written bytes; TFLOP/s of a product of large random matrices."""
    side = 8192 if DEVICE.type == "cuda" else 512
    source = torch.randn(side, side * 4, device=DEVICE)
    target = torch.empty_like(source)
    left, right = torch.randn(2, side, side, device=DEVICE)
    low = (left.bfloat16(), right.bfloat16())

    def waited(function: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            function()
            wait()

        return run

    calls = {
        "copy": waited(lambda: target.copy_(source)),
        "float32 product": waited(lambda: left @ right),
        "bfloat16 product": waited(lambda: low[0] @ low[1]),
    }
    least = {name: min(times) for name, times in turns.in_turns(calls, rounds, 3).items()}
    work = 2 * side**3 / 1e12
    return {
        "copy GB/s": 2 * source.numel() * 4 / 1e9 / least["copy"],
        "float32 TFLOP/s": work / least["float32 product"],
        "bfloat16 TFLOP/s": work / least["bfloat16 product"],
    }


def sigmoid_part(shape: tuple[int, int], dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    """Sigmoid form, one anchor in a hundred an object, as after some training."""
    logits, labels = (each.to(DEVICE) for each in problem(shape, dtype))
    targets = F.one_hot(labels, shape[1] + 1)[:, : shape[1]].to(dtype)
    hard = targets.bool()
    compiled = torch.compile(torchvision_loss)
    contenders: Contenders = {
        THEIRS: lambda x: torchvision_loss(x, targets, ALPHA, GAMMA),
        "torchvision compiled": lambda x: compiled(x, targets, ALPHA, GAMMA),
        "ours eager": lambda x: sigmoid_focal_loss(x, targets, alpha=ALPHA, gamma=GAMMA),
        "ours eager, bool": lambda x: sigmoid_focal_loss(x, hard, alpha=ALPHA, gamma=GAMMA),
        "ours eager, labels": lambda x: sigmoid_focal_loss(x, labels, alpha=ALPHA, gamma=GAMMA),
        "ours fused": lambda x: sigmoid_focal_loss(
            x, targets, alpha=ALPHA, gamma=GAMMA, fused=True
        ),
        "ours fused, labels": lambda x: sigmoid_focal_loss(
            x, labels, alpha=ALPHA, gamma=GAMMA, fused=True
        ),
        "ours fused, labels, sum": lambda x: sigmoid_focal_loss(
            x, labels, alpha=ALPHA, gamma=GAMMA, fused=True, reduction="sum"
        ),
    }
    exact = sigmoid_focal_loss(logits.double(), targets.double(), alpha=ALPHA, gamma=GAMMA)
    return losses_timed(contenders, logits, exact, THEIRS, rounds)


def softmax_part(shape: tuple[int, int], dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    """Softmax form over the same logits."""
    logits, labels = (each.to(DEVICE) for each in problem(shape, dtype))
    labels = labels.clamp(max=shape[1] - 1)

    def plain(x: Tensor) -> Tensor:
        log_p = x.log_softmax(1).gather(1, labels[:, None]).squeeze(1)
        return -((1 - log_p.exp()) ** GAMMA) * log_p

    contenders: Contenders = {
        "log_softmax and gather": plain,
        "ours eager": lambda x: softmax_focal_loss(x, labels, gamma=GAMMA),
        "ours fused": lambda x: softmax_focal_loss(x, labels, gamma=GAMMA, fused=True),
    }
    exact = softmax_focal_loss(logits.double(), labels, gamma=GAMMA)
    return losses_timed(contenders, logits, exact, "log_softmax and gather", rounds)


def losses_timed(
    contenders: Contenders, logits: Tensor, exact: Tensor, baseline: str, rounds: int
) -> dict[str, Any]:
    """Forward and backward of each, its peak beyond what was there, its worst relative error."""
    leaf = logits.clone().requires_grad_()
    scale = exact.abs().max() if exact.ndim else exact.sum()

    def stepped(loss_of: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def run() -> None:
            leaf.grad = None
            loss_of(leaf).sum().backward()
            wait()

        return run

    calls: turns.Contenders = {name: stepped(each) for name, each in contenders.items()}
    table = turns.rows(turns.in_turns(calls, rounds, 3), baseline)
    for name, loss_of in contenders.items():
        with torch.no_grad():
            found = loss_of(logits).double()
        error = found / exact.sum() - 1 if found.ndim == 0 else (found - exact) / scale
        table[name]["worst_difference"] = float(error.abs().max())
        leaf.grad = None
        table[name]["peak_of_logits"] = peak_bytes(calls[name]) / logits.nbytes
    return {"baseline": baseline, "logits_mib": logits.nbytes / 2**20, "contenders": table}


def peak_bytes(step: Callable[[], Any]) -> int:
    """Most bytes at once during a step beyond what was there before it."""
    if DEVICE.type != "cuda":
        return turns.peak_bytes(step)
    wait()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated() - before


def yolov2_part(side: int, images: int, rounds: int) -> dict[str, Any]:
    """Darknet-19, softmax focal loss, in every arithmetic and both layouts."""
    pixels = torch.randint(256, (images, 3, side, side), dtype=torch.uint8)
    truth = turns.truth_of(images, 8, side, range(20))
    detector = random_detector(1.0 if DEVICE.type == "cuda" else 0.25)
    detector.classification_loss = Focal(alpha=None, gamma=2.0).at(0.0)
    steps = every_arithmetic(detector, pixels, truth)
    steps["ours, bfloat16, contiguous"] = our_step(
        deepcopy(detector), pixels, truth, Train(precision="bfloat16", channels_last=False)
    )
    return steps_timed(steps, "ours, float32", images, rounds)


def retinanet_part(side: int, images: int, rounds: int) -> dict[str, Any]:
    """ResNet-50, sigmoid focal loss, beside torchvision's own network with the same weights."""
    theirs, ours = networks(side)
    pixels = torch.randint(256, (images, 3, side, side), dtype=torch.uint8)
    truth = turns.truth_of(images, 8, side, range(1, CLASSES))
    steps = {
        f"{THEIRS}, {precision}": torchvision_step(deepcopy(theirs), pixels, truth, precision)
        for precision in ("float32", "bfloat16")
    } | every_arithmetic(ours, pixels, truth)
    mine, other = steps["ours, float32"](), steps[f"{THEIRS}, float32"]()
    found = steps_timed(steps, f"{THEIRS}, float32", images, rounds)
    return {**found, "loss_difference": abs(mine / other - 1)}


def every_arithmetic(detector: AnyDetector, pixels: Tensor, truth: Batch) -> dict[str, Step]:
    """Our step in each number format that the device computes, and compiled in bfloat16."""
    trains: dict[str, Train] = {
        "ours, float32": Train(precision="float32"),
        "ours, bfloat16": Train(precision="bfloat16"),
        "ours, bfloat16, compiled": Train(precision="bfloat16", compile=True),
    }
    if DEVICE.type == "cuda":
        trains["ours, float16"] = Train(precision="float16")
    return {
        name: our_step(deepcopy(detector), pixels, truth, train) for name, train in trains.items()
    }


def steps_timed(steps: dict[str, Step], baseline: str, images: int, rounds: int) -> dict[str, Any]:
    """Milliseconds, images a second and peak memory of each step."""
    table = turns.rows(turns.in_turns(dict(steps), rounds, 3), baseline)
    for row in table.values():
        row["images_a_second"] = 1000 * images / row["milliseconds"]
    peaks = {name: peak_bytes(step) / 2**20 for name, step in steps.items()}
    return {"baseline": baseline, "contenders": table, "peak_mib": peaks}


def our_step(detector: AnyDetector, pixels: Tensor, truth: Batch, train: Train) -> Step:
    """A whole step as a recipe's; it returns its loss."""
    arithmetic = choose(train, detector, DEVICE)
    detector = placed(detector, DEVICE, arithmetic).train()
    if detector.classification_loss is None:
        detector.classification_loss = Focal(alpha=ALPHA, gamma=GAMMA).at(0.0)
    if arithmetic.compile:
        compile_parts(detector)
    batch = to_device(dataclasses.replace(truth, images_BCHW=pixels), DEVICE, arithmetic)
    optimizer = sgd(detector)
    scaler = torch.amp.GradScaler(DEVICE.type, enabled=train.precision == "float16")

    def step() -> float:
        with autocast(arithmetic, DEVICE):
            output = detector(detector.normalise(batch.images_BCHW, batch.content_B2))
            total = detector.loss(output, batch).total
        scaler.scale(total).backward()
        return _updated(optimizer, scaler, total)

    return step


def torchvision_step(network: TheirRetinaNet, pixels: Tensor, truth: Batch, precision: str) -> Step:
    """The same of torchvision's network, as its own training script does it."""
    network = network.to(DEVICE).train()
    floats = [image / 255 for image in pixels.to(DEVICE)]
    targets = [
        {"boxes": boxes_M4.to(DEVICE), "labels": labels_M.to(DEVICE)}
        for boxes_M4, labels_M in zip(truth.boxes_BM4, truth.labels_BM, strict=True)
    ]
    optimizer = sgd(network)
    scaler = torch.amp.GradScaler(DEVICE.type, enabled=False)

    def step() -> float:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bfloat16"):
            total: Tensor = sum(network(floats, targets).values())  # type: ignore[assignment]
        total.backward()
        return _updated(optimizer, scaler, total)

    return step


def _updated(optimizer: torch.optim.Optimizer, scaler: Any, total: Tensor) -> float:
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    return float(total.detach())  # which waits for the device


if __name__ == "__main__":
    sys.exit(main())
