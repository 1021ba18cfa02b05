"""A Darknet .cfg as a recipe: the network, its region loss, sizes and the schedule of [net]."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from detectors.errors import DetectorError, unknown_name
from detectors.yolov2.darknet19 import Darknet19
from detectors.yolov2.darknet_cfg import DarknetConfig, read_cfg
from detectors.yolov2.settings import Darknet
from experiments.config.run import Recipes
from experiments.errors import ConfigError


def cfg_recipe(path: Path) -> str:
    """The recipe's text, with notes on what the file leaves open; raises DetectorError for a .cfg
    of another family, or one whose [net] asks for what is not done here.

    The data are for the reader to fill in: a .cfg names none.
    """
    config = read_cfg(path)
    net = _Net(str(path), config.net)
    recipe: dict[str, Any] = {
        "data": {"name": "voc", "root": "data/VOCdevkit", "classes": None},
        "detector": _detector(config),
        "loss": {"name": "focal", "alpha": None, "gamma": 2.0}
        if config.focal
        else {"name": "cross_entropy"},
        "input": _input(config, net),
        **_training(net),
    }
    net.require_known()
    _refuse_unreadable(path, recipe)
    text = yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None, width=110)
    notes = [f"YOLOv2 as {path.name} describes it: name data of {config.classes} classes below."]
    return "".join(f"# {note}\n" for note in (*notes, *net.notes)) + text


def _refuse_unreadable(path: Path, recipe: Mapping[str, Any]) -> None:
    """DetectorError where no run could be made of the recipe: a rate below 0, an odd size."""
    try:
        Recipes().resolve(recipe)
    except ConfigError as error:
        raise DetectorError(f"{path}: as a {error}") from None


class _Net:
    """The [net] section, its keys read with Darknet's own values where they are missing."""

    def __init__(self, path: str, options: Mapping[str, str], section: str = "net") -> None:
        self.path, self.options, self.section = path, options, section
        self.notes: list[str] = []
        self.read: set[str] = set()

    def number(self, key: str, default: float) -> float:
        """A key's one number."""
        found = self.numbers(key, str(default))
        if len(found) > 1:
            raise self.error(key, f"must be one number, found {self.options[key]!r}")
        return found[0]

    def whole(self, key: str, default: int) -> int:
        """A key's whole number."""
        found = self.number(key, default)
        if not found.is_integer():
            raise self.error(key, f"must be a whole number, found {self.options[key]!r}")
        return int(found)

    def numbers(self, key: str, default: str = "") -> list[float]:
        """A key's numbers, separated by commas."""
        self.read.add(key)
        text = self.options.get(key, default)
        try:
            found = [float(part) for part in text.strip(",").split(",")]
        except ValueError:
            found = [math.nan]
        if not all(map(math.isfinite, found)):
            raise self.error(key, f"must be numbers, found {text!r}")
        return found

    def word(self, key: str, default: str) -> str:
        """A key's word."""
        self.read.add(key)
        return self.options.get(key, default)

    def error(self, key: str, why: str) -> DetectorError:
        """The error that names file and key."""
        return DetectorError(f"{self.path}: [{self.section}] {key}: {why}")

    def require_known(self) -> None:
        """DetectorError for a key that would change the training and was not read."""
        for key, value in self.options.items():
            if key in self.read or key in _INERT:
                continue
            try:
                if float(value) == _OFF.get(key):
                    continue
            except ValueError:
                pass
            if key not in _OFF:
                raise unknown_name(f"{self.path}: [net]", key, (*self.read, *_INERT, *_OFF))
            raise self.error(key, f"must be {_OFF[key]:g}, found {value}: it is not done here")


# Values at which a key changes nothing: Darknet's and its fork's, where it is missing.
_OFF = dict.fromkeys(
    (
        *("adam", "clip", "notruth", "ema_alpha", "label_smooth_eps", "adversarial_lr"),
        *("blur", "gaussian_noise", "mixup", "cutmix", "mosaic", "letter_box", "contrastive"),
        *("unsupervised", "attention", "dynamic_minibatch", "num_sigmas_reject_badlabels"),
        *("badlabels_rejection_percentage", "equidistant_point", "weights_reject_freq", "track"),
    ),
    0.0,
) | {"flip": 1.0, "time_steps": 1.0, "loss_scale": 1.0}
# Of classifiers, other policies, memory and speed; detectors' loaders do not look at `angle`.
_INERT = {
    *("height", "width", "channels", "inputs", "max_crop", "min_crop", "max_ratio", "min_ratio"),
    *("center", "angle", "aspect", "random", "B1", "B2", "eps", "gamma", "step", "scale"),
    *("optimized_memory", "workspace_size_limit_MB", "try_fix_nan", "use_cuda_graph"),
    *("steps", "scales", "power", "augment_speed", "sequential_subdivisions", "resize_step"),
}


