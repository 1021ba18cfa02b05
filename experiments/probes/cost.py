"""What a network costs: parameters and floating-point operations of one image.

How rare foreground is: the anchors that answer for an object, of all that a detector offers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from datasets.dataset import Dataset
from datasets.errors import DataError
from detectors.base import AnyDetector
from experiments.config.run import RunConfig, read_config
from experiments.engine.arithmetic import autocast, choose, described, device_here
from experiments.errors import UsageError
from experiments.run.assembly import batches_from, build_detector, without_weights

ASSUMED = 20  # classes: VOC's
COUNTED_SIDE = 128  # pixels


@dataclass(frozen=True, slots=True)
class Costs:
    """Counts of one detector; a multiply-add is two operations."""

    parameters: int
    trained: int
    operations: int
    height: int
    width: int
    arithmetic: str  # that a run here would train in, in words


def count_costs(config: RunConfig, classes: int) -> Costs:
    """Count on one image of the recipe's input size; the network's weights are random here."""
    detector = build_detector(without_weights(config), tuple(map(str, range(classes)))).eval()
    multiple = detector.size_multiple
    height, width = (-(-side // multiple) * multiple for side in _typical_hw(config))
    image = torch.zeros(1, 3, height, width)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        detector(image)
    parameters = list(detector.parameters())
    return Costs(
        parameters=sum(parameter.numel() for parameter in parameters),
        trained=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        operations=counter.get_total_flops(),
        height=height,
        width=width,
        arithmetic=_arithmetic(config, detector),
    )


def training_operations(values: Mapping[str, Any]) -> float:
    """Operations of one image's forward and backward pass in training, of a photograph as the
    recipe sizes it: those of the forward pass, counted on a small image and scaled by pixels, and
    twice as many for the parts that learn. No data are read.

    A backward pass is not counted itself: the counter is 40 times off for grouped convolutions.
    """
    config = read_config(dict(values))
    detector = build_detector(without_weights(config), tuple(map(str, range(ASSUMED)))).eval()
    side = -(-COUNTED_SIDE // detector.size_multiple) * detector.size_multiple
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        detector(torch.zeros(1, 3, side, side))
    counts = {name: sum(each.values()) for name, each in counter.get_flop_counts().items()}
    frozen = sum(
        counts.get(f"{type(detector).__name__}.{name}", 0)
        for name, part in detector.named_children()
        if not any(parameter.requires_grad for parameter in part.parameters())
    )
    height, width = _typical_hw(config)
    return (3 * counter.get_total_flops() - 2 * frozen) * height * width / side**2


def map_bytes(values: Mapping[str, Any]) -> float:
    """What one image of training takes on a tape, bytes: the maps that the frozen front of its
    backbone makes of it, counted on a small image and scaled by pixels. No data are read.
    """
    config = read_config(dict(values))
    detector = build_detector(without_weights(config), tuple(map(str, range(ASSUMED)))).eval()
    device = torch.device("cpu")
    side = -(-COUNTED_SIDE // detector.size_multiple) * detector.size_multiple
    with torch.inference_mode(), autocast(choose(config.train, detector, device), device):
        begun = detector.backbone.begin(torch.zeros(1, 3, side, side))
    counted = sum(tensor.numel() * tensor.element_size() for tensor in begun)
    height, width = _typical_hw(config)
    return counted * height * width / side**2


def _arithmetic(config: RunConfig, detector: AnyDetector) -> str:
    """What a run here would train in."""
    try:
        return described(choose(config.train, detector, device_here()))
    except UsageError as error:
        return str(error)


def _typical_hw(config: RunConfig) -> tuple[int, int]:
    """Height and width that the recipe makes of a 4:3 photograph, VOC's and COCO's commonest."""
    return config.input.fit.extent((480, 640), None)[0]


def classes_of(config: RunConfig) -> tuple[int, str]:
    """How many classes its data have, and in words whose number that is: the recipe's, the data's,
    or a guess where no data are there.
    """
    if config.data.classes is not None:
        return len(config.data.classes), "the recipe's"
    try:
        return len(config.data.open("train").classes), "the data's"
    except DataError as error:
        return ASSUMED, f"a guess, for {str(error).partition(';')[0]}; see --classes"


def describe_costs(config: RunConfig, classes: int | None = None) -> str:
    """The costs as lines that are comments in YAML; `classes` None: as many as the data have."""
    whose = "as asked"
    if classes is None:
        classes, whose = classes_of(config)
    costs = count_costs(config, classes)
    return (
        f"# {costs.parameters / 1e6:.2f} M parameters, "
        f"{costs.trained / 1e6:.2f} M of them trained\n"
        f"# {costs.operations / 1e9:.2f} GFLOPs forward for one image of "
        f"{costs.height} x {costs.width} px (a multiply-add counts two), "
        f"{classes} classes ({whose})\n"
        f"# trains here in {costs.arithmetic}"
    )


@dataclass(frozen=True, slots=True)
class Imbalance:
    """Counts over `images` training images as the recipe feeds them, augmented."""

    images: int
    anchors: int
    foreground: int

    @property
    def one_in(self) -> float | None:
        """One anchor in how many is foreground; None where none is."""
        return self.anchors / self.foreground if self.foreground else None


def count_foreground(config: RunConfig, dataset: Dataset, images: int) -> Imbalance:
    """Count over the first training batches, at least `images` images; weights don't matter."""
    detector = build_detector(without_weights(config), dataset.classes)
    batches = iter(batches_from(config, dataset, detector, 0))
    seen = anchors = foreground = 0
    with torch.no_grad():
        while seen < images:
            batch = next(batches)
            output = detector(detector.normalise(batch.images_BCHW, batch.content_B2))
            terms = detector.loss(output, batch)
            seen += len(batch.images_BCHW)
            anchors += len(batch.images_BCHW) * output.anchors
            foreground += int(terms.foreground)
    return Imbalance(seen, anchors, foreground)


def imbalance_table(counted: Mapping[str, Imbalance]) -> Table:
    """One line a recipe: anchors and foreground of an image, and one in how many that is."""
    table = Table("recipe", "images", title="foreground among anchors")
    for title in ("anchors an image", "foreground an image", "one in"):
        table.add_column(title, justify="right")
    for name, counts in counted.items():
        one_in = "-" if counts.one_in is None else f"{counts.one_in:,.0f}"
        table.add_row(
            name,
            str(counts.images),
            f"{counts.anchors / counts.images:,.0f}",
            f"{counts.foreground / counts.images:.1f}",
            one_in,
        )
    return table
