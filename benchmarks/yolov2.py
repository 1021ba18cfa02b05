"""Claims about YOLOv2: inference, training step and region loss against the peers.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.yolov2

Darknet-19 with the VOC head at 416 px, 20 classes; every contender computes the same network with
the same random weights, in float32 but for the one that says bfloat16 (`train.precision`, with the
loss and the weights in float32; the peers have no such mode). All run in one process, in turns. The
JSON goes to benchmarks/results/yolov2_<instructions>_<date>.json. Run it on a quiet machine.
"""

import argparse
import importlib
import importlib.util
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import turns
from datasets.sample import Batch
from detectors.yolov2.boxes import to_centres
from detectors.yolov2.darknet_weights import save_darknet
from detectors.yolov2.detector import RegionOutput, YOLOv2, YOLOv2Detector
from experiments.engine.machine import compile_parts

CLASSES, SIDE = 20, 416
PACKAGES = ("torch", "lightnet", "onnxruntime", "openvino", "opencv-python-headless")
ENGINES = ("OpenCV DNN", "ONNX Runtime", "OpenVINO")
LIGHTNET, BFLOAT16 = "lightnet", "ours, bfloat16"


def main() -> int:
    """Run all parts, print them, write the JSON; 1 if a claim fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="of inference (20)")
    parser.add_argument("--steps", type=int, default=7, help="rounds of training steps (7)")
    parser.add_argument("--side", type=int, default=SIDE, help="pixels (416)")
    parser.add_argument("--width", type=float, default=1.0, help="of Darknet-19, to try it (1)")
    parser.add_argument("--out", type=Path, help="the JSON (default: benchmarks/results/..)")
    arguments = parser.parse_args()
    load = turns.load_now()
    detector = random_detector(arguments.width)
    ceilings = turns.ceilings(max(3, arguments.rounds))
    peak = ceilings["matrix product"]
    parts: dict[str, Any] = {
        "ceilings_gflops": ceilings,
        "inference, batch 1": inference_part(detector, arguments.side, arguments.rounds),
        "training step, batch 4": training_part(detector, arguments.side, arguments.steps, peak),
        "region loss, batch 16, 30 truths an image": region_part(
            detector, arguments.side, arguments.steps
        ),
    }
    for name, part in parts.items():
        if "contenders" in part:
            turns.print_part(name, part)
    print(f"\nceilings, GFLOP/s: {parts['ceilings_gflops']}")
    print(f"inference, GFLOP/s: {parts['inference, batch 1']['gflops']}")
    return turns.finish("yolov2", parts, claims(parts), PACKAGES, arguments.out, load)


def claims(parts: dict[str, Any]) -> dict[str, bool | None]:
    """What issue 4 promises; None where a peer is not installed."""
    inference = parts["inference, batch 1"]["contenders"]
    step = parts["training step, batch 4"]["contenders"]
    ours = {name: row for name, row in inference.items() if name.startswith("ours")}
    engines = [inference[name]["milliseconds"] for name in ENGINES if name in inference]
    best = min(row["milliseconds"] for name, row in ours.items() if name != BFLOAT16)
    torch_only = [
        row["times_faster"]
        for name, row in ours.items()
        if "Runtime" not in name and name != BFLOAT16
    ]
    peer = LIGHTNET in inference
    region = parts["region loss, batch 16, 30 truths an image"]["share_of_step"]
    share = parts["training step, batch 4"]["share_of_ceiling"]
    wanted = 0.75 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 0.85
    return {
        f"training step: {wanted:.0%} of the machine's matrix product, float32": share >= wanted,
        "inference: at least as fast as the fastest engine, within 10 %": (
            best <= 1.1 * min(engines) if engines else None
        ),
        "inference: our PyTorch 1.5 times lightnet eager": max(torch_only) >= 1.5 if peer else None,
        "training step: 1.2 times lightnet, float32": (
            step["ours"]["times_faster"] >= 1.2 if peer else None
        ),
        "training step: 1.2 times lightnet, our bfloat16 against its float32": (
            step[BFLOAT16]["times_faster"] >= 1.2 if peer and BFLOAT16 in step else None
        ),
        "region loss: under 5 % of the step": region < 0.05,
        "all outputs agree to 1e-3 of the largest": all(
            row["worst_difference"] < 1e-3 for name, row in inference.items() if name != BFLOAT16
        ),
    }


def random_detector(width: float) -> YOLOv2Detector:
    """Darknet's network with statistics that are not those of initialisation."""
    from detectors.yolov2.darknet19 import Darknet19

    torch.manual_seed(0)
    settings = YOLOv2(backbone=Darknet19(width=width), head_width=max(8, int(1024 * width)))
    detector = settings.build(CLASSES)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.8, 1.2)  # type: ignore[arg-type]
            nn.init.normal_(module.running_mean, std=0.05)  # type: ignore[arg-type]
    return detector


