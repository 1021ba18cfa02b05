"""Reading Darknet's .cfg files of the YOLOv2 family: yolov2, yolov2-voc, their tiny forms, any
width.

A file is a list of sections, each a list of `key=value`; `#` and `;` open comments. Every key of
a layer either means here what it means in Darknet, missing ones included, or is refused (parser.c
of Darknet and of AlexeyAB's fork).
"""

import math
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

    `focal`: `focal_loss=1` of AlexeyAB's fork: gamma 2 on the softmax, half its weight, and boxes
    of one weight whatever their size; both are in `region` already. `options`: of [region].
    """

    detector: YOLOv2
    classes: int
    input_hw: tuple[int, int]
    net: dict[str, str]
    options: dict[str, str]
    focal: bool = False


def read_sections(path: str | os.PathLike[str]) -> list[Section]:
    """The sections of a .cfg file in order; raises DetectorError with file and line."""
    name = Path(path)
    try:
        content = name.read_bytes()
    except OSError as error:
        raise DetectorError(f"{name}: cannot be read as a .cfg file: {error}") from error
    if b"\0" in content:
        raise DetectorError(f"{name}: cannot be read as a .cfg file: it has bytes that are no text")
    lines = content.decode("utf-8-sig", errors="replace").splitlines()  # comments in any encoding
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
            first = found[-1].options.setdefault(key, value)
            if first != value:  # Darknet takes the first and says nothing
                raise DetectorError(
                    f"{name}:{number}: [{found[-1].kind}] {key}: {value} after {first}; keep one"
                )
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
        ends = f", this one with [{sections[-1].kind}]" if sections else ""
        raise DetectorError(f"{path}: a YOLOv2 starts with [net] and ends with [region]{ends}")
    if sections[0].options.get("channels", "3") != "3":
        raise DetectorError(f"{path}:{sections[0].line}: [net] channels: must be 3")
    anchors, classes, region = _region(str(path), sections[-1])
    layers = _Layers(str(path), sections[1:-1])
    tiny = sum(section.kind == "route" for section in layers.sections) == 0
    width = layers.backbone(TINY if tiny else DARKNET19)
    head_width, passthrough = layers.plain_head() if tiny else layers.passthrough_head()
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
    return DarknetConfig(
        detector, classes, (height, wide), net.options, sections[-1].options, focal
    )


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
            found = section.options.get(key, _KEYS[kind].get(key))
            if found != str(value):
                raise DetectorError(
                    f"{self.path}:{section.line}: [{kind}] {key}: must be {value}, found {found}"
                )
        self.position += 1
        return section

    def require_known(self, section: Section) -> None:
        """DetectorError for a key that would change what is computed and is not known here."""
        for key, value in section.options.items():
            if key in _KEYS[section.kind] or _is_off(key, value):
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
        self.require_padding(section, kernel)
        return _integer(self.path, section, "filters", "1")

    def require_padding(self, section: Section, kernel: int) -> None:
        """DetectorError unless a convolution keeps the size of its map."""
        if section.options.get("pad", "0") != "0":
            return  # Darknet pads half the kernel then, whatever `padding` says
        padding = section.options.get("padding", "0")
        if padding != str(kernel // 2):
            raise DetectorError(
                f"{self.path}:{section.line}: [convolutional] pad: must be 1, or padding "
                f"{kernel // 2}, found padding {padding}"
            )

    def pool(self, stride: int) -> None:
        """A 2x2 maximum; Darknet pads it by one below and right unless told otherwise."""
        section = self.next("maxpool", stride=stride)
        for key, default in (("size", str(stride)), ("padding", "1")):
            found, value = section.options.get(key, default), "2" if key == "size" else "1"
            if found != value:
                raise DetectorError(
                    f"{self.path}:{section.line}: [maxpool] {key}: must be {value}, found {found}"
                )

    def route(self, *steps: int) -> None:
        """A route to layers so many steps back, which may be named by their number from 0."""
        section = self.next("route")
        place, text = self.position - 1, section.options.get("layers", "")
        try:
            found = [int(index) for index in text.strip(",").split(",")]
        except ValueError:
            found = []
        if [index - place if index >= 0 else index for index in found] != list(steps):
            wanted = ",".join(str(step) for step in steps)
            raise DetectorError(
                f"{self.path}:{section.line}: [route] layers: must be {wanted}, found {text}"
            )

    def backbone(self, stages: Stages) -> float:
        """All stages; the width multiplier that explains their channels."""
        widest = [s for s in self.sections if s.kind == "convolutional"][_count(stages) - 1 :]
        if not widest:
            raise DetectorError(f"{self.path}: fewer convolutions than YOLOv2's backbone")
        width = _integer(self.path, widest[0], "filters", "1") / stages[-1][-1][0]
        for number, stage in enumerate(stages):
            if number:
                self.pool(2)
            for channels, kernel in stage:
                if (channels, kernel) == STEADY:
                    self.pool(1)
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
        self.route(-9)
        passthrough = self.block(1)
        self.next("reorg", stride=2)
        self.route(-1, -4)
        self.block(3, width)
        return width, passthrough

    def output(self, filters: int) -> None:
        """The linear 1x1 convolution, and nothing after it."""
        section = self.next(
            "convolutional",
            batch_normalize=0,
            size=1,
            stride=1,
            filters=filters,
            activation="linear",
        )
        self.require_padding(section, 1)
        if self.position < len(self.sections):
            extra = self.sections[self.position]
            raise DetectorError(f"{self.path}:{extra.line}: [{extra.kind}] after the output layer")


# The keys that are read, with Darknet's own values where they are missing.
_KEYS: dict[str, dict[str, str]] = {
    "convolutional": {
        "batch_normalize": "0", "filters": "1", "size": "1", "stride": "1", "pad": "0",
        "padding": "0", "activation": "logistic",
    },
    "maxpool": {"size": "", "stride": "1", "padding": "1"},
    "route": {"layers": ""},
    "reorg": {"stride": "1"},
}  # fmt: skip
# Values that switch a key off, as Darknet or its fork has it where the key is missing.
_OFF = dict.fromkeys(
    (
        *("xnor", "binary", "flipped", "dot", "reverse", "flatten", "extra", "smooth", "clip"),
        *("truth", "onlyforward", "stopbackward", "dontsave", "dontload", "numload"),
        *("dontloadscales", "antialiasing", "cbn", "dont_update", "burnin_update"),
        *("train_only_bn", "assisted_excitation", "maxpool_depth", "maxpool_zero_nonmax"),
        *("bin_output", "group_id", "grad_centr", "coordconv", "sway", "rotate", "stretch"),
    ),
    0.0,
) | {"groups": 1.0, "dilation": 1.0, "learning_rate": 1.0}
_TOLD = {
    "xnor": "weights and inputs become signs",
    "binary": "weights become signs",
    "flipped": "the weights lie transposed in the file",
    "groups": "channels are convolved in groups",
    "reverse": "the reorganisation runs backwards",
    "stopbackward": "layers before it stay as they are; here backbone_lr_factor: 0 does so",
    "learning_rate": "the layer has a rate of its own; here backbone_lr_factor slows a backbone",
    "dontload": "the layer starts from chance; here detector.drop_head does so for the head",
    "tree": "classes form a hierarchy (YOLO9000)",
    "map": "classes are read through a map (YOLO9000)",
}


def _is_off(key: str, value: str) -> bool:
    try:
        return float(value) == _OFF.get(key)
    except ValueError:
        return False


def _count(stages: Stages) -> int:
    return sum(layer != STEADY for stage in stages for layer in stage)


def _integer(path: str, section: Section, key: str, default: str = "") -> int:
    value = section.options.get(key, default)
    if not value.isdigit():
        raise DetectorError(
            f"{path}:{section.line}: [{section.kind}] {key}: must be a whole number, "
            f"found {value!r}"
        )
    return int(value)


def _number(where: str, key: str, text: str, whole: str | None = None) -> float:
    """A finite number; `whole`: the value of which it is a part."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DetectorError(f"{where} {key}: must be numbers, found {whole or text!r}")
    return value


