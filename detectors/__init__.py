"""Detectors: networks and the geometry they need. RULE of this room: it may import losses and no
other room.

`DETECTORS` is the table of choices: the name in a config to the settings that build the detector.
"""

from detectors.retinanet import RetinaNet
from detectors.yolov2 import YOLOv2

DETECTORS = {
    "retinanet": RetinaNet,
    "yolov2": YOLOv2,
}