class Raw(nn.Module):
    """Backbone and head: the map before the region layer, which all engines compute."""

    def __init__(self, detector: YOLOv2Detector) -> None:
        super().__init__()
        self.backbone, self.head = detector.backbone, detector.head

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, A * F, H / 32, W / 32]."""
        maps: Tensor = self.head(self.backbone(images_BCHW))
        return maps


def inference_part(detector: YOLOv2Detector, side: int, rounds: int) -> dict[str, Any]:
    """Forward passes of one image by every engine that is installed."""
    images = torch.rand(1, 3, side, side)
    detector.eval()
    fused = Raw(detector.fuse()).eval()
    last = images.contiguous(memory_format=torch.channels_last)
    calls: dict[str, Callable[[], Any]] = {
        "ours, as trained": lambda: Raw(detector)(images),
        "ours, fused": lambda: fused(last),
        **compiled(Raw(detector.fuse()).eval(), last),
        BFLOAT16: in_bfloat16(fused, last),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        if write_network(Raw(detector.fuse(channels_last=False)).eval(), images, path):
            calls |= opencv(path, images) | onnx_runtime(path, images) | openvino(path, images)
        if "ONNX Runtime" in calls:  # `detect --backend onnxruntime` runs this very graph
            calls["ours, exported, in ONNX Runtime"] = next(
                iter(onnx_runtime(path, images).values())
            )
        calls |= lightnet_inference(detector, images, Path(folder))
        calls = turns.only_computed(calls)
        with torch.inference_mode():
            expected = calls["ours, as trained"]()
            differences = {name: difference(call(), expected) for name, call in calls.items()}
            seconds = turns.in_turns(calls, rounds, calls=2)
            work = turns.operations(calls["ours, fused"])
    table = turns.rows(seconds, LIGHTNET)
    for name, row in table.items():
        row["worst_difference"] = differences[name]
    return {
        "baseline": LIGHTNET,
        "contenders": table,
        "gflop": work / 1e9,
        "gflops": {name: work / 1e6 / row["milliseconds"] for name, row in table.items()},
    }


def difference(found: Any, expected: Tensor) -> float:
    """Greatest difference, as a part of the greatest value."""
    found = torch.as_tensor(np.asarray(found)).reshape(expected.shape)
    return float((found - expected).abs().max() / expected.abs().max())


def compiled(network: nn.Module, images: Tensor) -> dict[str, Callable[[], Any]]:
    """What `detect --compile` runs; left out where there is no C++ compiler."""
    compile_parts(network, frozen=True)  # type: ignore[arg-type]  # it asks for named_children only
    try:
        with torch.inference_mode():
            network(images)
    except Exception as error:
        print(f"torch.compile: {str(error).splitlines()[0]}")
        return {}
    return {"ours, fused, compiled": lambda: network(images)}


def in_bfloat16(network: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    """The network as runs with `train.precision: bfloat16` are measured."""

    def run() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            maps: Tensor = network(images)
        return maps.float()

    return run


def write_network(network: nn.Module, images: Tensor, path: Path) -> bool:
    """The bare network as ONNX for all engines; False where the package is missing."""
    if importlib.util.find_spec("onnx") is None:
        print("onnx is not installed: pip install -r benchmarks/requirements.txt")
        return False
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (images,), str(path), dynamo=False, input_names=["images"])
    return True


def peer(name: str) -> Any:
    """The module, or None with a word about it."""
    with suppress(ImportError):
        return importlib.import_module(name)
    print(f"{name} is not installed: pip install -r benchmarks/requirements.txt")
    return None


def opencv(path: Path, images: Tensor) -> dict[str, Callable[[], Any]]:
    """OpenCV's DNN module."""
    cv2 = peer("cv2")
    if cv2 is None:
        return {}
    cv2.setNumThreads(torch.get_num_threads())
    network = cv2.dnn.readNetFromONNX(str(path))
    array = images.numpy()

    def run() -> Any:
        network.setInput(array)
        return network.forward()

    return {"OpenCV DNN": run}


def onnx_runtime(path: Path, images: Tensor) -> dict[str, Callable[[], Any]]:
    """ONNX Runtime's CPU provider."""
    runtime = peer("onnxruntime")
    if runtime is None:
        return {}
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    array = images.numpy()
    return {"ONNX Runtime": lambda: session.run(None, {"images": array})[0]}


def openvino(path: Path, images: Tensor) -> dict[str, Callable[[], Any]]:
    """OpenVINO in float32; by itself it takes bfloat16 where the processor has it."""
    vino = peer("openvino")
    if vino is None:
        return {}
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    network = vino.Core().compile_model(str(path), "CPU", settings)
    array = images.numpy()
    return {"OpenVINO": lambda: network([array])[0]}