# Keys of [region] that name a switch of ours, and those that only one value fits.
_SCALES = ("object_scale", "noobject_scale", "class_scale", "coord_scale")
# With Darknet's own value where the key is missing; `classfix` to `background` change the loss.
_FIXED = {"bias_match": ("1", "0"), "coords": ("4", "4"), "classfix": ("0", "0")}
_FIXED |= {"background": ("0", "0"), "mask_scale": ("1", "1")}
_INERT = ("log", "sqrt", "absolute")  # read by Darknet and used nowhere
_DATA = ("jitter", "random")  # of the input, for the recipe
_OTHER = ("max", "anchors", "classes", "num", "thresh", "rescore", "softmax", "focal_loss")


def _region(path: str, section: Section) -> tuple[AnchorSet, int, Darknet]:
    options = section.options
    where = f"{path}:{section.line}: [region]"
    known = (*_SCALES, *_FIXED, *_INERT, *_DATA, *_OTHER)
    for key, value in options.items():
        if key in _TOLD and not _is_off(key, value):
            raise DetectorError(f"{where} {key}={value}: {_TOLD[key]}, which is not computed here")
        if key not in known and not _is_off(key, value):
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
    count = _integer(path, section, "num", "1")
    given = options.get("anchors", ",".join(["0.5"] * 2 * count))
    sides = [_number(where, "anchors", side, given) for side in given.strip(",").split(",")]
    if min(sides) <= 0:
        raise DetectorError(f"{where} anchors: widths and heights must be > 0, found {given}")
    objects, idle, classes, boxes = (_number(where, key, options.get(key, "1")) for key in _SCALES)
    ignore_iou = _number(where, "thresh", options.get("thresh", "0.5"))
    most = _integer(path, section, "max", "30")
    try:
        region = Darknet(
            object_scale=objects,
            noobject_scale=idle,
            class_scale=classes * (0.5 if focal else 1.0),
            class_form="softmax" if softmax else "sigmoid",
            coord_scale=boxes,
            coord_weight="one" if focal else "area",
            ignore_iou=ignore_iou,
            rescore=options.get("rescore", "0") == "1",
            max_truths=most,
        )
    except ValueError as error:
        raise DetectorError(f"{where} {error}") from error
    if len(sides) != 2 * count:
        raise DetectorError(f"{where} anchors: {len(sides)} values for num={count}")
    anchors = tuple(zip(sides[::2], sides[1::2], strict=True))
    return anchors, _integer(path, section, "classes", "20"), region
