"""Claims about RetinaNet: inference, training step and its memory against torchvision's.

    python -m benchmarks.retinanet

ResNet-50, P3 to P7, 91 classes, at 320 px; both hold the same random weights, in one process, in
turns, in float32 but for the one that says bfloat16 (`train.precision`, with the losses and the
weights in float32, where the processor computes it; torchvision's own step is timed under the same
autocast too). The JSON goes to benchmarks/results/retinanet_<instructions>_<date>.json. Run it on a
quiet machine.
"""

import argparse
import importlib
import importlib.util
import math
import statistics
import sys
import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet as TheirRetinaNet
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from benchmarks import turns
from datasets.sample import Batch
from detectors.backbones import TorchvisionBackbone
from detectors.exporting import INPUTS, export_onnx, select
from detectors.retinanet.detector import TORCHVISION_V1, DenseOutput, RetinaNetDetector
from detectors.retinanet.torchvision_weights import load_state
from losses.focal import Focal

CLASSES = 91
THEIRS, THEIRS_LAST = "torchvision", "torchvision, channels_last"
EXPORTED = "ours, exported, in ONNX Runtime"
TRAINED = "all layers and norms trained"
BFLOAT16, THEIRS_BFLOAT16 = "ours, bfloat16", "torchvision, bfloat16"


