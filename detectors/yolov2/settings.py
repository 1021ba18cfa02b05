"""The region layer's switches, and the three implementations they reproduce.

Sources: Darknet's region_layer.c with yolov2-voc.cfg; marvis' pytorch-yolo2; lightnet 4.0.0. Their
losses differ in what `Marvis` and `Lightnet` change here; `Modern` is not a reproduction but what
trains best from scratch.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Darknet:
    """Settings of the region loss as Darknet computes it.

    Scales weigh the terms; `coord_weight` is 2 - wh (`area`), 2 - min(wh, 1.5) (`capped_area`) or 1
    (`one`) with w, h in fractions of the input. Cells whose box overlaps a truth by more than
    `ignore_iou` are not taught "nothing here". `rescore` teaches objectness the IoU rather than 1.
    During the first `prior_images` training images every idle anchor is pulled to its own shape
    with weight `prior_weight`. Of an image's truths the first `max_truths` count, and corners are
    limited to `truth_limit` of the input (null: no limit). Truths marked ignore are left out
    (`drop`), or also excuse the boxes that lie on them (`absorb`).

    Beyond the three implementations, all off here: `box` giou replaces squared coordinate errors by
    1 - GIoU of the decoded boxes; `objectness` cross_entropy replaces the squared error;
    `extra_anchor_iou` makes further anchors of a truth's cell responsible when their shape's IoU
    exceeds it; `positive_cells` 3 adds the nearest neighbour cells in x and in y, which needs
    `centre_reach` 2 (centres up to half a cell outside).
    """

    object_scale: float = 5.0
    noobject_scale: float = 1.0
    class_scale: float = 1.0
    coord_scale: float = 1.0
    coord_weight: Literal["area", "capped_area", "one"] = "area"
    ignore_iou: float = 0.6
    rescore: bool = True
    prior_weight: float = 0.01
    prior_images: int = 12800
    max_truths: int | None = 30
    truth_limit: float | None = None
    ignored: Literal["absorb", "drop"] = "drop"
    label_smoothing: float = 0.0
    class_form: Literal["softmax", "sigmoid"] = "softmax"
    objectness: Literal["squared", "cross_entropy"] = "squared"
    box: Literal["squared", "giou"] = "squared"
    extra_anchor_iou: float | None = None
    positive_cells: Literal[1, 3] = 1
    centre_reach: float = 1.0

    def __post_init__(self) -> None:
        for name in ("object_scale", "noobject_scale", "class_scale", "coord_scale"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: must be >= 0, found {getattr(self, name)}")
        for name in ("ignore_iou", "label_smoothing", "extra_anchor_iou", "truth_limit"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name}: must be in [0, 1], found {value}")
        if self.positive_cells == 3 and not self.centre_reach >= 2:
            raise ValueError(
                f"positive_cells: 3 needs centre_reach >= 2, found {self.centre_reach}"
            )
        if not self.centre_reach >= 1:
            raise ValueError(f"centre_reach: must be >= 1, found {self.centre_reach}")
        if self.prior_weight < 0:
            raise ValueError(f"prior_weight: must be >= 0, found {self.prior_weight}")
        if self.prior_images < 0:
            raise ValueError(f"prior_images: must be >= 0, found {self.prior_images}")
        if self.max_truths is not None and self.max_truths < 1:
            raise ValueError(f"max_truths: must be >= 1 or null, found {self.max_truths}")


@dataclass(frozen=True, slots=True)
class Marvis(Darknet):
    """The region loss of marvis' pytorch-yolo2: unweighted coordinates, and a prior pull 100
    times Darknet's.
    """

    coord_weight: Literal["area", "capped_area", "one"] = "one"
    prior_weight: float = 1.0
    max_truths: int | None = 50
    truth_limit: float | None = 0.999


@dataclass(frozen=True, slots=True)
class Lightnet(Darknet):
    """The region loss of lightnet 4.0.0: no prior pull unless `prior_images` asks for it, then
    10 times Darknet's.
    """

    coord_weight: Literal["area", "capped_area", "one"] = "capped_area"
    prior_weight: float = 0.1
    prior_images: int = 0
    max_truths: int | None = None
    ignored: Literal["absorb", "drop"] = "absorb"


@dataclass(frozen=True, slots=True)
class Modern(Darknet):
    """For small data and training from scratch: GIoU boxes, cross-entropy objectness, more
    responsible anchors.
    """

    object_scale: float = 1.0
    coord_scale: float = 2.0
    prior_weight: float = 0.0
    prior_images: int = 0
    max_truths: int | None = None
    ignored: Literal["absorb", "drop"] = "absorb"
    objectness: Literal["squared", "cross_entropy"] = "cross_entropy"
    box: Literal["squared", "giou"] = "giou"
    extra_anchor_iou: float | None = 0.5


Region = Darknet | Marvis | Lightnet | Modern

REGIONS: dict[str, type[Darknet]] = {
    "darknet": Darknet,
    "marvis": Marvis,
    "lightnet": Lightnet,
    "modern": Modern,
}