def _detector(config: DarknetConfig) -> dict[str, Any]:
    found = config.detector
    backbone = "darknet19" if isinstance(found.backbone, Darknet19) else "tiny_darknet"
    region = {"preset": "darknet"} | _changed(found.region, Darknet())
    return {
        "name": "yolov2",
        "backbone": {"name": backbone, "width": found.backbone.width},  # type: ignore[union-attr]
        "anchors": [list(pair) for pair in found.anchors],
        "head_width": found.head_width,
        "head_depth": found.head_depth,
        "passthrough": found.passthrough,
        "sites": list(found.sites),
        "region": region,
    }


def _changed(settings: Any, defaults: Any) -> dict[str, Any]:
    """The fields that are not at their defaults."""
    return {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if getattr(settings, field.name) != getattr(defaults, field.name)
    }


def _input(config: DarknetConfig, net: _Net) -> dict[str, Any]:
    """Size, jitter, colours and the random sizes of Darknet's detector."""
    height, width = config.input_hw
    found: dict[str, Any] = {"fit": {"mode": "letterbox", "height": height, "width": width}}
    region = _Net(net.path, config.options, "region")
    jitter, random = region.number("jitter", 0.2), region.number("random", 0)
    if jitter:
        found["jitter"] = {"aspect": jitter, "scale": [1.0, 1.0]}
    hue, saturation, exposure = (
        net.number(key, default)
        for key, default in (("hue", 0), ("saturation", 1), ("exposure", 1))
    )
    if (hue, saturation, exposure) != (0, 1, 1):
        found["colour"] = {"hue": hue, "saturation": saturation, "exposure": exposure}
    if random:  # 320 to 608 every 10 updates, 608 in the last 200
        parts = max(1, net.whole("subdivisions", 1))
        found |= {
            "sizes": [[side, side] for side in range(320, 640, 32)],
            "every": 10 * parts,
            "last_size": [608, 608],
            "last_batches": 200 * parts,
        }
    return found


def _training(net: _Net) -> dict[str, Any]:
    """Optimiser, steps and length."""
    most = net.whole("max_batches", 0)
    if most < 1:
        most = 80200
        net.notes.append("It has no max_batches: 80200 as in yolov2-voc.cfg.")
    images, parts = net.whole("batch", 1), max(1, net.whole("subdivisions", 1))
    if images < 1:
        raise net.error("batch", f"must be >= 1, found {images}")
    if images == 1:
        net.notes.append(
            "batch is 1, as for testing; Darknet trains with 64 (batch 8, accumulate 8)."
        )
    rate, factor = _rate(net, most)
    warmup = net.whole("burn_in", 0)
    if warmup:
        rate |= {"warmup_iterations": warmup, "warmup_power": net.number("power", 4)}
    return {
        "optimizer": {
            "name": "sgd",
            "lr": float(f"{net.number('learning_rate', 0.001) * factor:.9g}"),
            "momentum": net.number("momentum", 0.9),
            "weight_decay": net.number("decay", 0.0001),
            "decay": "weights",
        },
        "learning_rate": rate,
        "train": {
            "iterations": most,
            "batch_size": max(1, images // parts),
            "accumulate": parts,
        },
    }


def _rate(net: _Net, most: int) -> tuple[dict[str, Any], float]:
    """The shape of the learning rate, and the factor that it starts with."""
    policy = net.word("policy", "constant")
    if policy == "constant":
        return {"shape": "constant"}, 1.0
    if policy == "step":
        every, scale = net.whole("step", 1), net.number("scale", 1)
        if every < 1:
            raise net.error("step", f"must be >= 1, found {every}")
        steps: list[float] = [*range(every, most, every)]
        scales = [scale] * len(steps)
    elif policy == "steps":
        steps, scales = net.numbers("steps"), net.numbers("scales")
        if len(steps) != len(scales):
            raise net.error("scales", f"must be as many as steps, found {len(scales)}")
    else:
        raise net.error("policy", f"must be constant, step or steps, found {policy}")
    if any(scale <= 0 for scale in scales):
        raise net.error("scales", "must be > 0")
    first = math.prod(scale for step, scale in zip(steps, scales, strict=True) if step <= 0)
    kept = [(s, scale) for s, scale in zip(steps, scales, strict=True) if 0 < s < most]
    if not kept:
        return {"shape": "constant"}, first
    factors = [scale for _, scale in kept]
    shape: dict[str, Any] = {"shape": "steps", "steps": [round(step / most, 7) for step, _ in kept]}
    if set(factors) != {0.1}:
        shape["step_factor"] = factors[0] if len(set(factors)) == 1 else factors
    return shape, first
