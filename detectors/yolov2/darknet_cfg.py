"""Reading Darknet's .cfg files of the YOLOv2 family: yolov2, yolov2-voc, their tiny forms, any
width.

A file is a list of sections, each a list of `key=value`; `#` and `;` open comments. Every key of
a layer either means here what it means in Darknet, missing ones included, or is refused.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from detectors.errors import DetectorError, unknown_name
from detectors.yolov2.convolution import scaled
from detectors.yolov2.darknet19 import DARKNET19, STEADY, TINY, Darknet19, Stages, TinyDarknet
from detectors.yolov2.detector import AnchorSet, YOLOv2
from detectors.yolov2.settings import Darknet

_HEAD = re.compile(r"\[(\w+)\]$")
_SHORT = {"network": "net", "conv": "convolutional", "max": "maxpool"}  # as Darknet reads them


@dataclass(frozen=True, slots=True)
class Section:
    """One `[kind]` of a .cfg file, with the line where it opens."""

    kind: str
    line: int
    options: dict[str, str]


@dataclass(frozen=True, slots=True)
class DarknetConfig:
    """What a .cfg says: the detector, its classes and input, and the [net] section for its recipe.

    `focal`: `focal_loss=1` of AlexeyAB's fork, gamma 2 on the softmax and half its weight, which
    is in `class_scale` already.
    """

    detector: YOLOv2
    classes: int
    input_hw: tuple[int, int]
    net: dict[str, str]
    focal: bool = False


def read_sections(path: str | os.PathLike[str]) -> list[Section]:
    """The sections of a .cfg file in order; raises DetectorError with file and line."""
    name = Path(path)
    try:
        lines = name.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DetectorError(f"{name}: cannot be read as a .cfg file: {error}") from error
    found: list[Section] = []
    for number, raw in enumerate(lines, start=1):
        line = "".join(re.split("[#;]", raw, maxsplit=1)[0].split())  # blanks count nowhere
        if not line:
            continue
        head = _HEAD.match(line)
        if head:
            kind = head.group(1)
            found.append(Section(_SHORT.get(kind, kind), number, {}))
        elif "=" in line and found:
            key, _, value = line.partition("=")
            found[-1].options[key] = value
        else:
            raise DetectorError(
                f"{name}:{number}: neither [section] nor key=value: {raw.strip()!r}"
            )
    return found


def read_cfg(path: str | os.PathLike[str]) -> DarknetConfig:
    """The detector that a .cfg of this family describes; raises DetectorError with file and line.

    Layers must be those of yolov2-voc.cfg or yolov2-tiny-voc.cfg; channel counts may all be scaled
    by one width, and the head's width, the passthrough, anchors and classes are free.
    """
    sections = read_sections(path)
    if len(sections) < 3 or sections[0].kind != "net" or sections[-1].kind != "region":
        raise DetectorError(f"{path}: a YOLOv2 starts with [net] and ends with [region]")
    if sections[0].options.get("channels", "3") != "3":
        raise DetectorError(f"{path}:{sections[0].line}: [net] channels: must be 3")
    layers = _Layers(str(path), sections[1:-1])
    tiny = sum(section.kind == "route" for section in layers.sections) == 0
    width = layers.backbone(TINY if tiny else DARKNET19)
    head_width, passthrough = layers.plain_head() if tiny else layers.passthrough_head()
    anchors, classes, region = _region(str(path), sections[-1])
    layers.output(len(anchors) * (5 + classes))
    detector = YOLOv2(
        backbone=TinyDarknet(width) if tiny else Darknet19(width),
        anchors=anchors,
        head_width=head_width,
        head_depth=1 if tiny else 2,
        passthrough=passthrough,
        region=region,
        sites=("class_softmax",) if region.class_form == "softmax" else ("class_sigmoid",),
    )
    net = sections[0]
    height, wide = (_integer(str(path), net, side) for side in ("height", "width"))
    focal = sections[-1].options.get("focal_loss", "0") == "1"
    return DarknetConfig(detector, classes, (height, wide), net.options, focal)


class _Layers:
    """Walks the sections between [net] and [region], checking each against what the family has."""

    def __init__(self, path: str, sections: list[Section]) -> None:
        self.path, self.sections, self.position = path, sections, 0

    def next(self, kind: str, **wanted: str | int) -> Section:
        """The next section, which must be a `kind` with these options."""
        if self.position == len(self.sections):
            raise DetectorError(f"{self.path}: ends where [{kind}] should follow")
        section = self.sections[self.position]
        if section.kind != kind:
            raise DetectorError(
                f"{self.path}:{section.line}: found [{section.kind}] where YOLOv2 has [{kind}]"
            )
        self.require_known(section)
        for key, value in wanted.items():
            found = section.options.get(key, _DEFAULTS.get((kind, key)))
            if found != str(value):
                raise DetectorError(
                    f"{self.path}:{section.line}: [{kind}] {key}: must be {value}, found {found}"
                )
        self.position += 1
        return section

    def require_known(self, section: Section) -> None:
        """DetectorError for a key that would change what is computed and is not known here."""
        for key, value in section.options.items():
            if key in _KEYS[section.kind] or value == _OFF.get(key):
                continue
            why = f"{_TOLD[key]}; " if key in _TOLD else ""
            known = ", ".join(sorted(_KEYS[section.kind]))
            raise DetectorError(
                f"{self.path}:{section.line}: [{section.kind}] {key}={value}: {why}this layer is "
                f"not computed here (known: {known})"
            )

    def block(self, kernel: int, filters: int | None = None) -> int:
        """A convolution with batch norm and leaky ReLU; its filters."""
        wanted: dict[str, str | int] = {} if filters is None else {"filters": filters}
        section = self.next(
            "convolutional", batch_normalize=1, size=kernel, stride=1, activation="leaky", **wanted
        )
        options = section.options
        padded = options.get("pad", "0") == "1" or options.get("padding") == str(kernel // 2)
        if kernel > 1 and not padded:
            raise DetectorError(f"{self.path}:{section.line}: [convolutional] pad: must be 1")
        return _integer(self.path, section, "filters")

    def backbone(self, stages: Stages) -> float:
        """All stages; the width multiplier that explains their channels."""
        widest = [s for s in self.sections if s.kind == "convolutional"][_count(stages) - 1 :]
        if not widest:
            raise DetectorError(f"{self.path}: fewer convolutions than YOLOv2's backbone")
        width = _integer(self.path, widest[0], "filters") / stages[-1][-1][0]
        for number, stage in enumerate(stages):
            if number:
                self.next("maxpool", size=2, stride=2)
            for channels, kernel in stage:
                if (channels, kernel) == STEADY:
                    self.next("maxpool", size=2, stride=1)
                else:
                    self.block(kernel, scaled(channels, width))
        return width

    def plain_head(self) -> tuple[int, None]:
        """Head width; there is no passthrough."""
        return self.block(3), None

    def passthrough_head(self) -> tuple[int, int]:
        """Head width and passthrough channels."""
        width = self.block(3)
        self.block(3, width)
        self.next("route", layers="-9")
        passthrough = self.block(1)
        self.next("reorg", stride=2)
        self.next("route", layers="-1,-4")
        self.block(3, width)
        return width, passthrough

    def output(self, filters: int) -> None:
        """The linear 1x1 convolution, and nothing after it."""
        self.next("convolutional", size=1, stride=1, filters=filters, activation="linear")
        if self.position < len(self.sections):
            extra = self.sections[self.position]
            raise DetectorError(f"{self.path}:{extra.line}: [{extra.kind}] after the output layer")


_KEYS = {
    "convolutional": {
        "batch_normalize", "filters", "size", "stride", "pad", "padding", "activation",
    },
    "maxpool": {"size", "stride"},
    "route": {"layers"},
    "reorg": {"stride"},
}  # fmt: skip
# Values that switch a key off, as Darknet has it where the key is missing.
_OFF = {"xnor": "0", "binary": "0", "flipped": "0", "dot": "0", "groups": "1", "reverse": "0"}
_TOLD = {
    "xnor": "weights and inputs become signs",
    "binary": "weights become signs",
    "flipped": "the weights lie transposed in the file",
    "groups": "channels are convolved in groups",
    "reverse": "the reorganisation runs backwards",
}
_DEFAULTS = {("maxpool", "stride"): "1", ("convolutional", "batch_normalize"): "0"}


def _count(stages: Stages) -> int:
    return sum(layer != STEADY for stage in stages for layer in stage)


def _integer(path: str, section: Section, key: str) -> int:
    value = section.options.get(key, "")
    if not value.isdigit():
        raise DetectorError(
            f"{path}:{section.line}: [{section.kind}] {key}: must be a whole number, "
            f"found {value!r}"
        )
    return int(value)


# Keys of [region] that name a switch of ours, and those that only one value fits.
_SCALES = ("object_scale", "noobject_scale", "class_scale", "coord_scale")
# With Darknet's own value where the key is missing; `classfix` to `background` change the loss.
_FIXED = {"bias_match": ("1", "0"), "coords": ("4", "4"), "classfix": ("0", "0")}
_FIXED |= {"background": ("0", "0"), "mask_scale": ("1", "1")}
_INERT = ("log", "sqrt", "absolute")  # read by Darknet and used nowhere
_DATA = ("jitter", "random", "max")  # used by training recipes, not by the network
_OTHER = ("anchors", "classes", "num", "thresh", "rescore", "softmax", "focal_loss")


def _region(path: str, section: Section) -> tuple[AnchorSet, int, Darknet]:
    options = section.options
    where = f"{path}:{section.line}: [region]"
    known = (*_SCALES, *_FIXED, *_INERT, *_DATA, *_OTHER)
    for key in options:
        if key not in known:
            raise unknown_name(where, key, known)
    for key, (value, default) in _FIXED.items():
        found = options.get(key, default)
        if found != value:
            raise DetectorError(f"{where} {key}: must be {value}, found {found}")
    for key in ("softmax", "focal_loss", "rescore"):
        if options.get(key, "0") not in ("0", "1"):
            raise DetectorError(f"{where} {key}: must be 0 or 1, found {options[key]}")
    softmax, focal = (options.get(key, "0") == "1" for key in ("softmax", "focal_loss"))
    if focal and not softmax:
        raise DetectorError(f"{where} focal_loss: needs softmax=1, found softmax=0")
    try:
        sides = [float(side) for side in options.get("anchors", "").strip(",").split(",")]
        objects, idle, classes, boxes = (float(options.get(key, 1)) for key in _SCALES)
        region = Darknet(
            object_scale=objects,
            noobject_scale=idle,
            class_scale=classes * (0.5 if focal else 1.0),
            class_form="softmax" if softmax else "sigmoid",
            coord_scale=boxes,
            ignore_iou=float(options.get("thresh", 0.5)),
            rescore=options.get("rescore", "0") == "1",
            max_truths=int(options.get("max", 30)),
        )
    except ValueError as error:
        raise DetectorError(f"{where} {error}") from error
    if len(sides) != 2 * _integer(path, section, "num"):
        raise DetectorError(f"{where} anchors: {len(sides)} values for num={options['num']}")
    anchors = tuple(zip(sides[::2], sides[1::2], strict=True))
    return anchors, _integer(path, section, "classes"), region