def main() -> int:
    """Run all parts, print them, write the JSON; 1 if a claim fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="of inference (15)")
    parser.add_argument("--steps", type=int, default=7, help="rounds of training steps (7)")
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[320, 800], help="pixels (320 800; claims: first)"
    )
    parser.add_argument("--out", type=Path, help="the JSON (default: benchmarks/results/..)")
    arguments = parser.parse_args()
    load = turns.load_now()
    parts: dict[str, Any] = {"ceilings_gflops": turns.ceilings(max(3, arguments.rounds))}
    for number, side in enumerate(arguments.sides):
        theirs, ours = networks(side)
        if number == 0:
            parts[f"inference, batch 1, {side} px"] = inference_part(
                theirs, ours, side, arguments.rounds
            )
        parts[f"training step, batch 2, {side} px"] = training_part(
            theirs, ours, side, arguments.steps
        )
        if number == 0:
            parts[f"training step, {TRAINED}, batch 2, {side} px"] = training_part(
                *networks(side, trained_norms=True), side, arguments.steps
            )
    for name, part in parts.items():
        if "contenders" in part:
            turns.print_part(name, part)
            for key in ("peak_mib", "loss_share"):
                if key in part:
                    print(f"{key}: {part[key]}")
    return turns.finish(
        "retinanet",
        parts,
        claims(parts, arguments.sides[0]),
        ("torch", "torchvision", "onnxruntime"),
        arguments.out,
        load,
    )


def claims(parts: dict[str, Any], side: int) -> dict[str, bool | None]:
    """What issue 5 promises at 320 px."""
    inference = parts[f"inference, batch 1, {side} px"]
    step = parts[f"training step, batch 2, {side} px"]
    trained = parts[f"training step, {TRAINED}, batch 2, {side} px"]["contenders"]["ours"]
    peak = step["peak_mib"]
    ours = {
        name: row["times_faster"]
        for name, row in inference["contenders"].items()
        if name.startswith("ours")
    }
    return {
        "training step: 1.2 times torchvision, float32": (
            step["contenders"]["ours"]["times_faster"] >= 1.2
        ),
        f"training step, {TRAINED}: 1.1 times torchvision, float32": trained["times_faster"] >= 1.1,
        "training step: 1.2 times torchvision, our bfloat16 against its float32": (
            step["contenders"][BFLOAT16]["times_faster"] >= 1.2
            if BFLOAT16 in step["contenders"]
            else None
        ),
        "inference: the best of our paths 1.3 times torchvision": (
            max(faster for name, faster in ours.items()) >= 1.3
        ),
        "inference: our PyTorch alone 1.3 times torchvision": (
            max(faster for name, faster in ours.items() if name != EXPORTED) >= 1.3
        ),
        "training step: at most .8 of torchvision's memory": peak["ours"] <= 0.8 * peak[THEIRS],
        "logits agree to 1e-4": inference["worst_difference"] < 1e-4,
        "losses agree to 1e-4": step["loss_difference"] < 1e-4,
    }


def networks(side: int, *, trained_norms: bool = False) -> tuple[TheirRetinaNet, RetinaNetDetector]:
    """torchvision's network, as it is built for pretrained weights or from scratch, and ours with
    the same ones.
    """
    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50",
        weights=None,
        **({"norm_layer": nn.BatchNorm2d, "trainable_layers": 5} if trained_norms else {}),
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    theirs = TheirRetinaNet(backbone, CLASSES, min_size=side, max_size=side)
    with torch.no_grad():
        for name, tensor in theirs.state_dict().items():
            if name.endswith("bn3.weight"):  # else sixteen residual sums grow without bound
                tensor.fill_(0.3)
            elif "_head.conv" in name and name.endswith("0.weight"):
                tensor.normal_(0, math.sqrt(2 / (9 * 256)))
            elif "cls_logits.bias" in name:  # some hundred candidates for NMS
                tensor.fill_(-3.5)
    settings = TORCHVISION_V1
    if trained_norms:
        settings = replace(settings, backbone=TorchvisionBackbone(arch="resnet50"))
    ours = settings.build(CLASSES)
    load_state(ours, theirs.state_dict())
    ours.classification_loss = Focal(alpha=0.25, gamma=2.0).at(0.0)
    return theirs, ours


def inference_part(
    theirs: TheirRetinaNet, ours: RetinaNetDetector, side: int, rounds: int
) -> dict[str, Any]:
    """One image to detections: normalise, network, decode, NMS."""
    theirs, ours = theirs.eval(), ours.eval()
    image = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    floats, content = image[0] / 255, torch.tensor([[side, side]])

    def detect(network: RetinaNetDetector) -> Any:
        return network.decode(network(network.normalise(image, content)), content)

    fused = ours.fuse()  # as `detect` runs it
    last = deepcopy(theirs).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    calls: turns.Contenders = {
        THEIRS: lambda: theirs([floats]),
        THEIRS_LAST: lambda: last([floats]),
        "ours, as trained": lambda: detect(ours),
        "ours": lambda: detect(fused),
        **exported(ours, image, content),
    }
    with torch.inference_mode():
        batch, _ = theirs.transform([floats])
        expected = theirs.head(list(theirs.backbone(batch.tensors).values()))["cls_logits"]
        found = fused(batch.tensors).logits_BAK
        seconds = turns.in_turns(calls, rounds, calls=2)
        detections = {
            name: len(calls[name]()[0].scores_D) for name in calls if name.startswith("ours")
        } | {THEIRS: len(theirs([floats])[0]["scores"])}
    return {
        "baseline": THEIRS,
        "contenders": turns.rows(seconds, THEIRS),
        "worst_difference": float((found - expected).abs().max()),
        "detections": detections,
    }


def exported(ours: RetinaNetDetector, image: Tensor, content: Tensor) -> turns.Contenders:
    """What `detect --backend onnxruntime` runs; left out where its packages are not installed."""
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime")):
        print("onnx or onnxruntime is not installed: pip install -r benchmarks/requirements.txt")
        return {}
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(ours, path, {})
        session = runtime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    inputs = dict(zip(INPUTS, (image.numpy(), content.numpy()), strict=True))
    size = (image.shape[2], image.shape[3])

    def run() -> Any:
        boxes_BN4, scores_BNK = map(torch.from_numpy, session.run(None, inputs))
        return select(ours.settings, boxes_BN4, scores_BNK, content, size)

    return {EXPORTED: run}


def training_part(
    theirs: TheirRetinaNet, ours: RetinaNetDetector, side: int, rounds: int
) -> dict[str, Any]:
    """Forward, assignment, losses, backward and SGD over 2 images of 8 objects each; then
    assignment and losses alone, forward and backward to the network's outputs.
    """
    truth = turns.truth_of(2, 8, side, range(1, CLASSES))
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    step, loss = our_step(ours.train(), images, truth)
    their_step, their_loss = torchvision_step(theirs.train(), images, truth)
    difference = abs(step() - their_step())
    calls = {
        THEIRS: their_step,
        "ours": step,
        BFLOAT16: in_bfloat16(step),
        THEIRS_BFLOAT16: in_bfloat16(their_step),
    }
    whole = turns.in_turns(turns.only_computed(calls), rounds)
    alone = turns.in_turns({THEIRS: their_loss, "ours": loss}, rounds)
    contenders = turns.rows(whole, THEIRS) | {
        f"{name}, assignment and losses": row for name, row in turns.rows(alone, THEIRS).items()
    }
    shares = {
        name: statistics.median(alone[name]) / statistics.median(whole[name]) for name in alone
    }
    peaks = {}
    for name, network, call in ((THEIRS, theirs, their_step), ("ours", ours, step)):
        for parameter in network.parameters():
            parameter.grad = None  # gradients of the step before are no part of what a step needs
        peaks[name] = turns.peak_bytes(call)
    return {
        "baseline": THEIRS,
        "contenders": contenders,
        "loss_share": shares,
        "loss_difference": difference,
        "peak_mib": {name: value / 2**20 for name, value in peaks.items()},
    }


def in_bfloat16(step: Callable[[], float]) -> Callable[[], float]:
    """The step under autocast; backward follows the types of forward."""

    def run() -> float:
        with torch.autocast("cpu", torch.bfloat16):
            return step()

    return run


Step = tuple[Callable[[], float], Callable[[], None]]


def sgd(network: nn.Module) -> torch.optim.SGD:
    """The paper's optimiser, at a rate that leaves the weights in place."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.SGD(trained, 1e-9, momentum=0.9, weight_decay=1e-4)


