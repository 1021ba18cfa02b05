"""Data sets: disk to `Sample`. RULE of this room: it knows no model and no loss.

`DATASETS` is the table of formats that a config may name; each entry is a settings class with
`.open(split)`.
"""

from datasets.coco import COCO
from datasets.voc import VOC

DATASETS: dict[str, type[VOC] | type[COCO]] = {"voc": VOC, "coco": COCO}
