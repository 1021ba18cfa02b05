"""Data sets: disk to `Sample`. RULE of this room: it knows no model and no loss.

`DATASETS` is the table of formats that a config may name; each entry is a settings class with
`.open(split)`. The table is made when it is asked for: `datasets.pixels` serves the report, which
goes without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets.coco import COCO as COCO
    from datasets.dataset import DataSettings
    from datasets.voc import VOC as VOC
    from datasets.yolo import YOLO as YOLO

    DATASETS: dict[str, type[DataSettings]]


def __getattr__(name: str) -> Any:
    if name not in ("COCO", "DATASETS", "VOC", "YOLO"):
        raise AttributeError(f"module 'datasets' has no attribute {name!r}")
    from datasets.coco import COCO
    from datasets.voc import VOC
    from datasets.yolo import YOLO

    table = {"voc": VOC, "coco": COCO, "yolo": YOLO}
    globals().update(COCO=COCO, VOC=VOC, YOLO=YOLO, DATASETS=table)
    return globals()[name]