def lightnet_network(detector: YOLOv2Detector, folder: Path) -> Any:
    """lightnet's YOLOv2 with our weights, through Darknet's file; None where it is not installed or
    the network is not Darknet's size.
    """
    lightnet = peer(LIGHTNET)
    if lightnet is None:
        return None
    path = folder / "network.weights"
    save_darknet(detector, str(path))
    network = lightnet.models.YoloV2(CLASSES)
    try:
        network.load(str(path))
    except Exception as error:
        print(f"lightnet takes only Darknet's own sizes: {error}")
        return None
    return network


def lightnet_inference(
    detector: YOLOv2Detector, images: Tensor, folder: Path
) -> dict[str, Callable[[], Any]]:
    """lightnet as it is, and in channels_last."""
    plain = lightnet_network(detector, folder)
    if plain is None:
        return {}
    faster = lightnet_network(detector, folder).eval().to(memory_format=torch.channels_last)
    plain.eval()
    last = images.contiguous(memory_format=torch.channels_last)
    return {LIGHTNET: lambda: plain(images), "lightnet, channels_last": lambda: faster(last)}


def training_part(detector: YOLOv2Detector, side: int, rounds: int, peak: float) -> dict[str, Any]:
    """Forward, region loss, backward and SGD over 4 images with 8 truths each; how much of `peak`
    GFLOP/s a step reaches.
    """
    images, truth = torch.rand(4, 3, side, side), turns.truth_of(4, 8, side, range(CLASSES))
    calls = {
        "ours": our_step(detector, images, truth),
        BFLOAT16: our_step(deepcopy(detector), images, truth, bfloat16=True),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, layout in ((LIGHTNET, None), ("lightnet, channels_last", torch.channels_last)):
            network = lightnet_network(detector, Path(folder))
            if network is not None:
                calls[name] = lightnet_step(network, images, truth, side, layout)
    work = turns.operations(calls["ours"]) / 1e9
    table = turns.rows(turns.in_turns(turns.only_computed(calls), rounds), LIGHTNET)
    return {
        "baseline": LIGHTNET,
        "contenders": table,
        "gflop": work,
        "share_of_ceiling": work / (table["ours"]["milliseconds"] / 1000) / peak,
    }


def our_step(
    detector: YOLOv2Detector, images: Tensor, truth: Batch, *, bfloat16: bool = False
) -> Callable[[], Any]:
    """A step in the layout that recipes train in here."""
    network, layout = turns.as_trained(detector)
    detector.images_seen = 20_000
    images = images.contiguous(memory_format=layout)
    optimizer = torch.optim.SGD(network.parameters(), 1e-6, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            output = network(images)
        network.loss(output, truth).total.backward()
        optimizer.step()

    return step


def lightnet_step(
    network: Any, images: Tensor, truth: Batch, side: int, layout: Any
) -> Callable[[], Any]:
    """The same step with lightnet's network and loss."""
    loss_module: Any = importlib.import_module("lightnet.network.loss")
    network.train()
    if layout is not None:
        network = network.to(memory_format=layout)
        images = images.contiguous(memory_format=layout)
    region = loss_module.RegionLoss(CLASSES, network.anchors, network.stride).train()
    target = torch.cat(
        (truth.labels_BM[..., None].float(), to_centres(truth.boxes_BM4) / side), dim=-1
    )
    optimizer = torch.optim.SGD(network.parameters(), 1e-6, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        optimizer.zero_grad()
        maps = network(images).contiguous()  # its loss takes no other layout
        region(maps, target.clone(), seen=20_000).backward()
        optimizer.step()

    return step


def region_part(detector: YOLOv2Detector, side: int, rounds: int) -> dict[str, Any]:
    """The loss alone, forward and backward, and the whole step that it is a part of."""
    truth, cells = turns.truth_of(16, 30, side, range(CLASSES)), side // 32
    fields = torch.randn(16, cells, cells, 5, 5 + CLASSES, requires_grad=True)

    detector.images_seen = 20_000

    def loss() -> None:
        fields.grad = None
        detector.loss(RegionOutput(fields, 32), truth).total.backward()

    step = our_step(detector, torch.rand(16, 3, side, side), truth)
    seconds = turns.in_turns({"ours, loss alone": loss, "ours, whole step": step}, rounds)
    shares = zip(seconds["ours, loss alone"], seconds["ours, whole step"], strict=True)
    return {
        "contenders": turns.rows(seconds, None),
        "share_of_step": float(np.median([part / whole for part, whole in shares])),
    }


if __name__ == "__main__":
    sys.exit(main())
