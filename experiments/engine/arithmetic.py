"""The arithmetic of a run as one value: number format, layout in memory, compiled or not.

It is chosen once, before training, and handed to all that runs the network: updates, validations,
the measuring at the end, detection, anatomy, pace.
"""

import dataclasses
import os
import time
from typing import Any

import torch
from torch import Tensor, nn

from datasets.sample import Batch
from detectors.base import AnyDetector
from experiments.config.train import Train
from experiments.errors import UsageError
from experiments.record.parts import Arithmetic

LOW = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# oneDNN's own limit on the instructions that it uses, in its present and its former name.
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_BELOW_AVX512 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2")
_BELOW_BFLOAT16 = (*_BELOW_AVX512, "AVX512_CORE", "AVX512_CORE_VNNI")
WIDE = 1024


def device_here() -> torch.device:
    """Where networks run: a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computes_bfloat16(device: torch.device) -> tuple[bool, str]:
    """Whether the device computes bfloat16 itself instead of emulating it; and why, in words.

    On a CPU that takes AMX or AVX512-BF16 (Arm: BF16), on a GPU compute capability 8.0.
    """
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return torch.cuda.is_bf16_supported(including_emulation=False), f"sm{major}{minor}"
    if _limit() in _BELOW_BFLOAT16:
        return False, f"limited to {_limit()} by the environment"
    able = torch.cpu.get_capabilities()
    for name, words in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16"), ("bf16", "BF16")):
        if able.get(name):
            return True, words
    return False, f"{torch.backends.cpu.get_cpu_capability()} without bfloat16"


def choose(train: Train, detector: nn.Module, device: torch.device) -> Arithmetic:
    """The arithmetic that a recipe asks for, `auto` answered for this machine and network.

    Raises UsageError for float16 on a CPU.
    """
    able, words = computes_bfloat16(device)
    precision = train.precision
    if precision == "auto":
        if able and device.type == "cpu" and any(map(_is_depthwise, detector.modules())):
            able, words = False, f"{words}, but not for depth-wise convolutions"
        precision = "bfloat16" if able else "float32"
    elif precision == "float16" and device.type == "cpu":
        raise UsageError("train.precision: float16 needs a GPU; on a CPU there is bfloat16")
    last = train.channels_last
    if last == "auto":
        last = prefers_channels_last(precision, detector, device)
    return Arithmetic(precision, last, train.compile, words)


def prefers_channels_last(precision: str, detector: nn.Module, device: torch.device) -> bool:
    """Which layout trains faster: channels last, but for wide networks in float32 on a CPU without
    AVX-512, where 3x3 convolutions of WIDE channels to as many take 1.3 times as long in it.

    Measured: benchmarks/results/arithmetic_avx2_*.json, and engine_amx_*.json with AVX-512.
    """
    if device.type == "cuda" or precision in LOW or "AVX512" in instructions():
        return True
    return not any(_is_wide(layer) for layer in detector.modules())


def _is_depthwise(layer: nn.Module) -> bool:
    """oneDNN has no fast bfloat16 kernel for these: EfficientNet-Lite0 trains at half the pace of
    float32 (docs/log.md).
    """
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1


def _is_wide(layer: nn.Module) -> bool:
    if not isinstance(layer, nn.Conv2d) or layer.kernel_size[0] == 1:
        return False
    return min(layer.in_channels // layer.groups, layer.out_channels) >= WIDE


def instructions() -> str:
    """The widest instructions that convolutions use here: AVX2, AVX512 .."""
    return "AVX2" if _limit() in _BELOW_AVX512 else torch.backends.cpu.get_cpu_capability()


def _limit() -> str:
    """The instructions that the environment keeps oneDNN to; "" where it does not."""
    return next((os.environ[name].upper() for name in _LIMITS if name in os.environ), "")


def here(trained: Arithmetic, detector: nn.Module, device: torch.device) -> tuple[Arithmetic, str]:
    """The arithmetic to run trained weights in on this machine, and why it is not the training's.

    It is float32 where this machine has not what training used; in words, or "".
    """
    able = computes_bfloat16(device)[0] if trained.precision == "bfloat16" else device.type != "cpu"
    if trained.precision == "float32" or able:
        return trained, ""
    last = prefers_channels_last("float32", detector, device)
    plain = dataclasses.replace(trained, precision="float32", channels_last=last)
    lacks = "only emulates" if trained.precision == "bfloat16" else "does not compute on its CPU"
    return plain, f"trained in {trained.precision}, which this machine {lacks}: runs in float32"


def described(chosen: Arithmetic) -> str:
    """The arithmetic in words, for the first line of a run."""
    layout = "channels last" if chosen.channels_last else "contiguous"
    compiled = ", compiled" if chosen.compile else ""
    why = f" ({chosen.why})" if chosen.why else ""
    return f"{chosen.precision}, {layout}{compiled}{why}"


def layout_of(arithmetic: Arithmetic) -> torch.memory_format:
    """How maps of four dimensions lie in memory."""
    return torch.channels_last if arithmetic.channels_last else torch.contiguous_format


def autocast(arithmetic: Arithmetic, device: torch.device) -> torch.autocast:
    """What the forward pass runs under."""
    low = LOW.get(arithmetic.precision)
    return torch.autocast(device.type, low, enabled=low is not None)


def placed(detector: AnyDetector, device: torch.device, arithmetic: Arithmetic) -> AnyDetector:
    """The detector on `device`, its weights in the layout that it is to run in."""
    moved: AnyDetector = detector.to(device, memory_format=layout_of(arithmetic))  # type: ignore[call-overload]
    return moved


def to_device(batch: Batch, device: torch.device, arithmetic: Arithmetic) -> Batch:
    """The batch with its tensors on `device`, images in the layout the network runs in."""
    moved: dict[str, Any] = {
        field.name: value.to(device, non_blocking=True)
        for field in dataclasses.fields(batch)
        if isinstance(value := getattr(batch, field.name), Tensor)
    }
    moved["images_BCHW"] = moved["images_BCHW"].contiguous(memory_format=layout_of(arithmetic))
    return dataclasses.replace(batch, **moved)


def cost_of_emulation(device: torch.device) -> float:
    """How many times as long as in float32 a convolution of a detector takes in bfloat16 here."""
    layer = nn.Conv2d(64, 64, 3, padding=1).to(device)
    maps = torch.zeros(2, 64, 56, 56, device=device)

    def seconds(low: bool) -> float:
        best = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                out = layer(maps)
            out.float().sum().backward()
            best = min(best, time.perf_counter() - began)
        return best

    plain = seconds(False)
    return seconds(True) / plain