def our_step(detector: RetinaNetDetector, images: Tensor, truth: Batch) -> Step:
    """The whole step in the layout that recipes train in here, which returns its loss; the loss
    alone.
    """
    detector, layout = turns.as_trained(detector)
    images = images.contiguous(memory_format=layout)
    optimizer = sgd(detector)
    with torch.no_grad():
        output = detector(detector.normalise(images, truth.content_B2))
    logits_BAK, deltas_BA4 = output.logits_BAK.clone(), output.deltas_BA4.clone()
    logits_BAK.requires_grad_()
    deltas_BA4.requires_grad_()

    def step() -> float:
        optimizer.zero_grad()
        output = detector(detector.normalise(images, truth.content_B2))
        total = detector.loss(output, truth).total
        total.backward()
        optimizer.step()
        return float(total.detach())

    def loss() -> None:
        logits_BAK.grad = deltas_BA4.grad = None
        dense = DenseOutput(logits_BAK, deltas_BA4, output.grid)
        detector.loss(dense, truth).total.backward()

    return step, loss


def torchvision_step(network: TheirRetinaNet, images: Tensor, truth: Batch) -> Step:
    """The same of torchvision's network."""
    optimizer = sgd(network)
    floats = [image / 255 for image in images]
    targets = [
        {"boxes": boxes_M4, "labels": labels_M}
        for boxes_M4, labels_M in zip(truth.boxes_BM4, truth.labels_BM, strict=True)
    ]
    with torch.no_grad():
        batch, _ = network.transform(floats)
        maps = list(network.backbone(batch.tensors).values())
        outputs = {name: value.clone() for name, value in network.head(maps).items()}
        anchors = network.anchor_generator(batch, maps)
    for value in outputs.values():
        value.requires_grad_()

    def step() -> float:
        optimizer.zero_grad()
        total: Tensor = sum(network(floats, targets).values())  # type: ignore[assignment]
        total.backward()
        optimizer.step()
        return float(total.detach())

    def loss() -> None:
        for value in outputs.values():
            value.grad = None
        total: Tensor = sum(  # type: ignore[assignment]
            network.compute_loss(targets, outputs, anchors).values()
        )
        total.backward()

    return step, loss


if __name__ == "__main__":
    sys.exit(main())
