"""Detectors: networks and the geometry they need. RULE of this room: it may import losses and no
other room.

Tables of choices, from the name in a config to the settings that build it: `DETECTORS`, their
`BACKBONES`, RetinaNet's `ASSIGNERS`, and `REGIONS`, the region losses of YOLOv2.
"""

from detectors.backbones import TimmBackbone, TorchvisionBackbone
from detectors.retinanet.assigners import ASSIGNERS
from detectors.retinanet.detector import RetinaNet
from detectors.yolov2.darknet19 import Darknet19, TinyDarknet
from detectors.yolov2.detector import YOLOv2
from detectors.yolov2.settings import REGIONS

__all__ = ["ASSIGNERS", "BACKBONES", "DETECTORS", "REGIONS"]

BACKBONES: dict[str, type[Darknet19 | TinyDarknet | TimmBackbone | TorchvisionBackbone]] = {
    "darknet19": Darknet19,
    "tiny_darknet": TinyDarknet,
    "timm": TimmBackbone,
    "torchvision": TorchvisionBackbone,
}

DETECTORS: dict[str, type[RetinaNet] | type[YOLOv2]] = {
    "retinanet": RetinaNet,
    "yolov2": YOLOv2,
}
