"""A Darknet .cfg as a recipe: the network, its region loss, sizes and the schedule of [net]."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from detectors.yolov2.darknet19 import Darknet19
from detectors.yolov2.darknet_cfg import DarknetConfig, read_cfg
from detectors.yolov2.settings import Darknet


def cfg_recipe(path: Path) -> str:
    """The recipe's text; raises DetectorError for a .cfg of another family.

    The data are for the reader to fill in: a .cfg names none. Random sizes and the jitter of
    Darknet's own loader are not read; configs/voc/voc0712_yolov2_cross_entropy.yaml has them.
    """
    config = read_cfg(path)
    recipe: dict[str, Any] = {
        "data": {"name": "voc", "root": "data/VOCdevkit", "classes": None},
        "detector": _detector(config),
        "loss": {"name": "focal", "alpha": None, "gamma": 2.0}
        if config.focal
        else {"name": "cross_entropy"},
    }
    height, width = config.input_hw
    recipe["input"] = {"fit": {"mode": "letterbox", "height": height, "width": width}}
    recipe |= _training(config.net)
    text = yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None, width=110)
    return (
        f"# YOLOv2 as {path.name} describes it: name data of {config.classes} classes below.\n"
        "# Not read from it: random sizes, jitter and colours;\n"
        "# configs/voc/voc0712_yolov2_cross_entropy.yaml has them.\n" + text
    )


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


def _training(net: Mapping[str, str]) -> dict[str, Any]:
    """Optimiser, steps and length, with Darknet's values where a key is missing."""
    most = int(net.get("max_batches", 0)) or 80200
    images, parts = int(net.get("batch", 1)), int(net.get("subdivisions", 1))
    rate: dict[str, Any] = {"shape": "constant"}
    if net.get("policy", "constant") == "steps" and "steps" in net:
        steps = [int(step) / most for step in net["steps"].split(",")]
        scales = net.get("scales", "").split(",")
        kept = [
            s for s, scale in zip(steps, scales, strict=False) if 0 < s < 1 and float(scale) < 1
        ]
        rate = {"shape": "steps", "steps": [round(step, 5) for step in kept]}
    warmup = int(net.get("burn_in", 0))
    if warmup:
        rate |= {"warmup_iterations": warmup, "warmup_power": 4}
    return {
        "optimizer": {
            "name": "sgd",
            "lr": float(net.get("learning_rate", 0.001)),
            "momentum": float(net.get("momentum", 0.9)),
            "weight_decay": float(net.get("decay", 0.0001)),
            "decay": "weights",
        },
        "learning_rate": rate,
        "train": {
            "iterations": most,
            "batch_size": max(1, images // parts),
            "accumulate": max(1, parts),
        },
    }
